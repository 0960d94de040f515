// SPDX-License-Identifier: GPL-2.0-only
// Guest state and the event that goes into it, in every mode: one defect, one rule. Intel SDM vol.
// 3, "Checking and Loading Guest State", "VM-Entry Control Fields".
#include "vmx/checker_states.hpp"

namespace hwv::vmx::test {
namespace {

constexpr std::uint64_t beyond = 1ull << 39; // physical
constexpr std::uint64_t not_canonical = 1ull << 47;
constexpr std::uint32_t valid = 1u << 31, code = 1u << 11;
constexpr std::uint32_t type(unsigned n) { return n << 8; }

void inject(Controls &c, std::uint32_t info, std::uint32_t error = 0, std::uint32_t length = 0) {
    c.entry_interruption = valid | info;
    c.entry_error_code = error;
    c.entry_instruction_length = length;
}

const Spoilt events[] = {
    {Rule::event_reserved, long_mode, SPOIL(inject(c, 1u << 12 | type(3) | 6))},
    {Rule::event_type, long_mode, SPOIL(inject(c, type(1) | 0x20))},
    {Rule::event_type, long_mode,
     SPOIL(inject(c, type(7)), f.primary.may &= ~primary::monitor_trap_flag)},
    {Rule::event_vector, long_mode, SPOIL(inject(c, type(2) | 3))},
    {Rule::event_vector, long_mode, SPOIL(inject(c, type(3) | 32))},
    {Rule::event_vector, long_mode, SPOIL(inject(c, type(7) | 1))},
    {Rule::event_error_code, long_mode, SPOIL(inject(c, type(3) | 13))},
    {Rule::event_error_code, long_mode, SPOIL(inject(c, type(3) | code | 6))},
    {Rule::event_error_code, long_mode, SPOIL(inject(c, code | 0x20), g.rflags |= 0x200)},
    {Rule::event_error_code, real_mode, SPOIL(inject(c, type(3) | code | 13))},
    {Rule::event_error_code_reserved, long_mode, SPOIL(inject(c, type(3) | code | 14, 1u << 16))},
    {Rule::event_length, long_mode, SPOIL(inject(c, type(4) | 0x80, 0, 0))},
    {Rule::event_length, long_mode, SPOIL(inject(c, type(6) | 3, 0, 16))},
    {Rule::none, long_mode, SPOIL(inject(c, type(3) | code | 8))},
    {Rule::none, long_mode, SPOIL(inject(c, type(3) | code | 17, 0xffff))},
    {Rule::none, long_mode, SPOIL(inject(c, type(3) | 13), f.any_error_code = true)},
    {Rule::none, long_mode, SPOIL(inject(c, type(3) | code | 21), f.any_error_code = true)},
    {Rule::event_error_code, long_mode, SPOIL(inject(c, type(3) | code | 21))},
    {Rule::none, long_mode, SPOIL(inject(c, type(3) | 21))},
    {Rule::none, real_mode, SPOIL(inject(c, type(3) | 13))},
    {Rule::none, long_mode, SPOIL(inject(c, type(4) | 0x80, 0, 2))},
    {Rule::event_error_code, long_mode, SPOIL(inject(c, code | 13), g.rflags |= rflags::if_)},
    {Rule::none, long_mode, SPOIL(inject(c, type(4) | 13, 0, 2))},
    {Rule::none, long_mode, SPOIL(inject(c, type(5) | 1, 0, 1))},
    {Rule::none, long_mode, SPOIL(inject(c, type(6) | 3, 0, 15))},
    {Rule::none, long_mode, SPOIL(inject(c, type(4) | 0x80), f.misc |= 1u << 30)},
    {Rule::none, long_mode, SPOIL(inject(c, type(7)))},
    {Rule::none, long_mode, SPOIL(inject(c, type(2) | 2))},
    {Rule::none, long_mode, SPOIL(c.entry_interruption = 0x7fff'ffff)},
};

const Spoilt registers[] = {
    {Rule::cr0_fixed, long_mode, SPOIL(g.cr0 &= ~cr0::ne)},
    {Rule::cr0_fixed, long_mode, SPOIL(g.cr0 |= 1ull << 32)},
    {Rule::paging_without_protection, long_mode, SPOIL(g.cr0 &= ~cr0::pe)},
    {Rule::cr4_fixed, long_mode, SPOIL(g.cr4 &= ~cr4::vmxe)},
    {Rule::cr4_fixed, long_mode, SPOIL(g.cr4 |= 1ull << 15)},
    {Rule::cet_without_wp, long_mode, SPOIL(g.cr4 |= cr4::cet)},
    {Rule::debugctl_reserved, long_mode, SPOIL(g.debugctl = 1u << 3)},
    {Rule::debugctl_reserved, long_mode, SPOIL(g.debugctl = 1u << 16)},
    {Rule::long_mode_without_paging, long_mode, SPOIL(g.cr0 &= ~cr0::pg)},
    {Rule::long_mode_without_pae, long_mode, SPOIL(g.cr4 &= ~cr4::pae)},
    {Rule::pcid_outside_long_mode, pae_mode, SPOIL(g.cr4 |= cr4::pcide)},
    {Rule::cr3_reserved, long_mode, SPOIL(g.cr3 |= beyond)},
    {Rule::cr3_reserved, real_mode, SPOIL(g.cr3 |= 1ull << 63)},
    {Rule::dr7_high, long_mode, SPOIL(g.dr7 |= 1ull << 32)},
    {Rule::sysenter, long_mode, SPOIL(g.sysenter_esp = not_canonical)},
    {Rule::sysenter, long_mode, SPOIL(g.sysenter_eip = not_canonical)},
    {Rule::perf_global_ctrl, long_mode,
     SPOIL(c.entry |= entry_control::load_perf_global_ctrl, g.perf_global_ctrl = 1u << 4)},
    {Rule::pat, long_mode, SPOIL(g.pat = 3ull << 56)},
    {Rule::efer_reserved, long_mode, SPOIL(g.efer |= efer::svme)},
    {Rule::efer_lma, long_mode, SPOIL(g.efer &= ~efer::lma)},
    {Rule::efer_lma, pae_mode, SPOIL(g.efer |= efer::lma | efer::lme)},
    {Rule::efer_lme, long_mode, SPOIL(g.efer &= ~efer::lme)},
    {Rule::efer_lme, pae_mode, SPOIL(g.efer |= efer::lme)},
    {Rule::none, long_mode, SPOIL(g.cr4 |= cr4::cet, g.cr0 |= cr0::wp)},
    {Rule::none, long_mode, SPOIL(g.cr4 |= cr4::pcide)},
    {Rule::none, long_mode, SPOIL(g.debugctl = 0xffc7)},
    {Rule::none, long_mode, SPOIL(g.cr0 |= cr0::cd | cr0::nw)},
    {Rule::none, protected_mode, SPOIL(g.efer |= efer::lme)}, // before paging
    {Rule::none, protected_mode, SPOIL(g.cr0 |= cr0::pg)},    // 32-bit paging
};

const Spoilt tables[] = {
    {Rule::gdtr_base, long_mode, SPOIL(g.gdtr.base = not_canonical)},
    {Rule::gdtr_limit, long_mode, SPOIL(g.gdtr.limit = 0x10000)},
    {Rule::idtr_base, real_mode, SPOIL(g.idtr.base = not_canonical)},
    {Rule::idtr_limit, real_mode, SPOIL(g.idtr.limit = 0x10000)},
    {Rule::rip_high, pae_mode, SPOIL(g.rip |= 1ull << 32)},
    {Rule::rip_high, long_mode, SPOIL(g.segments[HWV_CS].access_rights = 0xc09b)},
    {Rule::rip_canonical, long_mode, SPOIL(g.rip = 1ull << 48)},
    {Rule::rip_canonical, long_mode, SPOIL(g.rip = ~0ull << 49)},
    {Rule::rflags_reserved, long_mode, SPOIL(g.rflags &= ~2ull)},
    {Rule::rflags_reserved, long_mode, SPOIL(g.rflags |= 1u << 15)},
    {Rule::rflags_reserved, long_mode, SPOIL(g.rflags |= 1u << 22)},
    {Rule::rflags_if, long_mode, SPOIL(inject(c, 0x20))},
    {Rule::none, long_mode, SPOIL(g.rip = not_canonical)}, // behind the lower half's end
    {Rule::none, long_mode, SPOIL(g.rip = ~0ull << 48)},
    {Rule::none, long_mode, SPOIL(g.rflags = 0x3d'7fd7)},
    {Rule::none, long_mode, SPOIL(inject(c, 0x20), g.rflags |= rflags::if_)},
};

TEST(VmxChecker, VirtualFlagNeedsProtection) {
    for (Maker make : {real_mode, long_mode}) {
        EntryState s = make(), v = v8086_mode();
        for (unsigned i = HWV_ES; i <= HWV_GS; i++)
            s.guest.segments[i] = v.guest.segments[i];
        s.guest.rip = 0x1000;
        s.guest.rflags |= rflags::vm;
        EXPECT_EQ(check(s, facts()), Rule::rflags_vm);
    }
}

constexpr std::uint32_t sti = interruptibility::sti, mov_ss = interruptibility::mov_ss;

const Spoilt non_registers[] = {
    {Rule::activity, long_mode, SPOIL(g.activity = 4)},
    {Rule::activity, long_mode, SPOIL(g.activity = activity::hlt, f.misc &= ~(1ull << 6))},
    {Rule::activity, long_mode, SPOIL(g.activity = activity::shutdown, f.misc &= ~(1ull << 7))},
    {Rule::activity, long_mode,
     SPOIL(g.activity = activity::wait_for_sipi, f.misc &= ~(1ull << 8))},
    {Rule::inactive_in_shadow, long_mode,
     SPOIL(g.activity = activity::hlt, g.interruptibility = mov_ss)},
    {Rule::inactive_in_shadow, long_mode,
     SPOIL(g.activity = activity::shutdown, g.interruptibility = sti, g.rflags |= 0x200)},
    {Rule::event_while_inactive, long_mode,
     SPOIL(g.activity = activity::hlt, inject(c, type(3) | 6))},
    {Rule::event_while_inactive, long_mode,
     SPOIL(g.activity = activity::hlt, inject(c, type(4) | 1, 0, 2))},
    {Rule::event_while_inactive, long_mode,
     SPOIL(g.activity = activity::shutdown, inject(c, 0x20), g.rflags |= 0x200)},
    {Rule::event_while_inactive, long_mode,
     SPOIL(g.activity = activity::wait_for_sipi, inject(c, type(2) | 2))},
    {Rule::interruptibility_reserved, long_mode, SPOIL(g.interruptibility = 1u << 5)},
    {Rule::interruptibility_reserved, long_mode,
     SPOIL(g.interruptibility = interruptibility::enclave)},
    {Rule::two_shadows, long_mode,
     SPOIL(g.interruptibility = sti | mov_ss, g.rflags |= rflags::if_)},
    {Rule::sti_shadow_without_if, long_mode, SPOIL(g.interruptibility = sti)},
    {Rule::interrupt_in_shadow, long_mode,
     SPOIL(g.interruptibility = sti, g.rflags |= rflags::if_, inject(c, 0x20))},
    {Rule::interrupt_in_shadow, long_mode,
     SPOIL(g.interruptibility = mov_ss, g.rflags |= rflags::if_, inject(c, 0x20))},
    {Rule::nmi_in_shadow, long_mode, SPOIL(g.interruptibility = mov_ss, inject(c, type(2) | 2))},
    {Rule::smi_blocked, long_mode, SPOIL(g.interruptibility = interruptibility::smi)},
    {Rule::nmi_while_blocked, long_mode,
     SPOIL(g.interruptibility = interruptibility::nmi, inject(c, type(2) | 2))},
    {Rule::enclave_in_shadow, long_mode,
     SPOIL(g.interruptibility = interruptibility::enclave | mov_ss, f.sgx = true)},
    {Rule::pending_debug_reserved, long_mode, SPOIL(g.pending_debug = 1u << 4)},
    {Rule::pending_debug_reserved, long_mode, SPOIL(g.pending_debug = 1u << 11)},
    {Rule::pending_debug_reserved, long_mode, SPOIL(g.pending_debug = 1u << 13)},
    {Rule::pending_debug_reserved, long_mode, SPOIL(g.pending_debug = 1u << 17)},
    {Rule::pending_debug_step, long_mode,
     SPOIL(g.interruptibility = mov_ss, g.rflags |= rflags::tf)},
    {Rule::pending_debug_step, long_mode,
     SPOIL(g.interruptibility = mov_ss, g.pending_debug = 1u << 14)},
    {Rule::pending_debug_step, long_mode,
     SPOIL(g.interruptibility = sti; g.rflags |= rflags::tf | rflags::if_; g.debugctl = 1u << 1;
           g.pending_debug = 1u << 14)},
    {Rule::pending_debug_step, long_mode,
     SPOIL(g.activity = activity::hlt, g.rflags |= rflags::tf)},
    {Rule::pending_debug_rtm, long_mode, SPOIL(g.pending_debug = 1u << 16 | 1u << 12)},
    {Rule::pending_debug_rtm, long_mode, SPOIL(g.pending_debug = 1u << 16, f.rtm = true)},
    {Rule::pending_debug_rtm, long_mode,
     SPOIL(g.pending_debug = 1u << 16 | 1u << 12 | 1, f.rtm = true)},
    {Rule::none, long_mode, SPOIL(g.activity = activity::hlt, inject(c, type(3) | 1))},
    {Rule::none, long_mode, SPOIL(g.activity = activity::hlt, inject(c, type(3) | 18))},
    {Rule::none, long_mode, SPOIL(g.activity = activity::hlt, inject(c, type(7)))},
    {Rule::none, long_mode,
     SPOIL(g.activity = activity::hlt, inject(c, 0x20), g.rflags |= rflags::if_)},
    {Rule::none, long_mode, SPOIL(g.activity = activity::shutdown, inject(c, type(2) | 2))},
    {Rule::none, long_mode, SPOIL(g.activity = activity::shutdown, inject(c, type(3) | 18))},
    {Rule::none, long_mode, SPOIL(g.activity = activity::wait_for_sipi)},
    {Rule::none, long_mode, SPOIL(g.interruptibility = interruptibility::nmi)},
    {Rule::nmi_in_shadow, long_mode,
     SPOIL(g.interruptibility = sti, g.rflags |= rflags::if_, inject(c, type(2) | 2))},
    {Rule::none, long_mode, SPOIL(g.pending_debug = 1u << 11, f.bus_lock_debug = true)},
    {Rule::none, long_mode, SPOIL(g.pending_debug = 1u << 16 | 1u << 12, f.rtm = true)},
    {Rule::none, long_mode, SPOIL(g.pending_debug = 1u << 14)}, // no shadow: nobody asks
    {Rule::none, long_mode,
     SPOIL(g.interruptibility = mov_ss; g.rflags |= rflags::tf; g.pending_debug = 1u << 14)},
};

TEST(VmxChecker, OnlyTheKernelHalts) {
    EntryState s = protected_mode();
    s.guest.activity = activity::hlt;
    EXPECT_EQ(check(s, facts()), Rule::none);
    for (unsigned i : {HWV_CS, HWV_SS})
        s.guest.segments[i].access_rights |= access_rights::dpl;
    EXPECT_EQ(check(s, facts()), Rule::halted_with_privilege);
}

TEST(VmxChecker, PageDirectoryPointersOfPaeMode) {
    for (unsigned i = 0; i < 4; i++) {
        for (std::uint64_t bit : {2ul, 4ul, 0x20ul, 0x100ul, beyond}) {
            EntryState s = pae_mode();
            s.guest.pdptes[i] |= bit;
            EXPECT_EQ(check(s, facts()), Rule::pdpte_reserved + i) << bit;
            s.guest.pdptes[i] &= ~1ull; // not present
            EXPECT_EQ(check(s, facts()), Rule::none);
        }
        EntryState s = pae_mode();
        s.guest.pdptes[i] |= 1 << 3 | 1 << 4 | 7 << 9; // caching, free bits
        EXPECT_EQ(check(s, facts()), Rule::none);
    }
}

TEST(VmxChecker, OtherModesHaveNoPageDirectoryPointers) {
    EntryState s = pae_mode();
    s.guest.pdptes[0] = ~0ull;
    s.guest.cr4 &= ~cr4::pae;
    EXPECT_EQ(check(s, facts()), Rule::none);
    s.guest.cr4 |= cr4::pae;
    s.guest.cr0 &= ~cr0::pg;
    EXPECT_EQ(check(s, facts()), Rule::none);
}

TEST(VmxChecker, EveryModeEnters) {
    for (const auto &[name, make] : modes)
        EXPECT_EQ(check(make(), facts()), Rule::none) << name;
}

template <std::size_t N>
void judge_all(const char *what, const Spoilt (&table)[N], std::set<std::uint32_t> &seen) {
    for (std::size_t i = 0; i < N; i++) {
        EXPECT_EQ(judge(table[i]), table[i].rule) << what << ' ' << i;
        seen.insert(static_cast<std::uint32_t>(table[i].rule));
    }
}

TEST(VmxChecker, OneDefectOfTheGuestOneRule) {
    std::set<std::uint32_t> seen = {807, 901}; // the two tests above
    judge_all("events", events, seen);
    judge_all("registers", registers, seen);
    judge_all("tables", tables, seen);
    judge_all("not in registers", non_registers, seen);
    const std::pair<std::uint32_t, std::uint32_t> ranges[] = {
        {303, 308}, {500, 515}, {800, 808}, {900, 914}};
    for (auto [first, last] : ranges)
        for (std::uint32_t rule = first; rule <= last; rule++)
            EXPECT_TRUE(seen.count(rule)) << rule;
}

} // namespace
} // namespace hwv::vmx::test
