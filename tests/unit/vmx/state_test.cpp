// SPDX-License-Identifier: GPL-2.0-only
// Registers as the core sees them and as the CPU has them. The fake CPU refuses what the manual
// refuses.
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

struct VmxState : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        power();
        guest.emplace();
        guest->load(0);
        guest->run();
    }
    void TearDown() override {
        guest->put();
        guest.reset();
        VmxMachine::TearDown();
    }
    Backend &backend() { return guest->backend; }
    template <typename F>
    std::uint64_t vmcs(F f) {
        return (*guest)[f];
    }
    // The guest changes a field, as its instructions do without an exit.
    template <typename F>
    void guest_sets(F f, std::uint64_t v) {
        guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &vmcs) { vmcs[f] = v; });
    }
    void enter_long_mode() {
        Backend &b = backend();
        b.set_efer(efer::lme | efer::lma | efer::nxe);
        b.set_cr4(cr4::pae);
        b.set_cr0(cr0::pe | cr0::pg | cr0::ne);
        b.set_segment(HWV_CS, {0, ~0u, 0x10, 0x29b | segment::g});
    }
    std::optional<Guest> guest;
};

TEST_F(VmxState, AfterReset) {
    Backend &b = backend();
    b.set_tpr(5);
    b.reset();
    EXPECT_EQ(b.cr0(), 0x6000'0010u);
    EXPECT_EQ(b.cr2() | b.cr3() | b.cr4() | b.efer(), 0u);
    EXPECT_EQ(b.rip(), 0xfff0u);
    EXPECT_EQ(b.rflags(), 2u);
    EXPECT_EQ(b.tpr(), 0u);
    EXPECT_EQ(b.debug(6), 0xffff'0ff0u);
    EXPECT_EQ(b.debug(7), 0x400u);
    EXPECT_EQ(b.segment(HWV_CS).base, 0xffff'0000u);
    EXPECT_EQ(b.segment(HWV_CS).selector, 0xf000);
    EXPECT_EQ(b.segment(HWV_CS).attributes, 0x9b);
    EXPECT_EQ(b.segment(HWV_DS).attributes, 0x93);
    EXPECT_EQ(b.segment(HWV_LDTR).attributes, 0x82);
    EXPECT_EQ(b.segment(HWV_TR).attributes, 0x8b);
    EXPECT_EQ(b.gdtr().limit, 0xffffu);
    EXPECT_EQ(b.idtr().limit, 0xffffu);
    EXPECT_EQ(b.cpl(), 0u);
    EXPECT_EQ(b.shadow(), 0u);
    EXPECT_FALSE(b.nmi_blocked() || b.injecting());
    EXPECT_EQ(b.msr(msr::pat), 0x0007'0406'0007'0406u);
    guest->run();
}

TEST_F(VmxState, ResetDropsWhatWasQueued) {
    Backend &b = backend();
    b.inject(exception(6));
    b.want_interrupt_window(true, 16);
    b.want_nmi_window(true);
    b.set_nmi_blocked(true);
    b.reset();
    guest->run(ExitCode::external_interrupt, [](fake::FakeVmcs &v) {
        EXPECT_FALSE(v[field::entry_interruption] & event::valid);
        EXPECT_FALSE(v[field::primary_controls] &
                     (primary::interrupt_window_exiting | primary::nmi_window_exiting));
        EXPECT_EQ(v[field::guest_interruptibility], 0u);
    });
}

// ---- control registers ----

TEST_F(VmxState, CachesAndNeStayOnWhateverCr0Says) {
    Backend &b = backend();
    b.set_cr0(cr0::pe | cr0::cd | cr0::nw);
    EXPECT_EQ(vmcs(field::guest_cr0), cr0::pe | cr0::et | cr0::ne);
    EXPECT_EQ(vmcs(field::cr0_shadow), cr0::pe | cr0::et | cr0::cd | cr0::nw);
    EXPECT_EQ(b.cr0(), cr0::pe | cr0::et | cr0::cd | cr0::nw);
    guest->run();
    EXPECT_EQ(b.cr0(), cr0::pe | cr0::et | cr0::cd | cr0::nw);
}

TEST_F(VmxState, Cr0BitsThatTheGuestChangesItself) {
    Backend &b = backend();
    constexpr std::uint64_t free = cr0::ts | cr0::mp | cr0::em | cr0::wp | cr0::am;
    EXPECT_EQ(vmcs(field::cr0_mask), ~free);
    b.set_cr0(cr0::pe | cr0::ts | cr0::cd);
    guest_sets(field::guest_cr0, cr0::pe | cr0::et | cr0::ne | cr0::mp | cr0::wp);
    EXPECT_EQ(b.cr0(), cr0::pe | cr0::et | cr0::cd | cr0::mp | cr0::wp);
}

TEST_F(VmxState, MachineChecksAndVmxStayOnWhateverCr4Says) {
    Backend &b = backend();
    b.set_cr4(cr4::pae);
    EXPECT_EQ(vmcs(field::guest_cr4), cr4::pae | cr4::mce | cr4::vmxe);
    EXPECT_EQ(vmcs(field::cr4_shadow), cr4::pae);
    EXPECT_EQ(b.cr4(), cr4::pae);
    guest->run();
    EXPECT_EQ(b.cr4(), cr4::pae);
}

TEST_F(VmxState, Cr4BitsThatTheGuestChangesItself) {
    Backend &b = backend();
    constexpr std::uint64_t free = cr4::tsd | cr4::de | cr4::pge | cr4::osfxsr | cr4::osxmmexcpt;
    EXPECT_EQ(vmcs(field::cr4_mask), ~free);
    b.set_cr4(cr4::pse | cr4::tsd);
    guest_sets(field::guest_cr4, cr4::pse | cr4::mce | cr4::vmxe | cr4::pge | cr4::osfxsr);
    EXPECT_EQ(b.cr4(), cr4::pse | cr4::pge | cr4::osfxsr);
}

TEST_F(VmxState, LongModeIsAControlToo) {
    enter_long_mode();
    EXPECT_TRUE(vmcs(field::entry_controls) & entry_control::ia32e_mode_guest);
    guest->run();
    EXPECT_EQ(backend().efer(), efer::lme | efer::lma | efer::nxe);
    EXPECT_EQ(vmcs(field::guest_efer), backend().efer());
    backend().set_efer(efer::nxe);
    backend().set_cr0(cr0::pe);
    EXPECT_FALSE(vmcs(field::entry_controls) & entry_control::ia32e_mode_guest);
    guest->run();
}

TEST_F(VmxState, PagingWithPaeHasItsPointers) {
    Backend &b = backend();
    const std::uint64_t pointers[4] = {0x1001, 0x2001, 0, 0x4001};
    b.set_page_directory_pointers(pointers);
    b.set_cr4(cr4::pae);
    b.set_cr0(cr0::pe | cr0::pg);
    guest->run();
    EXPECT_EQ(vmcs(field::guest_pdpte_0), 0x1001u);
    EXPECT_EQ(vmcs(field::guest_pdpte_3), 0x4001u);
}

TEST_F(VmxState, Cr2IsSwitchedByHand) {
    Backend &b = backend();
    vmx.here().cr2 = 0x1111; // the host's last fault
    b.set_cr2(0x2222);
    guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &) {
        EXPECT_EQ(vmx.here().cr2, 0x2222u);
        vmx.here().cr2 = 0x3333;
    });
    EXPECT_EQ(b.cr2(), 0x3333u);
    b.set_cr3(0x5000);
    EXPECT_EQ(b.cr3(), 0x5000u);
    EXPECT_EQ(vmcs(field::guest_cr3), 0x5000u);
}

// ---- general registers ----

TEST_F(VmxState, RipRflagsAndRspGoInAndOut) {
    Backend &b = backend();
    b.set_rip(0x1234);
    b.set_rflags(0x246);
    guest->gprs[HWV_RSP] = 0x5678;
    const RawExit raw = guest->run(ExitCode::hlt, [](fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::guest_rip], 0x1234u);
        EXPECT_EQ(v[field::guest_rflags], 0x246u);
        EXPECT_EQ(v[field::guest_rsp], 0x5678u);
        v[field::guest_rip] = 0x2345;
        v[field::guest_rflags] = 0x202;
        v[field::guest_rsp] = 0x6789;
        v[field::exit_instruction_length] = 1;
    });
    EXPECT_EQ(raw.rip, 0x2345u);
    EXPECT_EQ(raw.length, 1u);
    EXPECT_EQ(b.rip(), 0x2345u);
    EXPECT_EQ(b.rflags(), 0x202u);
    EXPECT_EQ(guest->gprs[HWV_RSP], 0x6789u);
}

TEST_F(VmxState, TheTscOffsetIsWrittenAtOnceOrWithTheFirstLoad) {
    backend().set_tsc_offset(0x99);
    EXPECT_EQ(vmcs(field::tsc_offset), 0x99u);
    guest->put();
    {
        Guest later{1};
        later.backend.set_tsc_offset(0x77); // its VMCS is not there yet
        later.load(0);
        later.run();
        EXPECT_EQ(later[field::tsc_offset], 0x77u);
        EXPECT_EQ(later[field::vpid], 2u);
        EXPECT_EQ(later[field::ept_pointer], later.root | 0x1e);
        later.put();
    }
    guest->load(0);
}

// ---- segments ----

TEST_F(VmxState, ATscOfItsOwnFrequencyIsMultiplied) {
    EXPECT_FALSE(vmcs(field::secondary_controls) & secondary::use_tsc_scaling);
    guest->put();
    {
        Guest fast;
        fast.backend.set_tsc_ratio(3ull << 31); // 1.5
        fast.load(0);
        fast.run();
        EXPECT_TRUE(fast[field::secondary_controls] & secondary::use_tsc_scaling);
        EXPECT_EQ(fast[field::tsc_multiplier], 3ull << 47);
        fast.backend.reset();
        EXPECT_EQ(fast[field::tsc_multiplier], 3ull << 47);
        EXPECT_TRUE(fast[field::secondary_controls] & secondary::use_tsc_scaling);
        fast.put();
    }
    guest->load(0);
}

TEST_F(VmxState, SegmentsRoundTrip) {
    enter_long_mode();
    for (unsigned i = 0; i < HWV_SEGMENTS; i++) {
        const std::uint16_t type = i == HWV_TR     ? 0x8b
                                   : i == HWV_LDTR ? 0x82
                                   : i == HWV_CS   ? 0x9b | segment::l
                                                   : 0x93;
        const Segment flat{0x1000u * i, 0xffff'ffff, static_cast<std::uint16_t>(8 * i + 8),
                           static_cast<std::uint16_t>(type | segment::g | segment::avl)};
        backend().set_segment(i, flat);
        guest->run();
        const Segment back = backend().segment(i);
        EXPECT_EQ(back.base, flat.base) << i;
        EXPECT_EQ(back.limit, flat.limit) << i;
        EXPECT_EQ(back.selector, flat.selector) << i;
        EXPECT_EQ(back.attributes, flat.attributes) << i;
    }
    backend().set_segment(HWV_FS, {0xf5, 0xffff, 0, 0x93});
    backend().set_segment(HWV_GS, {0x65, 0xffff, 0, 0x93});
    EXPECT_EQ(vmcs(field::guest_fs_base), 0xf5u);
    EXPECT_EQ(vmcs(field::guest_gs_base), 0x65u);
    EXPECT_EQ(backend().msr(msr::fs_base), 0xf5u);
    EXPECT_EQ(backend().msr(msr::gs_base), 0x65u);
    ASSERT_TRUE(backend().set_msr(msr::gs_base, 0x66));
    EXPECT_EQ(backend().segment(HWV_GS).base, 0x66u);
    EXPECT_EQ(backend().segment(HWV_FS).base, 0xf5u);
}

TEST_F(VmxState, NotPresentIsUnusableAndBack) {
    backend().set_segment(HWV_DS, {0, 0, 0, 0x13});
    EXPECT_TRUE(vmcs(field::guest_ds_access_rights) & access_rights::unusable);
    EXPECT_TRUE(backend().segment(HWV_DS).attributes & segment::unusable);
    backend().set_segment(HWV_ES, {0, 0, 0, segment::unusable | 0x93});
    guest->run();
    const std::uint16_t back = backend().segment(HWV_ES).attributes;
    EXPECT_TRUE(back & segment::unusable);
    EXPECT_FALSE(back & segment::present);
}

TEST_F(VmxState, GranularityFollowsTheLimit) {
    backend().set_segment(HWV_DS, {0, 0x12'3fff, 0, 0x93}); // no byte limit is that large
    EXPECT_TRUE(backend().segment(HWV_DS).attributes & segment::g);
    guest->run();
    backend().set_segment(HWV_DS, {0, 0x1234, 0, 0x93 | segment::g}); // no number of pages
    EXPECT_FALSE(backend().segment(HWV_DS).attributes & segment::g);
    guest->run();
    backend().set_segment(HWV_DS, {0, 0xfff, 0, 0x93 | segment::g}); // one page: either will do
    EXPECT_TRUE(backend().segment(HWV_DS).attributes & segment::g);
    guest->run();
}

TEST_F(VmxState, LoadedSegmentsAreAccessedAndTheTaskIsBusy) {
    backend().set_segment(HWV_DS, {0, 0xffff, 0, 0x92});
    backend().set_segment(HWV_TR, {0, 0x67, 0x28, 0x89});
    guest->run();
    EXPECT_EQ(backend().segment(HWV_DS).attributes, 0x93);
    EXPECT_EQ(backend().segment(HWV_TR).attributes, 0x8b);
}

TEST_F(VmxState, PrivilegeIsTheStackSegments) {
    enter_long_mode();
    backend().set_segment(HWV_SS, {0, 0xffff'ffff, 0x2b, 0xcf3});
    backend().set_segment(HWV_CS, {0, 0xffff'ffff, 0x33, 0xafb});
    EXPECT_EQ(backend().cpl(), 3u);
    EXPECT_EQ(backend().code_attributes(), 0xafb);
    guest->run(ExitCode::external_interrupt, [](fake::FakeVmcs &v) { // SYSCALL
        v[field::guest_ss_access_rights] = 0xc093;
        v[field::guest_cs_access_rights] = 0xa09b;
    });
    EXPECT_EQ(backend().cpl(), 0u);
    EXPECT_EQ(backend().code_attributes(), 0xa9b);
}

TEST_F(VmxState, TablesRoundTrip) {
    backend().set_gdtr({0xffff'8000'0000'1000, 0x7f, 0});
    backend().set_idtr({0x2000, 0xfff, 0});
    guest->run();
    EXPECT_EQ(backend().gdtr().base, 0xffff'8000'0000'1000u);
    EXPECT_EQ(backend().gdtr().limit, 0x7f);
    EXPECT_EQ(backend().idtr().base, 0x2000u);
    EXPECT_EQ(backend().idtr().limit, 0xfff);
}

// ---- MSRs ----

TEST_F(VmxState, SwitchedMsrsAreReadAndWritten) {
    const std::uint32_t switched[] = {0x174,       0x175,       0x176,       0xc000'0081,
                                      0xc000'0082, 0xc000'0083, 0xc000'0084, 0xc000'0100,
                                      0xc000'0101, 0xc000'0102, 0xc000'0103};
    std::uint64_t value = 0x1000;
    for (std::uint32_t index : switched)
        ASSERT_TRUE(backend().set_msr(index, value++)) << std::hex << index;
    guest->run();
    value = 0x1000;
    for (std::uint32_t index : switched)
        EXPECT_EQ(backend().msr(index), value++) << std::hex << index;
    EXPECT_EQ(vmcs(field::guest_sysenter_cs), 0x1000u);
    EXPECT_EQ(vmcs(field::guest_sysenter_eip), 0x1002u);
    for (std::uint32_t index : {0x10u, 0x48u, 0x1d9u, 0x38fu, 0xc000'0080u}) {
        EXPECT_FALSE(backend().set_msr(index, 1)) << std::hex << index;
        EXPECT_FALSE(backend().msr(index)) << std::hex << index;
    }
    ASSERT_TRUE(backend().set_msr(msr::pat, 0x0606'0606'0606'0606));
    EXPECT_EQ(vmcs(field::guest_pat), 0x0606'0606'0606'0606u);
}

TEST_F(VmxState, BarriersAreIssuedAndNotKept) {
    hardware.msr_writes.clear();
    for (std::uint32_t index : {msr::pred_cmd, msr::flush_cmd}) {
        EXPECT_TRUE(backend().set_msr(index, 1));
        EXPECT_EQ(hardware.writes_of(index), 1u);
        EXPECT_FALSE(backend().msr(index));
    }
    hardware.here().msrs.erase(msr::flush_cmd);
    EXPECT_FALSE(backend().set_msr(msr::flush_cmd, 1)) << "a CPU without it";
}

TEST_F(VmxState, EntriesTouchNoMsr) {
    hardware.msr_writes.clear();
    for (int i = 0; i < 5; i++)
        guest->run();
    EXPECT_TRUE(hardware.msr_writes.empty());
}

TEST_F(VmxState, DebugRegistersRoundTrip) {
    for (unsigned n : {0u, 1u, 2u, 3u})
        backend().set_debug(n, 0x100 * n);
    backend().set_debug(6, 0xffff'0ff1);
    backend().set_debug(7, 0x455);
    guest->run();
    for (unsigned n : {0u, 1u, 2u, 3u})
        EXPECT_EQ(backend().debug(n), 0x100 * n);
    EXPECT_EQ(backend().debug(6), 0xffff'0ff1u);
    EXPECT_EQ(backend().debug(7), 0x455u);
    EXPECT_EQ(vmcs(field::guest_dr7), 0x455u);
}

} // namespace
} // namespace hwv::vmx
