// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/stops.hpp"
#include <fmt/format.h>
#include <iostream>
#include "hwv/error.hpp"
#include "hwvctl/command.hpp"
#include "records/key_names.hpp"
#include "hwvctl/policy_text.hpp"
#include "hwvctl/registers.hpp"

namespace hwvctl {
namespace {

constexpr const char *choices =
    "pass, skip, answer VALUE, inject VECTOR, regs, set REGISTER=VALUE, end";

bool show_or_set(hwv::Observer &observer, const hwv_stop &stop, const std::string &line) {
    if (line != "regs" && !line.starts_with("set ")) return false;
    hwv_regs regs = observer.registers(stop.vcpu);
    if (line == "regs")
        fmt::print("{}", register_text(regs));
    else
        observer.set_registers(stop.vcpu, assign(regs, line.substr(4)), regs);
    return true;
}

// One line of the user's; false: ask again.
bool obey(hwv::Observer &observer, const hwv_stop &stop, const std::string &line) {
    try {
        if (show_or_set(observer, stop, line)) return false;
        hwv_stop_reply reply = parse_reply(line);
        reply.id = stop.id;
        if (!observer.reply(reply)) fmt::print("too late: the vCPU has gone on\n");
        return true;
    } catch (const UsageError &e) {
        fmt::print("{}; {}\n", e.message, choices);
    } catch (const hwv::Error &e) {
        fmt::print("{}; {}\n", e.what(), choices);
    }
    return false;
}

} // namespace

hwv_stop_reply parse_reply(const std::string &text) {
    hwv_stop_reply out{};
    if (text == "pass") return out;
    const std::string verb = text.substr(0, text.find(' '));
    if (verb != "skip" && verb != "answer" && verb != "inject")
        throw UsageError{"'" + text + "' is no reply: pass, skip, answer VALUE, inject VECTOR"};
    const bool registers = text.starts_with("answer ") && text.find('=') != std::string::npos;
    const hwv_rule rule =
        parse_policy((registers ? "cpuid -> " : "rdtsc -> ") + text, "reply").rules.at(0);
    switch (rule.action) {
    case HWV_ACTION_ANSWER: out.action = HWV_STOP_ANSWER; break;
    case HWV_ACTION_INJECT: out.action = HWV_STOP_INJECT; break;
    default: out.action = HWV_STOP_SKIP;
    }
    out.vector = rule.vector;
    out.has_error_code = (rule.flags & HWV_RULE_ERROR_CODE) != 0;
    out.error_code = rule.error_code;
    out.value[0] = rule.value[0];
    out.value[1] = rule.value[1];
    return out;
}

std::string stop_text(const hwv_stop &stop) {
    const std::string key =
        *records::key_kind(stop.reason) ? " " + records::key_text(stop.reason, stop.key) : "";
    return fmt::format("vCPU {} at {}{}, data {:#x}, rip {:#x}, cpl {}, cr3 {:#x}", stop.vcpu,
                       hwv::exit_name(stop.reason), key, stop.data, stop.rip, stop.cpl, stop.cr3);
}

unsigned reply_to_all(hwv::Observer &observer, const hwv_stop_reply &reply) {
    unsigned count = 0;
    while (const auto stop = observer.next_stop()) {
        hwv_stop_reply mine = reply;
        mine.id = stop->id;
        count += observer.reply(mine);
    }
    return count;
}

bool ask_about_stops(hwv::Observer &observer) {
    while (const auto stop = observer.next_stop()) {
        fmt::print("{}\n", stop_text(*stop));
        std::string line;
        do {
            fmt::print("{}> ", choices);
            std::fflush(stdout);
            if (!std::getline(std::cin, line) || line == "end") return false;
        } while (!obey(observer, *stop, line));
    }
    return true;
}

} // namespace hwvctl
