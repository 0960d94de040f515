// SPDX-License-Identifier: GPL-2.0-only
// checker.hpp - would VM entry be refused, and does it keep the host safe? Pure. The CPU leaves the
// guest as it was when it refuses it, without saying why: check() then names the rule.
// check_controls() is for whenever control fields change, since the CPU knows nothing of hwv's own
// rules.
#pragma once
#include "core/exit.hpp"
#include "core/guest_state.hpp"
#include "vmx/controls.hpp"
#include "vmx/rule.hpp"

namespace hwv::vmx {

struct Controls {
    std::uint32_t pin, primary, secondary, exit, entry;
    std::uint32_t exception_bitmap;
    std::uint32_t cr3_target_count;
    std::uint32_t tpr_threshold;
    std::uint16_t vpid;
    std::uint16_t posted_vector;
    std::uint8_t virtual_tpr; // in the virtual-APIC page
    std::uint64_t cr0_mask, cr4_mask;
    std::uint64_t io_bitmap_a, io_bitmap_b, msr_bitmap;
    std::uint64_t virtual_apic, apic_access, posted_descriptor;
    std::uint64_t ept_pointer, pml_address, tsc_multiplier;
    std::uint64_t exit_msr_store, exit_msr_load, entry_msr_load;
    std::uint32_t exit_msr_store_count, exit_msr_load_count, entry_msr_load_count;
    std::uint32_t entry_interruption, entry_error_code, entry_instruction_length;
};

struct HostState {
    std::uint64_t cr0, cr3, cr4, efer, pat, perf_global_ctrl;
    std::uint16_t es, cs, ss, ds, fs, gs, tr;
    std::uint64_t fs_base, gs_base, tr_base, gdtr_base, idtr_base;
    std::uint64_t sysenter_esp, sysenter_eip, rip;
};

struct SegmentState {
    std::uint16_t selector;
    std::uint32_t access_rights;
    std::uint32_t limit;
    std::uint64_t base;

    constexpr bool usable() const { return !(access_rights & access_rights::unusable); }
    constexpr unsigned type() const { return access_rights & access_rights::type; }
    constexpr unsigned dpl() const {
        return (access_rights & access_rights::dpl) >> access_rights::dpl_shift;
    }
};

struct TableState {
    std::uint64_t base;
    std::uint32_t limit;
};

struct GuestState {
    std::uint64_t cr0, cr3, cr4, efer, pat, perf_global_ctrl, dr7, debugctl;
    std::uint64_t sysenter_esp, sysenter_eip;
    SegmentState segments[HWV_SEGMENTS];
    TableState gdtr, idtr;
    std::uint64_t rip, rflags;
    std::uint32_t activity, interruptibility;
    std::uint64_t pending_debug, vmcs_link;
    std::uint64_t pdptes[4];
};

struct EntryState {
    Controls controls;
    HostState host;
    GuestState guest;
};

// A capability MSR: bits that must be 1, and bits that may be. SDM "Reserved Controls and Default
// Settings".
struct AllowedControls {
    std::uint32_t must, may;

    constexpr bool operator()(std::uint32_t value) const {
        return !(must & ~value) && !(value & ~may);
    }
    constexpr bool has(std::uint32_t bits) const { return (may & bits) == bits; }
    constexpr std::uint32_t adjust(std::uint32_t wanted) const { return (wanted & may) | must; }
};

struct CheckerFacts {
    std::uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    unsigned physical_bits, linear_bits;
    AllowedControls pin, primary, secondary, exit, entry;
    std::uint64_t ept_capabilities; // MSR IA32_VMX_EPT_VPID_CAP
    std::uint64_t misc;             // MSR IA32_VMX_MISC
    std::uint64_t perf_global_ctrl; // bits that this CPU has; CPUID leaf 0AH
    bool any_error_code;            // MSR IA32_VMX_BASIC bit 56: not bound to vectors
    bool bus_lock_debug, rtm, sgx;  // CPUID
};

// Without these a guest reaches the host, or stops it.
inline constexpr std::uint32_t required_pin =
    pin::external_interrupt_exiting | pin::nmi_exiting | pin::virtual_nmis;
inline constexpr std::uint32_t required_primary =
    primary::hlt_exiting | primary::mwait_exiting | primary::rdpmc_exiting |
    primary::monitor_exiting | primary::use_msr_bitmaps | primary::secondary_controls;
inline constexpr std::uint32_t required_secondary =
    secondary::enable_ept | secondary::unrestricted_guest | secondary::wbinvd_exiting;
inline constexpr std::uint32_t required_exit =
    exit_control::host_address_space_size | exit_control::load_efer | exit_control::load_pat;
inline constexpr std::uint32_t required_entry =
    entry_control::load_debug_controls | entry_control::load_efer | entry_control::load_pat;
// A guest that loops in delivering #DB or #AC never lets go of the CPU; a machine check is the
// host's.
inline constexpr std::uint32_t required_exceptions =
    1u << vector::debug | 1u << vector::alignment_check | 1u << vector::machine_check;

// hwv's own rules, then the CPU's for everything but the guest's state.
Rule check_controls(const Controls &controls, const CheckerFacts &facts);
Rule check_host(const HostState &host, const Controls &controls, const CheckerFacts &facts);
// What check_controls() let through.
Rule check_guest(const GuestState &guest, const Controls &controls, const CheckerFacts &facts);

Rule check(const EntryState &state, const CheckerFacts &facts);

// IA32_PAT: each of the eight bytes is a memory type.
constexpr bool pat_valid(std::uint64_t pat) {
    for (unsigned i = 0; i < 8; i++) {
        const unsigned type = pat >> i * 8 & 0xff;
        if (type > 7 || type == 2 || type == 3) return false;
    }
    return true;
}

// Bits of EFER that an Intel CPU has.
inline constexpr std::uint64_t efer_defined = efer::sce | efer::lme | efer::lma | efer::nxe;

} // namespace hwv::vmx
