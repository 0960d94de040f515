// SPDX-License-Identifier: GPL-2.0-only
#include "records/describe.hpp"
#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <utility>
#include "hwv/stats.hpp"
#include "records/key_names.hpp"

namespace records {
namespace {

std::string fault_words(std::uint64_t bits) {
    std::string out = bits & HWV_FAULT_WRITE ? "write" : bits & HWV_FAULT_FETCH ? "fetch" : "read";
    if (bits & HWV_FAULT_PRESENT) out += " protected";
    if (bits & HWV_FAULT_WALK) out += " by a table walk";
    return out;
}

} // namespace

std::string describe_key(unsigned reason, std::uint64_t key) {
    const std::string kind = key_kind(reason), name = key_name(reason, key);
    if (kind.empty()) return {};
    if (kind == "register") return name;
    return fmt::format("{} {:#x}{}", kind, key, name.empty() ? "" : " (" + name + ")");
}

std::string describe_data(const hwv_record &r) {
    switch (r.reason) {
    case HWV_EXIT_IO:
        return r.data >> 32 ? fmt::format("in {} bytes", r.data >> 32)
                            : fmt::format("out {:#x}", r.data);
    case HWV_EXIT_MSR_READ: return fmt::format("read {:#x}", r.data);
    case HWV_EXIT_MSR_WRITE:
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS: return fmt::format("wrote {:#x}", r.data);
    case HWV_EXIT_CPUID: return fmt::format("subleaf {:#x}", r.data);
    case HWV_EXIT_HYPERCALL: return fmt::format("argument {:#x}", r.data);
    case HWV_EXIT_PAGE_FAULT: return fault_words(r.data);
    case HWV_EXIT_EXCEPTION: return fmt::format("error code {:#x}", r.data);
    default: return {};
    }
}

std::string describe(const hwv_record &r) {
    if (const auto mark = mark_text(r)) return "mark " + *mark;
    std::string out = hwv::exit_name(r.reason);
    for (const std::string &part : {describe_key(r.reason, r.key), describe_data(r)})
        if (!part.empty()) out += " " + part;
    return out;
}

std::string describe_flags(const hwv_record &r) {
    constexpr std::pair<unsigned, const char *> words[] = {
        {HWV_RECORD_TO_USER, "user"},
        {HWV_RECORD_HALTED, "halted"},
        {HWV_RECORD_DESCHEDULED, "descheduled"},
        {HWV_RECORD_STOPPED, "stopped"},
        {HWV_RECORD_RULED, "ruled"},
        {HWV_RECORD_UNFINISHED, "unfinished"},
    };
    std::string out;
    for (const auto &[flag, word] : words)
        if (r.flags & flag) out += std::string{out.empty() ? "" : ","} + word;
    return out;
}

std::optional<std::string> mark_text(const hwv_record &r) {
    if (r.reason != HWV_EXIT_HYPERCALL || r.key != HWV_HYPERCALL_MARK) return std::nullopt;
    std::string text;
    std::uint64_t rest = r.data;
    for (; rest & 0xff; rest >>= 8)
        text += static_cast<char>(rest & 0xff);
    const bool words =
        rest == 0 && !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
            return c >= ' ' && c <= '~' && c != '"' && c != '\\';
        });
    return words ? "\"" + text + "\"" : fmt::format("{:#x}", r.data);
}

std::optional<unsigned> reason_by_name(const std::string &name) {
    if (const auto reason = reason_of(name)) return reason;
    unsigned value = 0;
    const char *end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data(), end, value);
    if (error == std::errc{} && rest == end && value < HWV_EXIT_CPU_REASONS) return value;
    return std::nullopt;
}

} // namespace records
