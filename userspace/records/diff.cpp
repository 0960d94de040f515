// SPDX-License-Identifier: GPL-2.0-only
#include "records/diff.hpp"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include "records/describe.hpp"

namespace records {
namespace {

[[noreturn]] void bad(const std::string &what) { throw std::invalid_argument{what}; }

// All reasons as one.
Tally total(const Profile &p) {
    Tally out;
    for (const Tally &t : p.exits) {
        out.count += t.count;
        out.to_user += t.to_user;
        out.cycles += t.cycles;
        out.max_cycles = std::max(out.max_cycles, t.max_cycles);
        for (unsigned h = 0; h < HWV_HISTOGRAM; ++h)
            out.histogram[h] += t.histogram[h];
    }
    return out;
}

std::optional<double> of_tally(const Profile &p, const Tally &t, const std::string &name) {
    const auto number = [](std::uint64_t n) { return static_cast<double>(n); };
    if (name == "exits") return number(t.count);
    if (name == "user") return number(t.to_user);
    if (name == "time") return p.us(t.cycles);
    if (name == "mean") return t.count ? p.us(t.cycles) / number(t.count) : 0;
    if (name == "p50") return t.count ? p.us(percentile(t, 0.5)) : 0;
    if (name == "p99") return t.count ? p.us(percentile(t, 0.99)) : 0;
    if (name == "max") return p.us(t.max_cycles);
    return std::nullopt;
}

double change(double a, double b) {
    if (a == b) return 0;
    return a == 0 ? std::copysign(std::numeric_limits<double>::infinity(), b) : (b - a) / a * 100;
}

std::string percent(double a, double b) {
    const double c = change(a, b);
    return std::isinf(c) ? "new" : fmt::format("{:+.1f} %", c);
}

std::string row(const std::string &what, double a, double b, const char *format) {
    return fmt::format("{:<24} {:>14} {:>14} {:>14} {:>10}\n", what,
                       fmt::format(fmt::runtime(format), a), fmt::format(fmt::runtime(format), b),
                       fmt::format(fmt::runtime(format), b - a), percent(a, b));
}

std::vector<unsigned> in_either(const Profile &a, const Profile &b) {
    std::vector<unsigned> out;
    for (unsigned r = 0; r < HWV_EXIT_CPU_REASONS; ++r)
        if (a.exits[r].count || b.exits[r].count) out.push_back(r);
    std::stable_sort(out.begin(), out.end(), [&](unsigned x, unsigned y) {
        const auto most = [&](unsigned r) { return std::max(a.exits[r].count, b.exits[r].count); };
        return most(x) > most(y);
    });
    return out;
}

// JSON has no infinities: null where there is nothing to divide by.
nlohmann::json finite(double value) {
    return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

nlohmann::json json_row(const std::string &name, double a, double b) {
    return {{"metric", name}, {"a", a}, {"b", b}, {"change_percent", finite(change(a, b))}};
}

} // namespace

std::optional<double> metric(const Profile &p, const std::string &name) {
    const std::size_t dot = name.find('.');
    if (dot != std::string::npos) {
        const auto reason = reason_by_name(name.substr(dot + 1));
        return reason ? of_tally(p, p.exits[*reason], name.substr(0, dot)) : std::nullopt;
    }
    if (name == "seconds") return p.seconds();
    if (name == "rate") return p.seconds() > 0 ? static_cast<double>(p.count()) / p.seconds() : 0;
    constexpr const char *segments[] = {"guest",       "kernel",    "halted",
                                        "descheduled", "userspace", "stopped"};
    static_assert(std::size(segments) == HWV_TIME_SEGMENTS);
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
        if (name == segments[i]) return p.us(p.segments[i]);
    return of_tally(p, total(p), name);
}

Condition Condition::parse(const std::string &text) {
    const std::size_t at = text.find_first_of("<>");
    if (at == std::string::npos) bad("'" + text + "': a condition is METRIC>VALUE or METRIC<VALUE");
    Condition out{text, text.substr(0, at), text[at] == '>', Kind::absolute, 0};
    Profile none;
    none.tsc_khz = 1;
    if (!records::metric(none, out.metric))
        bad("'" + out.metric +
            "' is no metric: exits, user, time, mean, p50, p99, max (each also with "
            ".REASON), rate, seconds, guest, kernel, halted, descheduled, userspace, stopped");
    std::string value = text.substr(at + 1);
    const bool percent = !value.empty() && value.back() == '%';
    if (percent) value.pop_back();
    const bool relative = !value.empty() && (value[0] == '+' || value[0] == '-');
    const char *begin = value.data() + (!value.empty() && value[0] == '+'),
               *end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(begin, end, out.threshold);
    if (begin == end || error != std::errc{} || rest != end || !std::isfinite(out.threshold))
        bad("'" + text.substr(at + 1) + "' is no threshold: +5%, -5%, +100, -100 or 100");
    if (percent && !relative)
        bad("'" + text.substr(at + 1) + "': a percentage wants + or - before it");
    out.kind = percent ? Kind::percent : relative ? Kind::difference : Kind::absolute;
    return out;
}

bool Condition::holds(const Profile &a, const Profile &b) const {
    const double x = records::metric(a, metric).value_or(0),
                 y = records::metric(b, metric).value_or(0);
    const double value = kind == Kind::percent      ? change(x, y)
                         : kind == Kind::difference ? y - x
                                                    : y;
    return above ? value > threshold : value < threshold;
}

std::string describe(const Condition &c, const Profile &a, const Profile &b) {
    const double x = metric(a, c.metric).value_or(0), y = metric(b, c.metric).value_or(0);
    return fmt::format("{}: {} became {} ({})", c.text, x, y, percent(x, y));
}

std::string diff_text(const Profile &a, const Profile &b) {
    std::string out = fmt::format("A: {}\nB: {}\n\n{:<24} {:>14} {:>14} {:>14} {:>10}\n", a.name,
                                  b.name, "exits", "A", "B", "B - A", "change");
    const auto rows = [&](const char *name, const char *format) {
        for (const unsigned r : in_either(a, b)) {
            const std::string m = std::string{name} + "." + hwv::exit_name(r);
            out += row(hwv::exit_name(r), *metric(a, m), *metric(b, m), format);
        }
    };
    rows("exits", "{:.0f}");
    out += row("all", *metric(a, "exits"), *metric(b, "exits"), "{:.0f}");
    out += row("to user", *metric(a, "user"), *metric(b, "user"), "{:.0f}");
    out += row("per second", *metric(a, "rate"), *metric(b, "rate"), "{:.1f}");
    out += "\nmean us\n";
    rows("mean", "{:.2f}");
    out += "\n99th percentile us\n";
    rows("p99", "{:.2f}");
    out += "\ntime us\n";
    for (const char *name : {"guest", "kernel", "halted", "descheduled", "userspace", "stopped"})
        out += row(name, *metric(a, name), *metric(b, name), "{:.0f}");
    return out;
}

std::string diff_json(const Profile &a, const Profile &b,
                      const std::vector<Condition> &conditions) {
    nlohmann::json rows = nlohmann::json::array(), judged = nlohmann::json::array();
    std::vector<std::string> names{"exits",       "user",      "rate",   "time",
                                   "seconds",     "guest",     "kernel", "halted",
                                   "descheduled", "userspace", "stopped"};
    for (const unsigned r : in_either(a, b))
        for (const char *m : {"exits", "user", "time", "mean", "p50", "p99", "max"})
            names.push_back(std::string{m} + "." + hwv::exit_name(r));
    for (const std::string &name : names)
        rows.push_back(json_row(name, *metric(a, name), *metric(b, name)));
    for (const Condition &c : conditions) {
        nlohmann::json entry = json_row(c.metric, *metric(a, c.metric), *metric(b, c.metric));
        entry["condition"] = c.text;
        entry["holds"] = c.holds(a, b);
        judged.push_back(std::move(entry));
    }
    return nlohmann::json{{"a", a.name}, {"b", b.name}, {"metrics", rows}, {"conditions", judged}}
               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
           "\n";
}

} // namespace records
