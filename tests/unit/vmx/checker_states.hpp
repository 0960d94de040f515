// SPDX-License-Identifier: GPL-2.0-only
// checker_states.hpp - states that a VM entry takes, one for each mode of the guest, and how a test
// spoils them.
#pragma once
#include <gtest/gtest.h>
#include <ostream>
#include <set>
#include <vector>
#include "vmx/checker.hpp"

namespace hwv::vmx {

inline void PrintTo(Rule rule, std::ostream *out) { *out << static_cast<std::uint32_t>(rule); }

} // namespace hwv::vmx

namespace hwv::vmx::test {

// A CPU of about 2019.
inline CheckerFacts facts() {
    return {.cr0_fixed0 = 0x8000'0021,
            .cr0_fixed1 = 0xffff'ffff,
            .cr4_fixed0 = cr4::vmxe,
            .cr4_fixed1 = 0xff'ffff & ~(1ull << 15 | 1ull << 19),
            .physical_bits = 39,
            .linear_bits = 48,
            .pin = {0x16, 0xff},
            .primary = {0x0400'6172, 0xfffb'fffe},
            .secondary = {0, 0x0213'7fff}, // no SGX
            .exit = {0x0003'6dfb, 0x7fff'ffff},
            .entry = {0x0000'11fb, 0x007f'ffff},
            .ept_capabilities = 0x0f01'0633'4141,
            .misc = 0x2004'01e5,
            .perf_global_ctrl = 0x7'0000'000f,
            .any_error_code = false,
            .bus_lock_debug = false,
            .rtm = false,
            .sgx = false};
}

inline Controls controls() {
    return {.pin = 0x16 | pin::external_interrupt_exiting | pin::nmi_exiting | pin::virtual_nmis,
            .primary = 0x0400'6172 | primary::hlt_exiting | primary::mwait_exiting |
                       primary::rdpmc_exiting | primary::monitor_exiting |
                       primary::use_msr_bitmaps | primary::secondary_controls |
                       primary::use_io_bitmaps | primary::cr8_load_exiting |
                       primary::cr8_store_exiting,
            .secondary = secondary::enable_ept | secondary::unrestricted_guest |
                         secondary::wbinvd_exiting | secondary::enable_vpid,
            .exit = 0x0003'6dfb | exit_control::host_address_space_size | exit_control::save_efer |
                    exit_control::load_efer | exit_control::save_pat | exit_control::load_pat,
            .entry = 0x0000'11fb | entry_control::load_debug_controls | entry_control::load_efer |
                     entry_control::load_pat,
            .exception_bitmap = 1u << 1 | 1u << 17 | 1u << 18,
            .cr3_target_count = 0,
            .tpr_threshold = 0,
            .vpid = 1,
            .posted_vector = 0,
            .virtual_tpr = 0,
            .cr0_mask = ~0ull,
            .cr4_mask = ~0ull,
            .io_bitmap_a = 0x1000,
            .io_bitmap_b = 0x2000,
            .msr_bitmap = 0x3000,
            .ept_pointer = 0x4000 | 3 << 3 | 6};
}

inline HostState host() {
    return {.cr0 = 0x8005'0033,
            .cr3 = 0x5005,
            .cr4 = cr4::pae | cr4::mce | cr4::vmxe | cr4::pge | cr4::pcide,
            .efer = efer::sce | efer::lme | efer::lma | efer::nxe,
            .pat = 0x0407'0105'0007'0106,
            .perf_global_ctrl = 0,
            .es = 0,
            .cs = 0x10,
            .ss = 0x18,
            .ds = 0,
            .fs = 0,
            .gs = 0,
            .tr = 0x40,
            .fs_base = 0x7fff'0000'0000,
            .gs_base = 0xffff'8880'0000'0000,
            .tr_base = 0xffff'fe00'0000'3000,
            .gdtr_base = 0xffff'fe00'0000'1000,
            .idtr_base = 0xffff'fe00'0000'0000,
            .sysenter_esp = 0xffff'fe00'0000'3200,
            .sysenter_eip = 0xffff'ffff'8200'0000,
            .rip = 0xffff'ffff'c000'0000};
}

// What all modes share; segments are flat.
inline EntryState common() {
    EntryState s{.controls = controls(), .host = host(), .guest = {}};
    GuestState &g = s.guest;
    g.cr0 = cr0::et | cr0::ne;
    g.cr4 = cr4::vmxe | cr4::mce;
    g.pat = 0x0007'0406'0007'0406;
    g.dr7 = 0x400;
    for (unsigned i = HWV_ES; i <= HWV_GS; i++)
        g.segments[i] = {.selector = 0x10, .access_rights = 0xc093, .limit = ~0u, .base = 0};
    g.segments[HWV_CS] = {.selector = 8, .access_rights = 0xc09b, .limit = ~0u, .base = 0};
    g.segments[HWV_LDTR] = {.selector = 0x20, .access_rights = 0x82, .limit = 0x67, .base = 0x2000};
    g.segments[HWV_TR] = {.selector = 0x28, .access_rights = 0x8b, .limit = 0x67, .base = 0x3000};
    g.gdtr = {0x4000, 0x7f};
    g.idtr = {0x5000, 0xfff};
    g.rip = 0x1000;
    g.rflags = rflags::fixed;
    g.vmcs_link = ~0ull;
    return s;
}

// As after reset.
inline EntryState real_mode() {
    EntryState s = common();
    GuestState &g = s.guest;
    g.cr0 |= cr0::cd | cr0::nw;
    for (unsigned i = HWV_ES; i <= HWV_GS; i++)
        g.segments[i] = {.selector = 0, .access_rights = 0x93, .limit = 0xffff, .base = 0};
    g.segments[HWV_CS] = {
        .selector = 0xf000, .access_rights = 0x9b, .limit = 0xffff, .base = 0xffff'0000};
    g.segments[HWV_TR].access_rights = 0x83; // 16 bits
    g.idtr = {0, 0x3ff};
    g.rip = 0xfff0;
    return s;
}

inline EntryState protected_mode() {
    EntryState s = common();
    s.guest.cr0 |= cr0::pe;
    return s;
}

inline EntryState pae_mode() {
    EntryState s = protected_mode();
    s.guest.cr0 |= cr0::pg;
    s.guest.cr4 |= cr4::pae;
    s.guest.cr3 = 0x9fe0;
    s.guest.efer = efer::nxe;
    for (unsigned i = 0; i < 4; i++)
        s.guest.pdptes[i] = 0xa001 + 0x1000 * i;
    return s;
}

inline EntryState long_mode() {
    EntryState s = pae_mode();
    GuestState &g = s.guest;
    s.controls.entry |= entry_control::ia32e_mode_guest;
    g.efer |= efer::lme | efer::lma | efer::sce;
    g.segments[HWV_CS].access_rights = 0xa09b;
    g.segments[HWV_GS].base = 0xffff'8880'0000'0000;
    g.rip = 0xffff'ffff'8100'0000;
    for (std::uint64_t &entry : g.pdptes)
        entry = ~0ull; // nobody looks at them
    return s;
}

inline EntryState v8086_mode() {
    EntryState s = protected_mode();
    s.guest.rflags |= rflags::vm;
    for (unsigned i = HWV_ES; i <= HWV_GS; i++)
        s.guest.segments[i] = {
            .selector = 0x1234, .access_rights = 0xf3, .limit = 0xffff, .base = 0x12340};
    return s;
}

using Maker = EntryState (*)();
inline const std::pair<const char *, Maker> modes[] = {{"real", real_mode},
                                                       {"protected", protected_mode},
                                                       {"PAE", pae_mode},
                                                       {"64-bit", long_mode},
                                                       {"virtual-8086", v8086_mode}};

// One thing wrong with a state that is right otherwise.
struct Spoilt {
    Rule rule;
    Maker from;
    void (*how)(Controls &, HostState &, GuestState &, CheckerFacts &);
};

#define SPOIL(...)                                                                                 \
    []([[maybe_unused]] Controls &c, [[maybe_unused]] HostState &h,                                \
       [[maybe_unused]] GuestState &g, [[maybe_unused]] CheckerFacts &f) { __VA_ARGS__; }

inline Rule judge(const Spoilt &spoilt) {
    EntryState s = spoilt.from();
    CheckerFacts f = facts();
    spoilt.how(s.controls, s.host, s.guest, f);
    return check(s, f);
}

} // namespace hwv::vmx::test
