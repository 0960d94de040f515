// SPDX-License-Identifier: GPL-2.0-only
#include "vmx/capabilities.hpp"
#include "core/arch.hpp"
#include "host.h"
#include "vmx/controls.hpp"
#include "vmx/msr.hpp"

namespace hwv::vmx {

namespace {

enum class Group : std::uint8_t { pin, primary, secondary, exit, entry };
enum class Need : std::uint8_t {
    required,
    optional,
    never, // must be off, and some CPUs cannot
};

struct Control {
    Group group;
    std::uint32_t bit;
    Need need;
    const char *missing; // the log's line
};

#define REQUIRED(group, name)                                                                      \
    { Group::group, vmx_##group::name, Need::required, MISSING(#name) }
#define OPTIONAL(group, name)                                                                      \
    { Group::group, vmx_##group::name, Need::optional, nullptr }
#define NEVER(group, name)                                                                         \
    { Group::group, vmx_##group::name, Need::never, FORCED(#name) }
#define MISSING(name) "this CPU's VMX lacks the control " name
#define FORCED(name) "this CPU's VMX cannot switch off the control " name

namespace vmx_pin = pin;
namespace vmx_primary = primary;
namespace vmx_secondary = secondary;
namespace vmx_exit = exit_control;
namespace vmx_entry = entry_control;

// Intel SDM vol. 3, "VM-Execution Control Fields" and the two sections after it.
constexpr Control controls[] = {
    REQUIRED(pin, external_interrupt_exiting),
    REQUIRED(pin, nmi_exiting),
    REQUIRED(pin, virtual_nmis),
    OPTIONAL(pin, preemption_timer),
    REQUIRED(primary, interrupt_window_exiting),
    REQUIRED(primary, nmi_window_exiting),
    REQUIRED(primary, use_tsc_offsetting),
    REQUIRED(primary, hlt_exiting),
    REQUIRED(primary, mwait_exiting),
    REQUIRED(primary, monitor_exiting),
    REQUIRED(primary, rdpmc_exiting),
    REQUIRED(primary, use_tpr_shadow),
    REQUIRED(primary, mov_dr_exiting),
    REQUIRED(primary, unconditional_io_exiting),
    REQUIRED(primary, use_msr_bitmaps),
    REQUIRED(primary, secondary_controls),
    NEVER(primary, cr3_load_exiting),
    NEVER(primary, cr3_store_exiting),
    NEVER(primary, invlpg_exiting),
    REQUIRED(secondary, enable_ept),
    REQUIRED(secondary, unrestricted_guest),
    REQUIRED(secondary, wbinvd_exiting),
    OPTIONAL(secondary, enable_rdtscp),
    OPTIONAL(secondary, enable_invpcid),
    OPTIONAL(secondary, enable_vpid),
    OPTIONAL(secondary, pause_loop_exiting),
    OPTIONAL(secondary, encls_exiting), // SGX is not offered: ENCLS and ENCLV exit
    OPTIONAL(secondary, enclv_exiting),
    OPTIONAL(secondary, conceal_vmx_from_pt),
    REQUIRED(exit, save_debug_controls),
    REQUIRED(exit, host_address_space_size),
    REQUIRED(exit, save_pat),
    REQUIRED(exit, load_pat),
    REQUIRED(exit, load_efer),
    OPTIONAL(exit, conceal_vmx_from_pt),
    REQUIRED(entry, load_debug_controls),
    REQUIRED(entry, ia32e_mode_guest),
    REQUIRED(entry, load_pat),
    REQUIRED(entry, load_efer),
    OPTIONAL(entry, conceal_vmx_from_pt),
};

bool bit(std::uint64_t word, unsigned n) { return word >> n & 1; }

const AllowedControls &group(const Capabilities &c, Group g) {
    const CheckerFacts &f = c.facts;
    const AllowedControls *const groups[] = {&f.pin, &f.primary, &f.secondary, &f.exit, &f.entry};
    return *groups[static_cast<unsigned>(g)];
}

std::uint32_t wanted(Group g) {
    std::uint32_t bits = 0;
    for (const Control &control : controls)
        if (control.group == g && control.need != Need::never) bits |= control.bit;
    return bits;
}

// Set in every guest, or only where its state asks for it.
constexpr std::uint32_t by_state_primary =
    primary::interrupt_window_exiting | primary::nmi_window_exiting;

AllowedControls allowed(std::uint32_t index) {
    const std::uint64_t v = arch::rdmsr(index);
    return {static_cast<std::uint32_t>(v), static_cast<std::uint32_t>(v >> 32)};
}

// Intel SDM "Reserved Controls and Default Settings": bit 55 of IA32_VMX_BASIC says that the "true"
// MSRs exist, which alone tell that CR3 exits can be switched off.
void read_controls(Capabilities &c, std::uint64_t basic) {
    const bool exact = bit(basic, 55);
    CheckerFacts &f = c.facts;
    f.pin = allowed(exact ? msr::true_pin_controls : msr::pin_controls);
    f.primary = allowed(exact ? msr::true_primary_controls : msr::primary_controls);
    f.exit = allowed(exact ? msr::true_exit_controls : msr::exit_controls);
    f.entry = allowed(exact ? msr::true_entry_controls : msr::entry_controls);
    if (f.primary.has(primary::secondary_controls)) f.secondary = allowed(msr::secondary_controls);
    f.cr0_fixed0 = arch::rdmsr(msr::cr0_fixed0);
    f.cr0_fixed1 = arch::rdmsr(msr::cr0_fixed1);
    f.cr4_fixed0 = arch::rdmsr(msr::cr4_fixed0);
    f.cr4_fixed1 = arch::rdmsr(msr::cr4_fixed1);
    f.misc = arch::rdmsr(msr::misc);
    f.any_error_code = bit(basic, 56);
}

// "VPID and EPT Capabilities". False: the tables or the flushes that hwv uses are not there.
bool read_ept(Capabilities &c) {
    if (!c.facts.secondary.has(secondary::enable_ept)) return false;
    const std::uint64_t v = c.facts.ept_capabilities = arch::rdmsr(msr::ept_vpid_cap);
    c.ept.execute_only = bit(v, 0);
    c.ept.accessed_dirty = bit(v, 21);
    c.ept.largest = bit(v, 17)   ? npt::Level::page_1g
                    : bit(v, 16) ? npt::Level::page_2m
                                 : npt::Level::page_4k;
    c.invept_context = bit(v, 25);
    c.vpid = c.facts.secondary.has(secondary::enable_vpid);
    const bool walk_4 = bit(v, 6), write_back = bit(v, 14), invept = bit(v, 20);
    return walk_4 && write_back && invept && (c.invept_context || bit(v, 26));
}

// Models with unrestricted guest whose timer counts at another rate than they say: Westmere's
// desktop and mobile ones ("VMX-Preemption Timer Does Not Count Down at the Rate Specified" in
// their specification updates), and Ivy Bridge before its last stepping.
bool timer_miscounts() {
    const std::uint32_t signature = arch::cpuid(1).eax & 0x0fff'3fff;
    return signature == 0x20652 || signature == 0x20655 || signature == 0x306a8;
}

bool all_controls(const Capabilities &c) {
    bool all = true;
    for (const Control &control : controls) {
        const AllowedControls &g = group(c, control.group);
        const bool fine =
            control.need == Need::optional ||
            (control.need == Need::required ? g.has(control.bit) : !(g.must & control.bit));
        if (!fine) hwv_host_log(control.missing, 0, 0);
        all &= fine;
    }
    return all;
}

// "Enabling and Entering VMX Operation": firmware decides, and locks its decision.
bool locked() {
    constexpr std::uint64_t needed = feature_control::locked | feature_control::vmx_outside_smx;
    return (arch::rdmsr_safe(msr::feature_control).value_or(0) & needed) != needed;
}

hwv_unusable read_all(Capabilities &c) {
    if (!bit(arch::cpuid(1).ecx, 5)) return HWV_UNUSABLE_NO_VIRT;
    if (locked()) return HWV_UNUSABLE_LOCKED;
    const std::uint64_t basic = arch::rdmsr(msr::basic);
    c.revision = basic & 0x7fff'ffff;
    read_controls(c, basic);
    const bool complete = all_controls(c), ept = read_ept(c);
    if (!ept) return HWV_UNUSABLE_NO_NESTED_PAGING;
    if (!c.facts.secondary.has(secondary::unrestricted_guest)) return HWV_UNUSABLE_NO_UNRESTRICTED;
    return complete ? HWV_USABLE : HWV_UNUSABLE_NO_CONTROL;
}

// What CPUID tells, in leaves that not every CPU has.
void read_cpuid(Capabilities &c) {
    const std::uint32_t last = arch::cpuid(0).eax;
    const arch::CpuidLeaf seven = last >= 7 ? arch::cpuid(7) : arch::CpuidLeaf{};
    const arch::CpuidLeaf ten = last >= 10 ? arch::cpuid(10) : arch::CpuidLeaf{};
    const arch::CpuidLeaf sizes = arch::cpuid(0x8000'0008);
    CheckerFacts &f = c.facts;
    c.timer = f.pin.has(pin::preemption_timer) && hwv_host_facts()->cpu_timer && !timer_miscounts();
    c.timer_shift = f.misc & 0x1f;
    c.apicv = f.secondary.has(apic_controls) && hwv_host_facts()->apicv;
    c.posted = c.apicv && f.pin.has(pin::posted_interrupts) &&
               f.exit.has(exit_control::acknowledge_interrupt_on_exit) &&
               hwv_host_facts()->posted_vector;
    c.tsc_aux = bit(arch::cpuid(0x8000'0001).edx, 27) || bit(seven.ecx, 22);
    c.l1d_flush = bit(seven.edx, 28);
    c.perf_global_ctrl = (ten.eax & 0xff) >= 2 && f.exit.has(exit_control::load_perf_global_ctrl) &&
                         f.entry.has(entry_control::load_perf_global_ctrl);
    c.pebs = c.perf_global_ctrl && bit(arch::cpuid(1).edx, 21) &&
             arch::rdmsr_safe(msr::pebs_enable).has_value();
    f.physical_bits = sizes.eax & 0xff;
    f.linear_bits = sizes.eax >> 8 & 0xff;
    f.rtm = bit(seven.ebx, 11);
    f.sgx = bit(seven.ebx, 2);
    f.bus_lock_debug = bit(seven.ecx, 24);
    if (c.perf_global_ctrl)
        f.perf_global_ctrl = ((1ull << (ten.eax >> 8 & 0xff)) - 1) |
                             ((1ull << (ten.edx & 0x1f)) - 1) << 32 | 1ull << 48;
}

} // namespace

Capabilities read_capabilities() {
    Capabilities c;
    c.unusable = read_all(c);
    read_cpuid(c);
    return c;
}

std::uint32_t Capabilities::pin_controls() const {
    const std::uint32_t bits = facts.pin.adjust(wanted(Group::pin));
    return timer ? bits : bits & ~pin::preemption_timer;
}
std::uint32_t Capabilities::primary_controls() const {
    return facts.primary.adjust(wanted(Group::primary) & ~by_state_primary);
}
std::uint32_t Capabilities::secondary_controls() const {
    const std::uint32_t bits = facts.secondary.adjust(wanted(Group::secondary));
    return vpid ? bits : bits & ~secondary::enable_vpid;
}
std::uint32_t Capabilities::exit_controls() const {
    const std::uint32_t perf = perf_global_ctrl ? exit_control::load_perf_global_ctrl : 0;
    const std::uint32_t take = posted ? exit_control::acknowledge_interrupt_on_exit : 0;
    return facts.exit.adjust(wanted(Group::exit) | perf | take);
}
std::uint32_t Capabilities::entry_controls() const {
    const std::uint32_t perf = perf_global_ctrl ? entry_control::load_perf_global_ctrl : 0;
    return facts.entry.adjust((wanted(Group::entry) & ~entry_control::ia32e_mode_guest) | perf);
}

std::uint64_t features(const Capabilities &c) {
    const AllowedControls &can = c.facts.secondary;
    return HWV_FEATURE_NEXT_RIP | HWV_FEATURE_VNMI | (c.vpid ? HWV_FEATURE_FLUSH_BY_ASID : 0) |
           (c.timer ? HWV_FEATURE_CPU_TIMER : 0) | (c.apicv ? HWV_FEATURE_APICV : 0) |
           (c.posted ? HWV_FEATURE_POSTED_INTERRUPTS : 0) |
           (can.has(secondary::use_tsc_scaling) ? HWV_FEATURE_TSC_SCALING : 0) |
           (can.has(secondary::pause_loop_exiting) ? HWV_FEATURE_PAUSE_FILTER : 0);
}

} // namespace hwv::vmx
