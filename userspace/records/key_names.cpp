// SPDX-License-Identifier: GPL-2.0-only
#include "records/key_names.hpp"
#include <span>
#include <fmt/format.h>
#include "hwv.h"
#include "hwv/stats.hpp"

namespace records {
namespace {

struct Range {
    std::uint64_t first, last;
    const char *name;
};

constexpr Range ports[] = {{0x20, 0x21, "PIC1"},
                           {0x40, 0x43, "PIT"},
                           {0x60, 0x60, "i8042 data"},
                           {0x61, 0x61, "PIT gate, speaker"},
                           {0x64, 0x64, "i8042 status"},
                           {0x70, 0x71, "RTC, CMOS"},
                           {0x80, 0x80, "POST code, delay"},
                           {0x92, 0x92, "fast A20"},
                           {0xa0, 0xa1, "PIC2"},
                           {0xcf8, 0xcf8, "PCI address"},
                           {0xcf9, 0xcf9, "reset control"},
                           {0xcfc, 0xcff, "PCI data"},
                           {0xe9, 0xe9, "debug console"},
                           {0xf4, 0xf4, "debug exit"},
                           {0x170, 0x177, "IDE2"},
                           {0x1f0, 0x1f7, "IDE1"},
                           {0x2e8, 0x2ef, "COM4"},
                           {0x2f8, 0x2ff, "COM2"},
                           {0x378, 0x37f, "LPT1"},
                           {0x3b0, 0x3df, "VGA"},
                           {0x3e8, 0x3ef, "COM3"},
                           {0x3f8, 0x3ff, "COM1"},
                           {0x402, 0x402, "debug console"},
                           {0x4d0, 0x4d1, "PIC trigger modes"},
                           {0x505, 0x505, "panic"},
                           {0x510, 0x51b, "fw_cfg"},
                           {0x600, 0x60f, "ACPI PM"}};

// Intel SDM volume 4, "Model-Specific Registers (MSRs)"; APM volume 2, "MSR Cross-Reference";
// Linux, <asm/kvm_para.h>, <asm/msr-index.h>.
constexpr Range msrs[] = {{0x10, 0x10, "TSC"},
                          {0x1b, 0x1b, "APIC_BASE"},
                          {0x3a, 0x3a, "FEATURE_CONTROL"},
                          {0x3b, 0x3b, "TSC_ADJUST"},
                          {0x48, 0x48, "SPEC_CTRL"},
                          {0x49, 0x49, "PRED_CMD"},
                          {0x79, 0x79, "BIOS_UPDT_TRIG"},
                          {0x8b, 0x8b, "BIOS_SIGN_ID"},
                          {0xce, 0xce, "PLATFORM_INFO"},
                          {0xe7, 0xe7, "MPERF"},
                          {0xe8, 0xe8, "APERF"},
                          {0xfe, 0xfe, "MTRRCAP"},
                          {0x10a, 0x10a, "ARCH_CAPABILITIES"},
                          {0x10b, 0x10b, "FLUSH_CMD"},
                          {0x140, 0x140, "MISC_FEATURES_ENABLES"},
                          {0x174, 0x174, "SYSENTER_CS"},
                          {0x175, 0x175, "SYSENTER_ESP"},
                          {0x176, 0x176, "SYSENTER_EIP"},
                          {0x179, 0x179, "MCG_CAP"},
                          {0x17a, 0x17a, "MCG_STATUS"},
                          {0x17b, 0x17b, "MCG_CTL"},
                          {0x1a0, 0x1a0, "MISC_ENABLE"},
                          {0x1d9, 0x1d9, "DEBUGCTL"},
                          {0x200, 0x21f, "MTRR_PHYS"},
                          {0x250, 0x26f, "MTRR_FIX"},
                          {0x277, 0x277, "PAT"},
                          {0x2ff, 0x2ff, "MTRR_DEF_TYPE"},
                          {0x400, 0x47f, "MC bank"},
                          {0x6e0, 0x6e0, "TSC_DEADLINE"},
                          {0x802, 0x802, "X2APIC_ID"},
                          {0x803, 0x803, "X2APIC_VERSION"},
                          {0x808, 0x808, "X2APIC_TPR"},
                          {0x80a, 0x80a, "X2APIC_PPR"},
                          {0x80b, 0x80b, "X2APIC_EOI"},
                          {0x80d, 0x80d, "X2APIC_LDR"},
                          {0x80f, 0x80f, "X2APIC_SIVR"},
                          {0x810, 0x817, "X2APIC_ISR"},
                          {0x818, 0x81f, "X2APIC_TMR"},
                          {0x820, 0x827, "X2APIC_IRR"},
                          {0x828, 0x828, "X2APIC_ESR"},
                          {0x830, 0x830, "X2APIC_ICR"},
                          {0x832, 0x832, "X2APIC_LVT_TIMER"},
                          {0x833, 0x837, "X2APIC_LVT"},
                          {0x838, 0x838, "X2APIC_TMICT"},
                          {0x839, 0x839, "X2APIC_TMCCT"},
                          {0x83e, 0x83e, "X2APIC_TDCR"},
                          {0x83f, 0x83f, "X2APIC_SELF_IPI"},
                          {0x800, 0x8ff, "X2APIC"},
                          {0xda0, 0xda0, "XSS"},
                          {0x4b564d00, 0x4b564d00, "KVM_WALL_CLOCK_NEW"},
                          {0x4b564d01, 0x4b564d01, "KVM_SYSTEM_TIME_NEW"},
                          {0x4b564d02, 0x4b564d02, "KVM_ASYNC_PF_EN"},
                          {0x4b564d03, 0x4b564d03, "KVM_STEAL_TIME"},
                          {0x4b564d04, 0x4b564d04, "KVM_PV_EOI_EN"},
                          {0x4b564d05, 0x4b564d05, "KVM_POLL_CONTROL"},
                          {0xc0000080, 0xc0000080, "EFER"},
                          {0xc0000081, 0xc0000081, "STAR"},
                          {0xc0000082, 0xc0000082, "LSTAR"},
                          {0xc0000083, 0xc0000083, "CSTAR"},
                          {0xc0000084, 0xc0000084, "SYSCALL_MASK"},
                          {0xc0000100, 0xc0000100, "FS_BASE"},
                          {0xc0000101, 0xc0000101, "GS_BASE"},
                          {0xc0000102, 0xc0000102, "KERNEL_GS_BASE"},
                          {0xc0000103, 0xc0000103, "TSC_AUX"},
                          {0xc0010000, 0xc0010007, "PERF_LEGACY"},
                          {0xc0010015, 0xc0010015, "HWCR"},
                          {0xc0010111, 0xc0010117, "SVM"},
                          {0xc001011f, 0xc001011f, "VIRT_SPEC_CTRL"},
                          {0xc0010200, 0xc001020b, "PERF"},
                          {0xc0011029, 0xc0011029, "DE_CFG"}};

constexpr Range leaves[] = {{0, 0, "vendor"},
                            {1, 1, "features"},
                            {2, 2, "cache descriptors"},
                            {4, 4, "caches"},
                            {5, 5, "monitor"},
                            {6, 6, "power"},
                            {7, 7, "extended features"},
                            {0xa, 0xa, "performance counters"},
                            {0xb, 0xb, "topology"},
                            {0xd, 0xd, "XSAVE"},
                            {0x15, 0x15, "TSC frequency"},
                            {0x16, 0x16, "CPU frequency"},
                            {0x1f, 0x1f, "topology v2"},
                            {0x40000000, 0x40000000, "hypervisor"},
                            {0x40000001, 0x40000001, "KVM features"},
                            {0x40000002, 0x400000ff, "hypervisor"},
                            {0x80000000, 0x80000000, "extended vendor"},
                            {0x80000001, 0x80000001, "extended features"},
                            {0x80000002, 0x80000004, "brand"},
                            {0x80000005, 0x80000006, "caches"},
                            {0x80000007, 0x80000007, "power"},
                            {0x80000008, 0x80000008, "addresses"},
                            {0x8000000a, 0x8000000a, "SVM"},
                            {0x8000001d, 0x8000001d, "caches"},
                            {0x8000001e, 0x8000001e, "topology"}};

// Linux, <linux/kvm_para.h>; hwv_guest.h.
constexpr Range hypercalls[] = {{1, 1, "VAPIC_POLL_IRQ"},
                                {5, 5, "KICK_CPU"},
                                {9, 9, "CLOCK_PAIRING"},
                                {10, 10, "SEND_IPI"},
                                {11, 11, "SCHED_YIELD"},
                                {12, 12, "MAP_GPA_RANGE"},
                                {HWV_HYPERCALL_MARK, HWV_HYPERCALL_MARK, "mark"}};

constexpr Range exceptions[] = {{0, 0, "#DE"},   {1, 1, "#DB"},   {2, 2, "NMI"},   {3, 3, "#BP"},
                                {4, 4, "#OF"},   {5, 5, "#BR"},   {6, 6, "#UD"},   {7, 7, "#NM"},
                                {8, 8, "#DF"},   {10, 10, "#TS"}, {11, 11, "#NP"}, {12, 12, "#SS"},
                                {13, 13, "#GP"}, {14, 14, "#PF"}, {16, 16, "#MF"}, {17, 17, "#AC"},
                                {18, 18, "#MC"}, {19, 19, "#XM"}, {20, 20, "#VE"}, {21, 21, "#CP"}};

constexpr Range pages[] = {{0xa0000, 0xbffff, "VGA"},
                           {0xfec00000, 0xfec00fff, "IOAPIC"},
                           {0xfed00000, 0xfed003ff, "HPET"},
                           {0xfee00000, 0xfee00fff, "local APIC"}};

std::span<const Range> names_of(std::uint32_t reason) {
    switch (reason) {
    case HWV_EXIT_IO: return ports;
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE: return msrs;
    case HWV_EXIT_CPUID: return leaves;
    case HWV_EXIT_HYPERCALL: return hypercalls;
    case HWV_EXIT_EXCEPTION: return exceptions;
    case HWV_EXIT_PAGE_FAULT: return pages;
    default: return {};
    }
}

} // namespace

std::string key_name(std::uint32_t reason, std::uint64_t key) {
    if (reason == HWV_EXIT_CR_READ || reason == HWV_EXIT_CR_WRITE) return fmt::format("cr{}", key);
    if (reason == HWV_EXIT_DR_ACCESS) return fmt::format("dr{}", key);
    for (const Range &r : names_of(reason))
        if (key >= r.first && key <= r.last) return r.name;
    return {};
}

std::string key_text(std::uint32_t reason, std::uint64_t key) {
    const std::string name = key_name(reason, key);
    if (reason == HWV_EXIT_CR_READ || reason == HWV_EXIT_CR_WRITE || reason == HWV_EXIT_DR_ACCESS)
        return name;
    if (reason == HWV_EXIT_EXCEPTION || reason == HWV_EXIT_HYPERCALL)
        return std::to_string(key) + (name.empty() ? "" : " " + name);
    return hex(key) + (name.empty() ? "" : " " + name);
}

const char *key_kind(std::uint32_t reason) {
    switch (reason) {
    case HWV_EXIT_IO: return "port";
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE: return "msr";
    case HWV_EXIT_CPUID: return "leaf";
    case HWV_EXIT_HYPERCALL: return "number";
    case HWV_EXIT_EXCEPTION: return "vector";
    case HWV_EXIT_PAGE_FAULT: return "gpa";
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS: return "register";
    case HWV_EXIT_INVLPG: return "address";
    case HWV_EXIT_TASK_SWITCH: return "selector";
    default: return "";
    }
}

std::optional<std::uint32_t> reason_of(const std::string &name) {
    for (std::uint32_t r = 1; r < HWV_EXIT_CPU_REASONS; ++r)
        if (name == hwv::exit_name(r)) return r;
    return std::nullopt;
}

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

} // namespace records
