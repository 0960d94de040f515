// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/policy_text.hpp"
#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <iostream>
#include <iterator>
#include <sstream>
#include "hwv/error.hpp"
#include "hwvctl/command.hpp"
#include "records/key_names.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {

const char *const policy_format =
    R"(A policy is text, one rule a line; a word that begins with # and what is behind it is a comment:

  REASON [KEY[-KEY]] [FILTER ...] -> ACTION

  REASON   as `hwvctl stat` names exits: cpuid, rdtsc, rdtscp, rdpmc, msr_read, msr_write, io, hypercall, hlt, pause,
           cr_read, cr_write, dr_access, exception, invlpg, invpcid, wbinvd, descriptor, page_fault ...
  KEY      which ports, MSRs, CPUID leaves, hypercalls, vectors (13 or GP), registers (3 or cr3), pages; without: all
  FILTER   cpl=0,3            at these privilege levels
           cr3=0x1000         in this address space
           rip=0x1000-0x1fff  at these instructions
           every=100          one of so many matches
  ACTION   count              count, and go on as without the rule
           record             and write a record into this observer's rings
           answer VALUE       as if the CPU had said so; cpuid: answer eax=1 ebx=2 ecx=3 edx=4 (0 where not said)
           skip               the instruction does nothing
           inject VECTOR      an exception instead: inject GP, inject 6, inject PF error=2 cr2=0x1000
           stop               the vCPU waits for a reply
  stop-timeout MS             a line of its own: how long a stop waits at most (10000); then the guest goes on

Rules are asked in order: all that match count, the first one that does more than count or record decides.
)";

namespace {

struct Line {
    std::string where; // "FILE:3"
    std::vector<std::string> words;
    std::size_t next = 0;

    bool more() const { return next < words.size(); }
    const std::string &peek() const { return words[next]; }
    std::string take() { return words[next++]; }
    [[noreturn]] void wrong(const std::string &what) const {
        throw UsageError{where + ": " + what};
    }
    std::uint64_t number(const std::string &text, const char *what) const {
        try {
            return parse_number(text, what);
        } catch (const UsageError &e) {
            wrong(e.message);
        }
    }
    std::uint64_t number(const std::string &text, const char *what, std::uint64_t most) const {
        const std::uint64_t out = number(text, what);
        if (out > most) wrong("'" + text + "' is too large for a " + what);
        return out;
    }
};

bool numbered_by_name(std::uint32_t reason) {
    return reason == HWV_EXIT_EXCEPTION || reason == HWV_EXIT_CR_READ ||
           reason == HWV_EXIT_CR_WRITE || reason == HWV_EXIT_DR_ACCESS;
}

// "GP" for #GP, "cr3", or a number.
std::uint64_t key_of(const Line &line, std::uint32_t reason, const std::string &text) {
    if (numbered_by_name(reason))
        for (std::uint64_t key = 0; key < 32; ++key) {
            const std::string name = records::key_name(reason, key);
            if (!name.empty() && (name == text || name == "#" + text)) return key;
        }
    return line.number(text, records::key_kind(reason));
}

void parse_key(Line &line, hwv_rule &rule) {
    if (!line.more() || line.peek() == "->" || line.peek().find('=') != std::string::npos) return;
    if (!*records::key_kind(rule.reason))
        line.wrong(std::string{"'"} + hwv::exit_name(rule.reason) + "' has no key, so '" +
                   line.peek() + "' means nothing");
    const std::string text = line.take();
    const std::size_t dash = text.find('-');
    rule.flags |= HWV_RULE_KEY;
    rule.key_first = key_of(line, rule.reason, text.substr(0, dash));
    rule.key_last = dash == std::string::npos ? rule.key_first
                                              : key_of(line, rule.reason, text.substr(dash + 1));
    if (rule.key_first > rule.key_last) line.wrong("'" + text + "': the range is upside down");
}

void parse_cpl(const Line &line, hwv_rule &rule, const std::string &value) {
    rule.flags |= HWV_RULE_CPL;
    std::istringstream levels{value};
    for (std::string level; std::getline(levels, level, ',');)
        rule.cpl_mask |= static_cast<__u8>(1u << line.number(level, "privilege level, 0 to 3", 3));
    if (!rule.cpl_mask) line.wrong("cpl= wants levels, like cpl=0,3");
}

void parse_rip(const Line &line, hwv_rule &rule, const std::string &value) {
    const std::size_t dash = value.find('-');
    rule.flags |= HWV_RULE_RIP;
    rule.rip_first = line.number(value.substr(0, dash), "address");
    rule.rip_last =
        dash == std::string::npos ? rule.rip_first : line.number(value.substr(dash + 1), "address");
    if (rule.rip_first > rule.rip_last) line.wrong("'rip=" + value + "': the range is upside down");
}

void parse_filter(const Line &line, hwv_rule &rule, const std::string &word) {
    const std::size_t sign = word.find('=');
    const std::string name = word.substr(0, sign);
    const std::string value = sign == std::string::npos ? std::string{} : word.substr(sign + 1);
    if (name == "cpl") return parse_cpl(line, rule, value);
    if (name == "rip") return parse_rip(line, rule, value);
    if (name == "cr3") {
        rule.flags |= HWV_RULE_CR3;
        rule.cr3 = line.number(value, "CR3");
    } else if (name == "every") {
        rule.flags |= HWV_RULE_EVERY;
        rule.every = static_cast<__u32>(line.number(value, "number of matches", ~0u));
        if (!rule.every) line.wrong("every=0 would never act: 1 or more");
    } else {
        line.wrong("'" + word +
                   "' is no filter (cpl=, cr3=, rip=, every=); a rule has '->' "
                   "before its action");
    }
}

void parse_registers(Line &line, hwv_rule &rule) {
    static constexpr const char *names[] = {"eax", "ebx", "ecx", "edx"};
    for (unsigned i = 0; line.more(); i = 0) {
        const std::string word = line.take();
        const std::size_t sign = word.find('=');
        while (i < 4 && word.substr(0, sign) != names[i])
            ++i;
        if (i == 4 || sign == std::string::npos)
            line.wrong("cpuid's answer is eax=, ebx=, ecx=, edx=; not '" + word + "'");
        rule.value[i / 2] |= line.number(word.substr(sign + 1), "32-bit register", ~0u)
                             << (i % 2 ? 32 : 0);
    }
}

// Intel SDM volume 3 and APM volume 2, each exception's "Error Code".
bool pushes_error_code(unsigned vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

void parse_injection(Line &line, hwv_rule &rule) {
    if (!line.more()) line.wrong("inject wants a vector, like inject GP");
    const std::uint64_t vector = key_of(line, HWV_EXIT_EXCEPTION, line.take());
    if (vector > 31) line.wrong("exceptions are vectors 0 to 31");
    rule.vector = static_cast<__u8>(vector);
    if (pushes_error_code(rule.vector)) rule.flags |= HWV_RULE_ERROR_CODE;
    while (line.more()) {
        const std::string word = line.take();
        if (word.starts_with("error=") && (rule.flags & HWV_RULE_ERROR_CODE))
            rule.error_code = static_cast<__u32>(line.number(word.substr(6), "error code", 0x7fff));
        else if (word.starts_with("cr2=") && rule.vector == 14)
            rule.value[0] = line.number(word.substr(4), "address");
        else
            line.wrong("this exception has no '" + word + "'");
    }
}

constexpr const char *actions[] = {"count", "record", "answer", "skip", "inject", "stop"};

void parse_action(Line &line, hwv_rule &rule) {
    if (!line.more()) line.wrong("behind '->' an action is missing");
    const std::string word = line.take();
    while (rule.action < std::size(actions) && word != actions[rule.action])
        ++rule.action;
    if (rule.action == std::size(actions))
        line.wrong("'" + word + "' is no action: count, record, answer, skip, inject or stop");
    if (rule.action == HWV_ACTION_INJECT) return parse_injection(line, rule);
    if (rule.action == HWV_ACTION_ANSWER && rule.reason == HWV_EXIT_CPUID)
        return parse_registers(line, rule);
    if (rule.action == HWV_ACTION_ANSWER) {
        if (!line.more()) line.wrong("answer wants a value");
        rule.value[0] = line.number(line.take(), "value");
    }
    if (line.more()) line.wrong("'" + line.peek() + "' is too much");
}

hwv_rule parse_rule(Line &line) {
    hwv_rule rule{};
    const std::string name = line.take();
    const auto reason = records::reason_of(name);
    if (!reason) line.wrong("there is no exit '" + name + "' (hwvctl policy --help lists them)");
    rule.reason = *reason;
    parse_key(line, rule);
    while (line.more() && line.peek() != "->")
        parse_filter(line, rule, line.take());
    if (!line.more()) line.wrong("'-> ACTION' is missing");
    line.take();
    parse_action(line, rule);
    return rule;
}

Line split(const std::string &text, const std::string &where) {
    Line line{where, {}};
    std::istringstream words{text};
    for (std::string word; words >> word && word[0] != '#';)
        line.words.push_back(word);
    return line;
}

std::string range(std::uint64_t first, std::uint64_t last) {
    return first == last ? records::hex(first) : records::hex(first) + "-" + records::hex(last);
}

std::string action_text(const hwv_rule &r) {
    std::string out = actions[r.action < std::size(actions) ? r.action : 0];
    if (r.action == HWV_ACTION_INJECT) {
        out += fmt::format(" {}", r.vector);
        if (r.flags & HWV_RULE_ERROR_CODE) out += fmt::format(" error={:#x}", r.error_code);
        if (r.vector == 14) out += fmt::format(" cr2={:#x}", r.value[0]);
    }
    if (r.action != HWV_ACTION_ANSWER) return out;
    if (r.reason != HWV_EXIT_CPUID) return out + " " + records::hex(r.value[0]);
    return out + fmt::format(" eax={:#x} ebx={:#x} ecx={:#x} edx={:#x}", r.value[0] & ~0u,
                             r.value[0] >> 32, r.value[1] & ~0u, r.value[1] >> 32);
}

std::string why_refused(const hwv::BadRule &e) {
    if (e.code() == EOPNOTSUPP) return "this CPU cannot make that exit";
    if (e.field() == offsetof(hwv_rule, action)) return "that action cannot be taken at that exit";
    if (e.field() == offsetof(hwv_rule, vector)) return "that exception cannot be injected";
    return "the kernel refuses it (byte " + std::to_string(e.field()) + " of the rule)";
}

} // namespace

bool PolicyText::stops() const {
    return std::any_of(rules.begin(), rules.end(),
                       [](const hwv_rule &r) { return r.action == HWV_ACTION_STOP; });
}

PolicyText parse_policy(const std::string &text, const std::string &name) {
    PolicyText out;
    std::istringstream lines{text};
    unsigned number = 0;
    for (std::string content; std::getline(lines, content);) {
        Line line = split(content, name + ":" + std::to_string(++number));
        if (!line.more()) continue;
        if (line.peek() == "stop-timeout") {
            line.take();
            if (!line.more()) line.wrong("stop-timeout wants milliseconds");
            out.stop_timeout_ms =
                static_cast<std::uint32_t>(line.number(line.take(), "time in ms", ~0u));
            if (line.more()) line.wrong("'" + line.peek() + "' is too much");
            continue;
        }
        if (out.rules.size() == HWV_MAX_RULES)
            line.wrong("a policy has at most " + std::to_string(HWV_MAX_RULES) + " rules");
        out.rules.push_back(parse_rule(line));
        out.lines.push_back(number);
    }
    return out;
}

PolicyText read_policy(const std::string &path) {
    std::ifstream file;
    if (path != "-") {
        file.open(path);
        if (!file) hwv::fail("open the policy '" + path + "'");
    }
    std::istream &in = path == "-" ? std::cin : file;
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    if (in.bad()) hwv::fail("read the policy '" + path + "'");
    return parse_policy(text, path == "-" ? "stdin" : path);
}

std::string rule_text(const hwv_rule &r) {
    std::string out = hwv::exit_name(r.reason);
    if (r.flags & HWV_RULE_KEY) out += " " + range(r.key_first, r.key_last);
    if (r.flags & HWV_RULE_CPL) {
        std::string levels;
        for (unsigned level = 0; level < 4; ++level)
            if (r.cpl_mask >> level & 1)
                levels += (levels.empty() ? "" : ",") + std::to_string(level);
        out += " cpl=" + levels;
    }
    if (r.flags & HWV_RULE_CR3) out += " cr3=" + records::hex(r.cr3);
    if (r.flags & HWV_RULE_RIP) out += " rip=" + range(r.rip_first, r.rip_last);
    if (r.flags & HWV_RULE_EVERY) out += " every=" + std::to_string(r.every);
    return out + " -> " + action_text(r);
}

std::string policy_table(const std::vector<hwv::Rule> &rules) {
    std::string out = fmt::format("{:>12} {:>12}  {}\n", "matched", "acted", "rule");
    for (const hwv::Rule &r : rules)
        out +=
            fmt::format("{:>12} {:>12}  {}\n", r.counts.matched, r.counts.acted, rule_text(r.rule));
    return out;
}

nlohmann::json policy_json(const std::vector<hwv::Rule> &rules) {
    nlohmann::json out = nlohmann::json::array();
    for (const hwv::Rule &r : rules)
        out.push_back({{"rule", rule_text(r.rule)},
                       {"matched", r.counts.matched},
                       {"acted", r.counts.acted}});
    return out;
}

namespace {

[[noreturn]] void name_line(const hwv::BadRule &e, const PolicyText &policy,
                            const std::string &name) {
    if (e.rule() >= policy.lines.size()) throw e;
    const std::string why = why_refused(e);
    throw hwv::Error{e.code(), fmt::format("{}:{}: {}: {}", name, policy.lines[e.rule()], why,
                                           rule_text(policy.rules[e.rule()]))};
}

} // namespace

void set_policy(hwv::Observer &observer, const PolicyText &policy, const std::string &name) {
    try {
        observer.set_policy(policy.rules, policy.stop_timeout_ms);
    } catch (const hwv::BadRule &e) {
        name_line(e, policy, name);
    }
}

void keep_policy(hwv::Netlink &netlink, std::uint64_t vm, const PolicyText &policy,
                 const std::string &name) {
    try {
        netlink.keep_policy(vm, policy.rules);
    } catch (const hwv::BadRule &e) {
        name_line(e, policy, name);
    }
}

} // namespace hwvctl
