// SPDX-License-Identifier: GPL-2.0-only
// control.hpp - which values of control registers, EFER and RFLAGS a CPU accepts: pure rules, one
// place, for guest writes and for the run page alike. Intel SDM "Control Registers"; AMD APM vol. 2
// "System-Control Registers".
#pragma once
#include <cstdint>
#include "core/guest_state.hpp"

namespace hwv {

// What the guest's CPUID promises, as masks of the bits that may be set.
struct ControlLimits {
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    std::uint64_t xcr0 = 0;
    std::uint8_t phys_bits = 36;
};

// CR0 as a MOV to CR0 may set it: reserved bits below 32 are ignored by the CPU and dropped here by
// the caller.
constexpr bool cr0_valid(std::uint64_t v) {
    if (v >> 32) return false;
    if ((v & cr0::pg) && !(v & cr0::pe)) return false;
    return !(v & cr0::nw) || (v & cr0::cd);
}

constexpr bool cr4_valid(std::uint64_t v, const ControlLimits &limits) {
    return !(v & ~limits.cr4);
}

constexpr bool efer_valid(std::uint64_t v, const ControlLimits &limits) {
    return !(v & ~limits.efer);
}

constexpr bool rflags_valid(std::uint64_t v) {
    constexpr std::uint64_t defined = 0x3f7fd7;
    return (v & rflags::fixed) && !(v & ~defined);
}

// Moving to CR0, CR4 and EFER with paging: the combinations that raise #GP. `from` and `to` are
// whole register sets.
struct PagingRegisters {
    std::uint64_t cr0, cr3, cr4, efer;
    bool code_long; // CS.L
};

// The new value of EFER.LMA after a change of CR0.PG; Intel SDM "Initializing IA-32e Mode".
constexpr std::uint64_t efer_after(const PagingRegisters &r) {
    return (r.efer & efer::lme) && (r.cr0 & cr0::pg) ? r.efer | efer::lma : r.efer & ~efer::lma;
}

constexpr bool cr0_change_allowed(const PagingRegisters &now, std::uint64_t to) {
    if (!cr0_valid(to)) return false;
    const bool on = (to & cr0::pg) && !(now.cr0 & cr0::pg),
               off = !(to & cr0::pg) && (now.cr0 & cr0::pg);
    if (on && (now.efer & efer::lme) && (!(now.cr4 & cr4::pae) || now.code_long)) return false;
    if (off && (now.cr4 & cr4::pcide)) return false;
    return !(off && long_mode(now.efer) && now.code_long); // leaving long mode from 64-bit code
}

constexpr bool cr4_change_allowed(const PagingRegisters &now, std::uint64_t to,
                                  const ControlLimits &limits) {
    if (!cr4_valid(to, limits)) return false;
    const bool lma = long_mode(now.efer);
    if (lma && (!(to & cr4::pae) || ((to ^ now.cr4) & cr4::la57))) return false;
    const bool pcid_on = (to & cr4::pcide) && !(now.cr4 & cr4::pcide);
    return !pcid_on || (lma && !(now.cr3 & 0xfff));
}

constexpr bool efer_change_allowed(const PagingRegisters &now, std::uint64_t to,
                                   const ControlLimits &limits) {
    if (!efer_valid(to, limits)) return false;
    return !((now.cr0 & cr0::pg) && ((to ^ now.efer) & efer::lme));
}

// Intel SDM "PDPTE Registers": PAE paging keeps four entries of the guest's tables in registers.
// These changes of CR0 and CR4 load them, as does every MOV to CR3.
constexpr bool pae_paging(const PagingRegisters &r) {
    return (r.cr0 & cr0::pg) && (r.cr4 & cr4::pae) && !long_mode(r.efer);
}
constexpr bool loads_page_directories(const PagingRegisters &from, const PagingRegisters &to) {
    return pae_paging(to) && (((from.cr0 ^ to.cr0) & (cr0::pg | cr0::cd | cr0::nw)) ||
                              ((from.cr4 ^ to.cr4) & (cr4::pae | cr4::pge | cr4::pse | cr4::smep)));
}
constexpr bool page_directory_valid(std::uint64_t entry, const ControlLimits &limits) {
    const std::uint64_t reserved = ~((1ull << limits.phys_bits) - 1) | 0x1e6;
    return !(entry & 1) || !(entry & reserved);
}

static_assert(!cr0_valid(cr0::pg) && cr0_valid(cr0::pg | cr0::pe) && !cr0_valid(cr0::nw));
static_assert(rflags_valid(2) && !rflags_valid(0) && !rflags_valid(2 | 1 << 3));
static_assert(!cr0_change_allowed({cr0::pe, 0, 0, efer::lme, false}, cr0::pe | cr0::pg));
static_assert(cr0_change_allowed({cr0::pe, 0, cr4::pae, efer::lme, false}, cr0::pe | cr0::pg));

} // namespace hwv
