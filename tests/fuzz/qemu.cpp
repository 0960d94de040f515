// SPDX-License-Identifier: GPL-2.0-only
#include "fuzz/qemu.hpp"
#include <iterator>
#include <unistd.h>
#include <vector>
#include "module/raw.hpp"
#include "oracle/test_vm.hpp"

namespace fuzz {

namespace {

constexpr std::uint64_t paging = 1u << 31, long_mode = 1u << 8 | 1u << 10; // CR0; EFER: LME, LMA

std::vector<hwv_cpuid_entry> without_long_mode() {
    std::vector<hwv_cpuid_entry> entries(HWV_MAX_CPUID);
    hwv_cpuid_table table{.count = HWV_MAX_CPUID,
                          .entries = reinterpret_cast<std::uint64_t>(entries.data())};
    const int device = raw::open_device();
    raw::call(device, HWV_GET_CPUID, &table);
    ::close(device);
    entries.resize(table.count);
    for (hwv_cpuid_entry &entry : entries)
        if (entry.leaf == 0x8000'0001) entry.edx &= ~(1u << 29);
    return entries;
}

// A general protection fault at every write of what `key` names.
hwv_rule refuse(std::uint32_t reason, std::uint64_t key) {
    return {.reason = reason,
            .action = HWV_ACTION_INJECT,
            .flags = HWV_RULE_KEY | HWV_RULE_ERROR_CODE,
            .vector = 13,
            .key_first = key,
            .key_last = key};
}

} // namespace

bool on_qemu() {
    static const bool yes = oracle::firmware_says("sys_vendor") == "QEMU";
    return yes;
}

void take_breakpoints(char *code, std::size_t bytes) {
    if (!on_qemu()) return;
    for (std::size_t i = 0; i + 1 < bytes; ++i)
        if (code[i] == 0x0f && code[i + 1] == 0x23) code[i + 1] = 0x21;
}

void take_long_mode(int vcpu) {
    if (!on_qemu()) return;
    static const std::vector<hwv_cpuid_entry> entries = without_long_mode();
    hwv_cpuid_table table{.count = static_cast<std::uint32_t>(entries.size()),
                          .entries = reinterpret_cast<std::uint64_t>(entries.data())};
    raw::call(vcpu, HWV_SET_CPUID, &table);
}

void keep_long_mode(int observer) {
    const hwv_rule rules[] = {refuse(HWV_EXIT_CR_WRITE, 0),
                              refuse(HWV_EXIT_MSR_WRITE, 0xc000'0080)};
    hwv_policy policy{.count = std::size(rules), .rules = reinterpret_cast<std::uint64_t>(rules)};
    raw::call(observer, HWV_POLICY_SET, &policy);
}

void fit_long_mode(hwv_regs &regs) {
    if (on_qemu() && !(regs.cr0 & paging)) regs.efer &= ~long_mode;
}

} // namespace fuzz
