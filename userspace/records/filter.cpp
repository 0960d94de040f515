// SPDX-License-Identifier: GPL-2.0-only
#include "records/filter.hpp"
#include <algorithm>
#include <charconv>
#include <stdexcept>
#include "records/describe.hpp"

namespace records {
namespace {

[[noreturn]] void bad(const std::string &what) { throw std::invalid_argument{what}; }

std::vector<std::string> split(const std::string &text, const char *separators) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
        if (end > at) out.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return out;
}

std::uint64_t number(const std::string &text) {
    const bool hex = text.rfind("0x", 0) == 0;
    std::uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] =
        std::from_chars(text.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
    if (text.empty() || error != std::errc{} || rest != end) bad("'" + text + "' is no number");
    return value;
}

std::uint64_t duration_of(const std::string &text) {
    constexpr struct {
        const char *suffix;
        std::uint64_t factor;
    } units[] = {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}};
    const std::size_t at = text.find_first_not_of("0123456789");
    for (const auto &unit : units)
        if (at != std::string::npos && at > 0 && at < 10 && text.substr(at) == unit.suffix)
            return number(text.substr(0, at)) * unit.factor;
    bad("'" + text + "' is no duration: a number with ns, us, ms or s");
}

} // namespace

Filter Filter::parse(const std::string &text) {
    Filter out;
    for (const std::string &word : split(text, " ;\t\n")) {
        const Term term = parse_term(word);
        if (term.field == Field::reason) {
            std::uint64_t mask = 0;
            for (const Range &r : term.ranges)
                mask |= 1ull << r.first;
            out.reasons_ &= term.negated ? ~mask : mask;
        }
        out.terms_.push_back(term);
    }
    return out;
}

Filter::Term Filter::parse_term(const std::string &text) {
    const std::size_t at = text.find_first_of("=<>");
    if (at == std::string::npos) return parse_flag(text);
    const bool negated = text[at] == '=' && at > 0 && text[at - 1] == '!';
    const std::string name = text.substr(0, at - (negated ? 1 : 0)), values = text.substr(at + 1);
    constexpr const char *names[] = {"reason", "key", "data", "rip", "cr3", "cpl", "vcpu", "took"};
    const auto *found = std::find(std::begin(names), std::end(names), name);
    if (found == std::end(names))
        bad("'" + name + "' is none of reason, key, data, rip, cr3, cpl, vcpu, took");
    Term term{static_cast<Field>(found - names), negated, {}};
    if ((text[at] != '=') != (term.field == Field::took))
        bad("'" + text + "': took wants < or >, all others = or !=");
    if (term.field == Field::took)
        term.ranges.push_back(parse_took(text[at], values));
    else
        for (const std::string &value : split(values, ","))
            term.ranges.push_back(parse_range(term.field, value));
    if (term.ranges.empty()) bad("'" + text + "' has no value");
    return term;
}

Filter::Term Filter::parse_flag(const std::string &word) {
    constexpr struct {
        const char *name;
        unsigned bit;
    } flags[] = {{"user", HWV_RECORD_TO_USER},
                 {"halted", HWV_RECORD_HALTED},
                 {"descheduled", HWV_RECORD_DESCHEDULED},
                 {"stopped", HWV_RECORD_STOPPED},
                 {"ruled", HWV_RECORD_RULED},
                 {"unfinished", HWV_RECORD_UNFINISHED}};
    const bool negated = word[0] == '!';
    for (const auto &f : flags)
        if (word.substr(negated) == f.name) return {Field::flag, negated, {{f.bit, f.bit}}};
    bad("'" + word +
        "' is no term: field=value, or one of user, halted, descheduled, stopped, "
        "ruled, unfinished");
}

Filter::Range Filter::parse_range(Field field, const std::string &text) {
    if (field == Field::reason) {
        const auto reason = reason_by_name(text);
        if (!reason) bad("'" + text + "' is no exit reason: hwvctl trace --help lists them");
        return {*reason, *reason};
    }
    const std::size_t dash = text.find('-');
    if (dash == std::string::npos) return {number(text), number(text)};
    const Range range{number(text.substr(0, dash)), number(text.substr(dash + 1))};
    if (range.first > range.last) bad("'" + text + "' ends before it begins");
    return range;
}

Filter::Range Filter::parse_took(char op, const std::string &text) {
    const std::uint64_t ns = duration_of(text);
    if (op == '>') return {ns + 1, ~0ull};
    if (ns == 0) bad("nothing takes less than 0 ns");
    return {0, ns - 1};
}

bool Filter::holds(const Term &term, const hwv_record &r, std::uint32_t tsc_khz) {
    const auto value = [&]() -> std::uint64_t {
        switch (term.field) {
        case Field::reason: return r.reason;
        case Field::key: return r.key;
        case Field::data: return r.data;
        case Field::rip: return r.rip;
        case Field::cr3: return r.cr3;
        case Field::cpl: return cpl(r);
        case Field::vcpu: return r.vcpu;
        case Field::took: return records::nanoseconds(records::took(r), tsc_khz);
        case Field::flag: return r.flags & term.ranges[0].first;
        }
        return 0;
    }();
    const bool in =
        std::any_of(term.ranges.begin(), term.ranges.end(), [value](const Range &range) {
            return value >= range.first && value <= range.last;
        });
    return in != term.negated;
}

bool Filter::matches(const hwv_record &record, std::uint32_t tsc_khz) const {
    return std::all_of(terms_.begin(), terms_.end(),
                       [&](const Term &t) { return holds(t, record, tsc_khz); });
}

} // namespace records
