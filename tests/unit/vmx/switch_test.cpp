// SPDX-License-Identifier: GPL-2.0-only
// load, enter, put: what must be in the CPU and in the VMCS when, and the host's back again. The
// fake hardware compares the host's fields at every entry, Guest::put() the CPU.
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

struct VmxSwitch : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        power();
        guest.emplace();
    }
    void TearDown() override {
        guest.reset();
        VmxMachine::TearDown();
    }
    Backend &backend() { return guest->backend; }
    std::optional<Guest> guest;
};

// ---- the host's fields ----

TEST_F(VmxSwitch, WhatBelongsToTheCpuFollowsIt) {
    for (std::uint32_t cpu : {0u, 1u, 0u, 3u, 3u, 2u}) {
        guest->load(cpu);
        guest->run();
        EXPECT_EQ((*guest)[field::host_gs_base], hardware.cpus[cpu].msrs[msr::gs_base]);
        guest->put();
    }
}

TEST_F(VmxSwitch, WhatBelongsToTheThreadIsFollowedToo) {
    guest->load(0);
    guest->run();
    vmx.here().cr3 = 0x2005; // the kernel gives its address space another number
    vmx.here().cr4 |= cr4::tsd;
    guest->run();
    guest->before.cr3 = 0x2005;
    guest->before.cr4 |= cr4::tsd;
    guest->put();
    hardware.here().msrs[msr::fs_base] = 0x7f00'0000'9000; // another thread runs the vCPU
    guest->load(0);
    guest->run();
    guest->put();
}

TEST_F(VmxSwitch, SelectorsOfTheThreadsComeBack) {
    fake::LoadedSegments &s = vmx.here().segments;
    s.ds = s.es = 0x2b;
    s.fs = 0x53;
    hardware.here().ldt = 0x48;
    guest->load(0);
    guest->run();
    guest->put();
}

// A 32-bit launcher: loading its GS overwrites what SWAPGS would exchange.
TEST_F(VmxSwitch, TheGuestsSwappedGsOutlivesTheHostsSelector) {
    vmx.here().segments.gs = 0x63;
    vmx.here().gs_descriptor_base = hardware.here().msrs[msr::kernel_gs_base] = 0xf7c0'1000;
    ASSERT_TRUE(backend().set_msr(msr::kernel_gs_base, 0x1111));
    guest->load(0);
    guest->run(ExitCode::external_interrupt,
               [&](fake::FakeVmcs &) { hardware.here().msrs[msr::kernel_gs_base] = 0x2222; });
    guest->put();
    guest->load(0);
    EXPECT_EQ(backend().msr(msr::kernel_gs_base), 0x2222u);
    guest->put();
    EXPECT_EQ(backend().msr(msr::kernel_gs_base), 0x2222u);
}

TEST_F(VmxSwitch, WithoutAnEntrySegmentsStay) {
    vmx.here().segments.gs = 0x63;
    vmx.here().gs_descriptor_base = 0xdead;
    guest->load(0);
    guest->put();
}

// ---- MSRs that VM exits leave as they are ----

TEST_F(VmxSwitch, TheGuestsMsrsAreLoadedAndTheHostsRestored) {
    const std::uint32_t held[] = {msr::star, msr::lstar, msr::sfmask, msr::kernel_gs_base,
                                  msr::tsc_aux};
    std::uint64_t value = 0x1000;
    for (std::uint32_t index : held)
        ASSERT_TRUE(backend().set_msr(index, value++));
    EXPECT_TRUE(hardware.msr_writes.empty()) << "not loaded yet";
    for (std::uint32_t cpu : {0u, 1u}) {
        hardware.cpus[cpu].msrs[msr::kernel_gs_base] += 0x100 + cpu; // the thread's
        guest->load(cpu);
        guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &) {
            value = 0x1000;
            for (std::uint32_t index : held)
                EXPECT_EQ(hardware.here().msrs[index], value++) << std::hex << index;
        });
        guest->put();
    }
}

TEST_F(VmxSwitch, MsrsSetWhileLoadedTakeEffectAtOnce) {
    guest->load(0);
    for (std::uint32_t index :
         {msr::star, msr::lstar, msr::sfmask, msr::kernel_gs_base, msr::tsc_aux}) {
        ASSERT_TRUE(backend().set_msr(index, 0x55));
        EXPECT_EQ(hardware.here().msrs[index], 0x55u) << std::hex << index;
        EXPECT_EQ(backend().msr(index), 0x55u) << std::hex << index;
    }
    guest->run();
    guest->put();
}

TEST_F(VmxSwitch, EqualMsrsAreNotWritten) {
    for (std::uint32_t index : {msr::star, msr::lstar, msr::sfmask, msr::tsc_aux})
        ASSERT_TRUE(backend().set_msr(index, hardware.here().msrs[index]));
    guest->load(0);
    guest->put();
    for (std::uint32_t index : {msr::star, msr::lstar, msr::sfmask, msr::tsc_aux})
        EXPECT_EQ(hardware.writes_of(index), 0u) << std::hex << index;
}

TEST_F(VmxSwitch, ALoadedVcpuIsResetAndLeavesNothing) { // INIT
    hardware.here().msrs[msr::kernel_gs_base] = 0;      // as the guest's after reset
    guest->load(0);
    for (std::uint32_t index :
         {msr::star, msr::lstar, msr::sfmask, msr::kernel_gs_base, msr::tsc_aux})
        ASSERT_TRUE(backend().set_msr(index, 0x77));
    guest->run();
    backend().reset();
    guest->run();
    for (std::uint32_t index :
         {msr::star, msr::lstar, msr::sfmask, msr::kernel_gs_base, msr::tsc_aux})
        EXPECT_EQ(backend().msr(index), 0u) << std::hex << index;
    guest->put();
}

TEST_F(VmxSwitch, IbpbWhenAnotherVcpuComesToTheCpu) {
    guest->load(0, true);
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 0u); // not wanted by the host
    guest->put();
    host.facts.speculation = HWV_SPEC_IBPB;
    guest->load(0, true);
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
    guest->put();
    guest->load(0, false);
    guest->put();
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
}

TEST_F(VmxSwitch, SpecCtrlGoesWithTheEntry) {
    guest->load(0);
    EXPECT_FALSE(backend().set_msr(msr::spec_ctrl, 1));
    host.facts.speculation = HWV_SPEC_CTRL;
    EXPECT_TRUE(backend().set_msr(msr::spec_ctrl, 5));
    guest->run();
    EXPECT_EQ(hardware.spec_ctrl, 5u);
    EXPECT_EQ(backend().msr(msr::spec_ctrl), 5u);
    guest->put();
}

// ---- XCR0, counters, debug control ----

TEST_F(VmxSwitch, Xcr0IsSwappedAroundTheEntryOnlyWhereItDiffers) {
    guest->load(0);
    backend().set_xcr0(3);
    guest->run(); // without CR4.OSXSAVE the guest cannot tell
    EXPECT_TRUE(hardware.xcr0_writes.empty());
    backend().set_cr4(cr4::osxsave);
    guest->run(ExitCode::external_interrupt,
               [&](fake::FakeVmcs &) { EXPECT_EQ(hardware.here().xcr0, 3u); });
    EXPECT_EQ(hardware.here().xcr0, 7u);
    backend().set_xcr0(7);
    hardware.xcr0_writes.clear();
    guest->run();
    EXPECT_TRUE(hardware.xcr0_writes.empty());
    guest->put();
}

TEST_F(VmxSwitch, AFailedEntryGivesXcr0Back) {
    guest->load(0);
    backend().set_cr4(cr4::osxsave);
    backend().set_xcr0(3);
    vmx.refuse_entry = true;
    EXPECT_TRUE(guest->enter().not_entered);
    EXPECT_EQ(hardware.here().xcr0, 7u);
    vmx.refuse_entry = false;
    guest->put();
}

TEST_F(VmxSwitch, TheHostsCountersRestWhileTheGuestRuns) {
    auto &msrs = hardware.here().msrs;
    msrs[msr::perf_global_ctrl] = 0x7'0000'000f;
    msrs[msr::pebs_enable] = 1;
    guest->load(0);
    for (int i = 0; i < 2; i++)
        guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &) {
            EXPECT_EQ(msrs[msr::perf_global_ctrl], 0u);
            EXPECT_EQ(msrs[msr::pebs_enable], 0u);
        });
    msrs[msr::perf_global_ctrl] = guest->before.msrs[msr::perf_global_ctrl] = 3; // perf changes it
    guest->run();
    EXPECT_EQ(msrs[msr::pebs_enable], 1u);
    guest->put();
}

TEST_F(VmxSwitch, DebugControlComesBackAfterTheExitThatClearedIt) {
    hardware.here().msrs[msr::debugctl] = 1; // last branch records
    guest->load(0);
    guest->run(ExitCode::external_interrupt,
               [&](fake::FakeVmcs &) { EXPECT_EQ(hardware.here().msrs[msr::debugctl], 0u); });
    EXPECT_EQ(hardware.here().msrs[msr::debugctl], 1u);
    guest->put();
}

// ---- the L1 data cache ----

struct VmxL1d : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        host.facts.speculation = HWV_SPEC_L1D_FLUSH;
        hardware.leaves[7].edx = 1u << 28; // IA32_FLUSH_CMD
        power();
    }
    unsigned flushes() { return hardware.writes_of(msr::flush_cmd); }
};

TEST_F(VmxL1d, IsFlushedWhereTheHostsDataMayHaveComeToIt) {
    Guest guest;
    guest.load(0);
    guest.run();
    EXPECT_EQ(flushes(), 1u) << "the thread ran something else";
    guest.run(ExitCode::cpuid);
    guest.run(ExitCode::cpuid);
    EXPECT_EQ(flushes(), 1u) << "hwv's own words are no secret";
    host.l1d_stale = true; // an interrupt
    guest.run();
    EXPECT_EQ(flushes(), 2u);
    guest.run(ExitCode::ept_violation); // is served in the host's memory
    guest.run();
    EXPECT_EQ(flushes(), 3u);
    guest.put();
    guest.load(0);
    guest.run();
    EXPECT_EQ(flushes(), 4u);
    guest.put();
}

// ---- debug registers ----

TEST_F(VmxSwitch, BreakpointsOfBothSidesStayApart) {
    const std::uint64_t of_host[4] = {0x8000, 0x8001, 0x8002, 0x8003};
    std::copy(std::begin(of_host), std::end(of_host), hardware.here().dr);
    hardware.here().dr[7] = 0x4ff;
    guest->load(0);
    for (unsigned n = 0; n < 4; n++)
        backend().set_debug(n, 0x1000 + n);
    backend().set_debug(6, 0xffff'0ff1);
    backend().set_debug(7, 0x4aa);
    guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &) {
        for (unsigned n = 0; n < 4; n++)
            EXPECT_EQ(hardware.here().dr[n], 0x1000 + n);
        EXPECT_EQ(hardware.here().dr[6], 0xffff'0ff1u);
        EXPECT_EQ(hardware.here().dr[7], 0x4aau);
        hardware.here().dr[6] = 0xffff'4ff0;
    });
    EXPECT_EQ(backend().debug(6), 0xffff'4ff0u);
    EXPECT_EQ(backend().debug(7), 0x4aau);
    guest->put();
}

TEST_F(VmxSwitch, DebugRegistersThatNobodyUsesAreNotTouched) {
    hardware.here().dr[0] = 0x8000; // not enabled
    guest->load(0);
    backend().set_debug(0, 0x1234);
    guest->run(ExitCode::external_interrupt,
               [&](fake::FakeVmcs &) { EXPECT_EQ(hardware.here().dr[0], 0x8000u); });
    guest->put();
}

TEST_F(VmxSwitch, HostBreakpointsRestAlsoWithoutAnyOfTheGuests) {
    hardware.here().dr[1] = 0x8000;
    hardware.here().dr[7] = 0x404;
    guest->load(0);
    guest->run(ExitCode::external_interrupt,
               [&](fake::FakeVmcs &) { EXPECT_EQ(hardware.here().dr[7], 0x400u); });
    guest->put(); // compares
}

TEST_F(VmxSwitch, DebugRegistersAreGrantedUntilThePut) {
    guest->load(0);
    EXPECT_TRUE((guest->run(), (*guest)[field::primary_controls] & primary::mov_dr_exiting));
    backend().grant_debug();
    guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &v) {
        EXPECT_FALSE(v[field::primary_controls] & primary::mov_dr_exiting);
        hardware.here().dr[2] = 0x4242;
        v[field::guest_dr7] = 0x400;
    });
    EXPECT_EQ(backend().debug(2), 0x4242u);
    guest->put();
    guest->load(0);
    guest->run(ExitCode::external_interrupt, [&](fake::FakeVmcs &v) {
        EXPECT_TRUE(v[field::primary_controls] & primary::mov_dr_exiting);
    });
    guest->put();
}

} // namespace
} // namespace hwv::vmx
