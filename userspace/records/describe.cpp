// SPDX-License-Identifier: GPL-2.0-only
#include "records/describe.hpp"
#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include "hwv/stats.hpp"

namespace records {
namespace {

struct Named {
    std::uint64_t first, last;
    const char *name;
};

// What a PC has at these ports (and hwvctl's machine, where it differs).
constexpr Named ports[] = {
    {0x20, 0x21, "PIC"},           {0x40, 0x43, "PIT"},
    {0x60, 0x60, "keyboard"},      {0x61, 0x61, "PIT gate"},
    {0x64, 0x64, "keyboard"},      {0x70, 0x71, "RTC"},
    {0x80, 0x80, "delay"},         {0xa0, 0xa1, "PIC"},
    {0xe9, 0xe9, "debug console"}, {0xf4, 0xf4, "debug exit"},
    {0x2e8, 0x2ef, "COM4"},        {0x2f8, 0x2ff, "COM2"},
    {0x3b0, 0x3df, "VGA"},         {0x3e8, 0x3ef, "COM3"},
    {0x3f8, 0x3ff, "COM1"},        {0x402, 0x402, "debug console"},
    {0x4d0, 0x4d1, "PIC"},         {0x505, 0x505, "panic"},
    {0x600, 0x60f, "ACPI"},        {0xcf8, 0xcfb, "PCI"},
    {0xcfc, 0xcff, "PCI"},
};

constexpr Named msrs[] = {
    {0x10, 0x10, "TSC"},
    {0x1b, 0x1b, "APIC_BASE"},
    {0x3a, 0x3a, "FEATURE_CONTROL"},
    {0x48, 0x48, "SPEC_CTRL"},
    {0x49, 0x49, "PRED_CMD"},
    {0x8b, 0x8b, "BIOS_SIGN_ID"},
    {0xfe, 0xfe, "MTRRcap"},
    {0x10a, 0x10a, "ARCH_CAPABILITIES"},
    {0x174, 0x176, "SYSENTER"},
    {0x179, 0x17b, "MCG"},
    {0x1a0, 0x1a0, "MISC_ENABLE"},
    {0x1d9, 0x1d9, "DEBUGCTL"},
    {0x200, 0x26f, "MTRR"},
    {0x277, 0x277, "PAT"},
    {0x2ff, 0x2ff, "MTRRdefType"},
    {0x400, 0x47f, "machine check bank"},
    {0x6e0, 0x6e0, "TSC_DEADLINE"},
    {0x802, 0x802, "x2APIC ID"},
    {0x808, 0x808, "x2APIC TPR"},
    {0x80b, 0x80b, "x2APIC EOI"},
    {0x80f, 0x80f, "x2APIC SVR"},
    {0x830, 0x830, "x2APIC ICR"},
    {0x832, 0x832, "x2APIC LVT timer"},
    {0x838, 0x838, "x2APIC timer count"},
    {0x83f, 0x83f, "x2APIC self-IPI"},
    {0x800, 0x8ff, "x2APIC"},
    {0x4b564d00, 0x4b564d01, "KVM clock"},
    {0x4b564d02, 0x4b564d02, "KVM async fault"},
    {0x4b564d03, 0x4b564d03, "KVM steal time"},
    {0x4b564d04, 0x4b564d04, "KVM PV EOI"},
    {0xc0000080, 0xc0000080, "EFER"},
    {0xc0000081, 0xc0000084, "SYSCALL"},
    {0xc0000100, 0xc0000102, "FS/GS base"},
    {0xc0000103, 0xc0000103, "TSC_AUX"},
    {0xc0010000, 0xc0010007, "AMD counters"},
    {0xc0010015, 0xc0010015, "HWCR"},
    {0xc001011f, 0xc001011f, "VIRT_SPEC_CTRL"},
    {0xc0010200, 0xc001020b, "AMD counters"},
};

constexpr Named exceptions[] = {
    {0, 0, "#DE"},   {1, 1, "#DB"},   {3, 3, "#BP"},   {4, 4, "#OF"},   {5, 5, "#BR"},
    {6, 6, "#UD"},   {7, 7, "#NM"},   {8, 8, "#DF"},   {10, 10, "#TS"}, {11, 11, "#NP"},
    {12, 12, "#SS"}, {13, 13, "#GP"}, {14, 14, "#PF"}, {16, 16, "#MF"}, {17, 17, "#AC"},
    {18, 18, "#MC"}, {19, 19, "#XM"}, {21, 21, "#CP"},
};

constexpr Named hypercalls[] = {
    {1, 1, "vapic poll irq"}, {5, 5, "kick CPU"}, {9, 9, "clock pairing"},
    {10, 10, "send IPI"},     {11, 11, "yield"},  {HWV_HYPERCALL_MARK, HWV_HYPERCALL_MARK, "mark"},
};

template <std::size_t N>
std::string named(const char *kind, std::uint64_t value, const Named (&table)[N]) {
    for (const Named &n : table)
        if (value >= n.first && value <= n.last)
            return fmt::format("{} {:#x} ({})", kind, value, n.name);
    return fmt::format("{} {:#x}", kind, value);
}

std::string fault_words(std::uint64_t bits) {
    std::string out = bits & HWV_FAULT_WRITE ? "write" : bits & HWV_FAULT_FETCH ? "fetch" : "read";
    if (bits & HWV_FAULT_PRESENT) out += " protected";
    if (bits & HWV_FAULT_WALK) out += " by a table walk";
    return out;
}

} // namespace

std::string describe_key(unsigned reason, std::uint64_t key) {
    switch (reason) {
    case HWV_EXIT_IO: return named("port", key, ports);
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE: return named("msr", key, msrs);
    case HWV_EXIT_CPUID: return fmt::format("leaf {:#x}", key);
    case HWV_EXIT_HYPERCALL: return named("nr", key, hypercalls);
    case HWV_EXIT_PAGE_FAULT:
        return key >> 12 == 0xfee00 ? fmt::format("gpa {:#x} (xAPIC)", key)
                                    : fmt::format("gpa {:#x}", key);
    case HWV_EXIT_EXCEPTION: return named("vector", key, exceptions);
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE: return fmt::format("cr{}", key);
    case HWV_EXIT_DR_ACCESS: return fmt::format("dr{}", key);
    case HWV_EXIT_INVLPG: return fmt::format("address {:#x}", key);
    case HWV_EXIT_TASK_SWITCH: return fmt::format("selector {:#x}", key);
    default: return {};
    }
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
    constexpr Named words[] = {
        {HWV_RECORD_TO_USER, 0, "user"},
        {HWV_RECORD_HALTED, 0, "halted"},
        {HWV_RECORD_DESCHEDULED, 0, "descheduled"},
        {HWV_RECORD_STOPPED, 0, "stopped"},
        {HWV_RECORD_RULED, 0, "ruled"},
        {HWV_RECORD_UNFINISHED, 0, "unfinished"},
    };
    std::string out;
    for (const Named &w : words)
        if (r.flags & w.first) out += std::string{out.empty() ? "" : ","} + w.name;
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
    for (unsigned r = 0; r < HWV_EXIT_CPU_REASONS; ++r)
        if (name == hwv::exit_name(r)) return r;
    unsigned value = 0;
    const char *end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data(), end, value);
    if (error == std::errc{} && rest == end && value < HWV_EXIT_CPU_REASONS) return value;
    return std::nullopt;
}

} // namespace records
