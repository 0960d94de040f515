// SPDX-License-Identifier: GPL-2.0-only
// load, put and enter: what must be in the CPU when, and back again. hardware.hpp watches TLB tags
// and clean bits.
#include "svm/machine.hpp"

using namespace hwv;
using namespace hwv::svm;

namespace {

struct SvmSwitch : SvmMachine {};

// ---- address spaces and cached VMCBs ----

TEST_F(SvmSwitch, NoGuestRunsOnAnothersTranslations) {
    power();
    Guest guests[6]; // more than ASIDs
    for (int round = 0; round < 5; round++)
        for (std::uint32_t cpu = 0; cpu < 3; cpu++)
            for (unsigned i = 0; i < 6; i++) {
                if ((i + round) % 3 == cpu) continue;
                guests[i].load(cpu);
                guests[i].run(ExitCode::intr);
                guests[i].run(ExitCode::cpuid);
                guests[i].backend.put();
            }
}

TEST_F(SvmSwitch, StayingOnACpuKeepsTheAsid) {
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    const std::uint32_t asid = guest.control().asid;
    for (int i = 0; i < 10; i++) {
        guest.backend.put();
        guest.load(0);
        guest.run(ExitCode::intr, [&](Vmcb &v) {
            EXPECT_EQ(v.control.asid, asid);
            EXPECT_EQ(v.control.tlb_control, TlbControl::keep);
            EXPECT_EQ(v.control.clean, clean::all);
        });
    }
}

TEST_F(SvmSwitch, MovingBackDoesNotRevive) {
    power();
    Guest guest;
    for (std::uint32_t cpu : {0u, 1u, 0u, 1u}) {
        guest.load(cpu);
        // translations from before may lack what was unmapped meanwhile: never the old number
        // without a flush
        guest.run(ExitCode::intr, [&](Vmcb &v) {
            const bool fresh = hardware.here().tlb[v.control.asid].size() == 1;
            EXPECT_TRUE(fresh);
            EXPECT_EQ(v.control.clean, 0u);
        });
        guest.backend.put();
    }
}

TEST_F(SvmSwitch, AnotherGuestsFlushOfAllTakesEveryAsid) {
    power();
    Guest first, others[3];
    first.load(0);
    first.run(ExitCode::intr);
    const Asid before{2, first.control().asid};
    first.backend.put();
    for (Guest &g : others) { // ASIDs 2, 3 and, after a flush, 1
        g.load(0);
        g.run(ExitCode::intr);
        g.backend.put();
    }
    EXPECT_FALSE(Cpus::at(0).owns(before));
    first.load(0);
    first.run(ExitCode::intr);
    EXPECT_NE(first.control().asid, before.number);
}

TEST_F(SvmSwitch, FlushByAsidFlushesAtTheNextEntryOnce) {
    features(feature::flush_by_asid);
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    guest.backend.flush_translations();
    guest.run(ExitCode::intr,
              [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::flush_asid); });
    guest.run(ExitCode::intr, [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::keep); });
}

TEST_F(SvmSwitch, AFlushDoesNotWeakenTheFlushOfAll) {
    features(feature::flush_by_asid);
    power();
    Guest guest;
    guest.load(0); // the first ASID of this CPU: flush_all
    guest.backend.flush_translations();
    guest.run(ExitCode::intr,
              [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::flush_all); });
}

TEST_F(SvmSwitch, WithoutFlushByAsidAFlushIsANewNumber) {
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    const std::uint32_t before = guest.control().asid;
    guest.backend.flush_translations();
    guest.run(ExitCode::intr, [&](Vmcb &v) { EXPECT_NE(v.control.asid, before); });
}

TEST_F(SvmSwitch, AFlushWhileNotLoadedIsNotForgotten) {
    features(feature::flush_by_asid);
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    const std::uint32_t before = guest.control().asid;
    guest.backend.put();
    guest.backend.flush_translations();
    guest.load(0);
    guest.run(ExitCode::intr, [&](Vmcb &v) {
        EXPECT_TRUE(v.control.asid != before || v.control.tlb_control != TlbControl::keep);
    });
}

TEST_F(SvmSwitch, AFailedEntryKeepsTheFlush) {
    features(feature::flush_by_asid);
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    guest.backend.flush_translations();
    hardware.refuse_entry = true;
    EXPECT_EQ(guest.enter().code, number(ExitCode::not_entered));
    hardware.refuse_entry = false;
    guest.run(ExitCode::intr,
              [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::flush_asid); });
}

// ---- what belongs to the host ----

TEST_F(SvmSwitch, IbpbWhenAnotherVcpuComesToTheCpu) {
    power();
    Guest guest;
    guest.load(0, true);
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 0u); // not wanted by the host
    guest.backend.put();
    host.facts.speculation = HWV_SPEC_IBPB;
    guest.load(0, true);
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
    guest.backend.put();
    guest.load(0, false);
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
}

TEST_F(SvmSwitch, TscAuxIsTheGuestsWhileLoadedAndWhatItWasAfter) {
    power();
    Guest guest;
    ASSERT_TRUE(guest.backend.set_msr(msr::tsc_aux, 0x77));
    for (std::uint32_t cpu : {0u, 1u}) {
        hardware.cpus[cpu].msrs[msr::tsc_aux] =
            0x9000 + cpu; // another hypervisor's guest value, not a constant
        guest.load(cpu);
        EXPECT_EQ(hardware.here().msrs[msr::tsc_aux], 0x77u);
        guest.backend.put();
        EXPECT_EQ(hardware.here().msrs[msr::tsc_aux], 0x9000u + cpu);
    }
}

TEST_F(SvmSwitch, TscAuxSetWhileLoadedTakesEffectAtOnce) {
    power();
    Guest guest;
    guest.load(0);
    ASSERT_TRUE(guest.backend.set_msr(msr::tsc_aux, 5));
    EXPECT_EQ(hardware.here().msrs[msr::tsc_aux], 5u);
    EXPECT_EQ(guest.backend.msr(msr::tsc_aux), 5u);
    guest.backend.put();
    EXPECT_EQ(hardware.here().msrs[msr::tsc_aux], 0x1111u);
}

TEST_F(SvmSwitch, EqualTscAuxIsNotWritten) {
    power();
    Guest guest;
    ASSERT_TRUE(guest.backend.set_msr(msr::tsc_aux, 0x1111));
    guest.load(0);
    guest.backend.put();
    EXPECT_EQ(hardware.writes_of(msr::tsc_aux), 0u);
}

TEST_F(SvmSwitch, Xcr0IsSwappedAroundTheEntryOnlyWhereItDiffers) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_xcr0(3);
    guest.run(ExitCode::intr); // without CR4.OSXSAVE the guest cannot tell
    EXPECT_TRUE(hardware.xcr0_writes.empty());
    guest.backend.set_cr4(cr4::osxsave);
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_EQ(hardware.here().xcr0, 3u); });
    EXPECT_EQ(hardware.here().xcr0, 7u);
    guest.backend.set_xcr0(7);
    hardware.xcr0_writes.clear();
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_EQ(hardware.here().xcr0, 7u); });
    EXPECT_TRUE(hardware.xcr0_writes.empty());
}

TEST_F(SvmSwitch, Xcr0IsBackAfterAFailedEntry) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_cr4(cr4::osxsave);
    guest.backend.set_xcr0(1);
    hardware.refuse_entry = true;
    guest.enter();
    EXPECT_EQ(hardware.here().xcr0, 7u);
    hardware.refuse_entry = false;
    guest.run(ExitCode::invalid);
    EXPECT_EQ(hardware.here().xcr0, 7u);
}

TEST_F(SvmSwitch, TheHostsHalfIsStoredAtLoadAndWhenAnLdtIsInUse) {
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    guest.run(ExitCode::intr);
    EXPECT_EQ(hardware.vmsaves.size(), 1u);
    hardware.here().ldt = 0x48; // another thread's modify_ldt(), by an IPI
    guest.run(ExitCode::intr);
    EXPECT_EQ(hardware.vmsaves.size(), 2u);
    guest.run(ExitCode::intr); // the same selector may stand for another table
    EXPECT_EQ(hardware.vmsaves.size(), 3u);
    hardware.here().ldt = 0;
    guest.run(ExitCode::intr);
    EXPECT_EQ(hardware.vmsaves.size(), 4u);
    guest.run(ExitCode::intr);
    EXPECT_EQ(hardware.vmsaves.size(), 4u);
}

TEST_F(SvmSwitch, SpecCtrlIsHandedToTheWorldSwitch) {
    host.facts.speculation = HWV_SPEC_CTRL;
    power();
    Guest guest;
    guest.load(0);
    ASSERT_TRUE(guest.backend.set_msr(msr::spec_ctrl, 4));
    guest.run(ExitCode::intr);
    EXPECT_EQ(hardware.spec_ctrl, 4u);
    EXPECT_EQ(guest.backend.msr(msr::spec_ctrl), 4u);
}

TEST_F(SvmSwitch, VirtSpecCtrlIsTheGuestsOnlyWhileItRuns) {
    power();
    Guest guest;
    EXPECT_FALSE(guest.backend.set_msr(msr::virt_spec_ctrl, 4)); // the host cannot switch it
    host.facts.speculation = HWV_SPEC_VIRT_SSBD;
    guest.load(0);
    ASSERT_TRUE(guest.backend.set_msr(msr::virt_spec_ctrl, 4));
    EXPECT_EQ(guest.backend.msr(msr::virt_spec_ctrl), 4u);
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_TRUE(host.ssbd); });
    EXPECT_FALSE(host.ssbd);
    ASSERT_TRUE(guest.backend.set_msr(msr::virt_spec_ctrl, 0));
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_FALSE(host.ssbd); });
    ASSERT_TRUE(guest.backend.set_msr(msr::virt_spec_ctrl, 4));
    guest.backend.reset();
    EXPECT_EQ(guest.backend.msr(msr::virt_spec_ctrl), 0u);
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_FALSE(host.ssbd); });
}

TEST_F(SvmSwitch, TimeAndRcuAccountingBracketsTheEntry) {
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_EQ(host.guest_depth, 1); });
    EXPECT_EQ(host.entries, 1u);
}

TEST_F(SvmSwitch, ACpuOutOfServiceIsNotEntered) {
    power();
    Guest guest;
    Cpus::disable();
    guest.load(0);
    const RawExit raw = guest.enter();
    EXPECT_EQ(raw.code, number(ExitCode::not_entered));
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_NONE);
    EXPECT_EQ(host.entries, 0u);
    guest.backend.put();
    EXPECT_TRUE(hardware.msr_writes.size() >= 2 && hardware.writes_of(msr::tsc_aux) == 0);
}

TEST_F(SvmSwitch, ACpuThatLostSvmIsNotEntered) {
    power();
    Guest guest;
    hardware.here().msrs[msr::efer] &= ~efer::svme; // behind hwv's back
    guest.load(0);
    EXPECT_EQ(guest.enter().code, number(ExitCode::not_entered));
    guest.backend.put();
    hardware.here().msrs[msr::efer] |= efer::svme;
}

// ---- debug registers ----

TEST_F(SvmSwitch, DebugRegistersBelongToTheHostUntilGranted) {
    power();
    Guest guest;
    guest.load(0);
    for (unsigned n = 0; n < 4; n++)
        guest.backend.set_debug(n, 0x1000 + n);
    EXPECT_TRUE(guest.intercepts(ExitCode::dr_read) && guest.intercepts(ExitCode::dr_write + 7));
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_EQ(hardware.here().dr[0], 0u); });
    guest.backend.grant_debug();
    EXPECT_FALSE(guest.intercepts(ExitCode::dr_read) || guest.intercepts(ExitCode::dr_write + 7));
    guest.run(ExitCode::intr, [&](Vmcb &) {
        for (unsigned n = 0; n < 4; n++)
            EXPECT_EQ(hardware.here().dr[n], 0x1000u + n);
        hardware.here().dr[2] = 0xbeef; // the guest's MOV
    });
    EXPECT_EQ(guest.backend.debug(2), 0xbeefu);
    guest.backend.put();
    EXPECT_TRUE(guest.intercepts(ExitCode::dr_read));
}

TEST_F(SvmSwitch, EnabledBreakpointsStayRealWithoutAGrant) {
    power();
    Guest guest;
    guest.backend.set_debug(0, 0x4000);
    guest.backend.set_debug(7, 0x401);
    guest.load(0);
    EXPECT_TRUE(guest.intercepts(ExitCode::dr_read));
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_EQ(hardware.here().dr[0], 0x4000u); });
    guest.backend.set_debug(7, 0x400);
    hardware.here().dr[0] = 0;
    guest.run(ExitCode::intr, [&](Vmcb &) { EXPECT_EQ(hardware.here().dr[0], 0u); });
}

TEST_F(SvmSwitch, TheHostsBreakpointsAreBackAfterTheExit) {
    power();
    Guest guest;
    guest.backend.set_debug(0, 0x4000);
    guest.load(0);
    const std::uint64_t dr7 = 0x403;
    for (bool granted : {false, true}) {
        for (unsigned n = 0; n < 4; n++)
            hardware.here().dr[n] = 0x8000 + n;
        hardware.here().dr[7] = dr7;
        if (granted) guest.backend.grant_debug();
        guest.run(ExitCode::intr,
                  [&](Vmcb &) { EXPECT_EQ(hardware.here().dr[0], granted ? 0x4000u : 0x8000u); });
        EXPECT_EQ(hardware.here().dr[7], dr7);
        for (unsigned n = 0; n < 4; n++)
            EXPECT_EQ(hardware.here().dr[n], 0x8000u + n);
        EXPECT_EQ(guest.backend.debug(0), 0x4000u);
    }
}

TEST_F(SvmSwitch, TheGuestsDr6DoesNotStayInTheCpu) {
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr, [](Vmcb &v) { v.save.dr6 = 0xffff'4ff0; });
    EXPECT_EQ(hardware.here().dr[6], 0xffff'0ff0u);
    EXPECT_EQ(guest.backend.debug(6), 0xffff'4ff0u);
}

// ---- exits ----

TEST_F(SvmSwitch, RegistersGoInAndComeOut) {
    power();
    Guest guest;
    guest.load(0);
    guest.gprs[HWV_RAX] = 0xa;
    guest.gprs[HWV_RSP] = 0xb;
    guest.run(ExitCode::cpuid, [](Vmcb &v) {
        EXPECT_EQ(v.save.rax, 0xau);
        EXPECT_EQ(v.save.rsp, 0xbu);
        v.save.rax = 0xc;
        v.save.rsp = 0xd;
    });
    EXPECT_EQ(guest.gprs[HWV_RAX], 0xcu);
    EXPECT_EQ(guest.gprs[HWV_RSP], 0xdu);
}

TEST_F(SvmSwitch, TheRawExitIsWhatTheVmcbSays) {
    features(feature::nrips | feature::decode_assists);
    power();
    Guest guest;
    guest.load(0);
    const RawExit raw = guest.run(ExitCode::npf, [](Vmcb &v) {
        v.control.exit_info1 = 6;
        v.control.exit_info2 = 0xfee0'0300;
        v.control.exit_int_info = 0x20;
        v.control.next_rip = 0x1003;
        v.control.insn_count = 3;
        v.save.rip = 0x1000;
    });
    EXPECT_EQ(raw.code, 0x400u);
    EXPECT_EQ(raw.info1, 6u);
    EXPECT_EQ(raw.info2, 0xfee0'0300u);
    EXPECT_EQ(raw.int_info, 0x20u);
    EXPECT_EQ(raw.rip, 0x1000u);
    EXPECT_EQ(raw.next_rip, 0x1003u);
    EXPECT_TRUE(raw.decode_assists);
    EXPECT_FALSE(raw.own_event);
    EXPECT_EQ(raw.rule, 0u);
    ASSERT_NE(guest.backend.instruction_bytes(raw), nullptr);
    EXPECT_EQ(guest.backend.instruction_bytes(raw)[0], 3);
}

TEST_F(SvmSwitch, WhatTheCpuDoesNotOfferIsNotRead) {
    power();
    Guest guest;
    guest.load(0);
    const RawExit raw = guest.run(ExitCode::npf, [](Vmcb &v) {
        v.control.next_rip = 0x1003;
        v.control.insn_count = 3;
    });
    EXPECT_EQ(raw.next_rip, 0u);
    EXPECT_EQ(guest.backend.instruction_bytes(raw), nullptr);
}

TEST_F(SvmSwitch, AnInvalidStateIsRefusedBeforeTheEntryByItsRule) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_cr4(1ull << 40);
    const RawExit raw = guest.enter();
    EXPECT_EQ(host.entries, 0u);
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_INVALID_STATE);
    EXPECT_EQ(decode(raw).raw_info[0], static_cast<std::uint64_t>(Rule::cr4_reserved_bits));
    guest.backend.set_cr4(0);
    EXPECT_EQ(guest.enter().code, number(ExitCode::intr));
}

} // namespace
