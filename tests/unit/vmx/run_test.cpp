// SPDX-License-Identifier: GPL-2.0-only
// The run loop on Intel's backend, beside KVM: whenever a vCPU is not loaded nothing of it is in
// the CPU, and the fake CPU notices who reaches for it all the same.
#include <cstring>
#include "cpu/native.hpp"
#include "vmx/run.hpp"

namespace hwv::vmx {
namespace {

TEST_F(VmxRun, AnInstructionIsServedAndSteppedOver) {
    vcpu->gprs[HWV_RAX] = 0x8000'0000;
    exits(ExitCode::cpuid, [](fake::FakeVmcs &v) { v[field::exit_instruction_length] = 2; });
    exits(ExitCode::external_interrupt, [this](fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::guest_rip], 0xfff2u);
        vcpu->ask(request::kick);
    });
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_KICKED});
    EXPECT_GE(vcpu->gprs[HWV_RAX], 0x8000'0000u);
    EXPECT_EQ(page.regs.rip, 0xfff2u);
}

TEST_F(VmxRun, AHaltedVcpuMovesAndIsWokenByAnNmi) {
    exits(ExitCode::hlt, [](fake::FakeVmcs &v) { v[field::exit_instruction_length] = 1; });
    host.block = [this] {
        host.block = nullptr;
        moves_to(2);
        EXPECT_TRUE(vcpu->interrupt({.kind = HWV_INTERRUPT_NMI, .vector = 0}));
        return 0;
    };
    exits(ExitCode::external_interrupt, [this](fake::FakeVmcs &) {
        EXPECT_EQ(vmx.delivered, event::valid | event::nmi << event::type_shift | 2);
        vcpu->ask(request::kick);
    });
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(hardware.cpu, 2u);
    EXPECT_EQ(page.regs.rip, 0xfff1u);
    EXPECT_TRUE(page.regs.event.nmi_blocked);
}

TEST_F(VmxRun, AnInitInTheMiddleLeavesTheHostWhole) {
    const fake::HostImage before = vmx.host_image();
    exits(ExitCode::external_interrupt, [this](fake::FakeVmcs &) {
        hardware.here().msrs[msr::kernel_gs_base] = 0x1234; // SWAPGS
        EXPECT_TRUE(vcpu->interrupt({.kind = HWV_INTERRUPT_INIT, .vector = 0}));
    });
    is_kicked();
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.regs.rip, 0xfff0u);
    EXPECT_TRUE(vmx.host_image() == before);
}

// A valid state in 64-bit mode that differs from `r` in every register.
hwv_regs another(hwv_regs r) {
    for (unsigned i = 0; i < HWV_GPRS; ++i)
        r.gpr[i] = 0x1111'2222'3333'0000 + i;
    r.rip = 0xffff'8000'1234'5678;
    r.rflags = rflags::fixed | rflags::if_;
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
        r.segment[i] = {0x1000 + i, 0xffff, static_cast<__u16>(8 * i), 0x93};
    r.segment[HWV_CS].attributes = 0x9b | segment::l;
    r.segment[HWV_LDTR].attributes = 0x82;
    r.segment[HWV_TR].attributes = 0x8b;
    r.gdtr = {0xffff'8000'0000'1000, 0x7f, 0};
    r.idtr = {0xffff'8000'0000'2000, 0xfff, 0};
    r.cr0 = cr0::pe | cr0::pg | cr0::et | cr0::wp;
    r.cr2 = 0xdead'beef;
    r.cr3 = 0x12'3000;
    r.cr4 = cr4::pae | cr4::pge;
    r.cr8 = 9;
    r.efer = efer::lme | efer::lma | efer::nxe;
    for (unsigned i = 0; i < 4; ++i)
        r.dr[i] = 0x4000 + i;
    r.dr6 = 0xffff'0ff1;
    r.dr7 = 0x401;
    return r;
}

TEST_F(VmxRun, RegistersGoToTheCpuAndComeBack) {
    vcpu->ask(request::kick);
    ASSERT_EQ(run(), 0);
    const hwv_regs there = another(page.regs);
    page.regs = there;
    is_kicked();
    ASSERT_EQ(run({.dirty = HWV_REGS_ALL, .wanted = HWV_REGS_ALL}), 0);
    const hwv_regs &back = page.regs;
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
        EXPECT_EQ(std::memcmp(&back.segment[i], &there.segment[i], sizeof(hwv_segment)), 0) << i;
    EXPECT_EQ(back.rip, there.rip);
    EXPECT_EQ(back.rflags, there.rflags);
    EXPECT_EQ(back.cr0, there.cr0);
    EXPECT_EQ(back.cr3, there.cr3);
    EXPECT_EQ(back.cr4, there.cr4);
    EXPECT_EQ(back.efer, there.efer);
    EXPECT_EQ(std::memcmp(&back, &there, sizeof(back)), 0) << "some other register";
}

TEST_F(VmxRun, AStateThatTheCpuRefusesIsTheUsers) {
    vcpu->ask(request::kick);
    ASSERT_EQ(run(), 0);
    page.regs.segment[HWV_CS].attributes = 0x93; // data, not at level 0's right: no code
    page.regs.segment[HWV_SS].attributes = 0x93 | 3u << segment::dpl_shift;
    ASSERT_EQ(run({.dirty = HWV_REGS_SEGMENT, .wanted = HWV_REGS_ALL}), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_INVALID_STATE});
    EXPECT_NE(page.exit.invalid_rule, 0u);
    EXPECT_EQ(page.regs.rip, 0xfff0u);
}

TEST_F(VmxRun, WhereVmxWasSwitchedOffTheRunFails) {
    vmx.refuse_entry = true;
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_ERROR});
    vmx.refuse_entry = false;
}

// ---- the APIC's timer, by the CPU's ----

struct VmxTimer : VmxRun {
    static constexpr std::uint32_t svr = 0xf0, lvt = 0x320, deadline_mode = 2u << 17, vector = 0xec;
    void SetUp() override {
        VmxRun::SetUp();
        vcpu->apic.write(svr, 0x1ff);
        vcpu->apic.write(lvt, vector | deadline_mode);
        vcpu->apic.set_deadline(in(3'000'000));
    }
    // Guest TSC, host TSC.
    static std::uint64_t now() { return cpu::native::tsc(); }
    std::uint64_t in(std::uint64_t ticks) const { return now() + vcpu->msrs.tsc_offset() + ticks; }
    bool requested() {
        vcpu->apic.sync();
        return vcpu->apic.pending() == vector;
    }
};

TEST_F(VmxTimer, ItCountsInTheGuestAndNotInTheHost) {
    hardware.tsc = now();
    const std::uint64_t due = now() + 3'000'000;
    exits(ExitCode::external_interrupt, [&](fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::preemption_timer], (due - hardware.tsc) / 32 + 1);
    });
    exits(ExitCode::preemption_timer, [&](fake::FakeVmcs &) {
        ::fake::advance(1'500'000);
        vcpu->ask(request::kick);
    });
    ASSERT_EQ(run(), 0);
    EXPECT_FALSE(::fake::machine().fires_at);
    EXPECT_EQ(::fake::machine().starts, 0u);
    EXPECT_TRUE(requested());
}

TEST_F(VmxTimer, AnEarlyExitIsNoInterrupt) {
    exits(ExitCode::preemption_timer);
    exits(ExitCode::external_interrupt, [&](fake::FakeVmcs &v) {
        EXPECT_NE(v[field::preemption_timer], timer_off);
        EXPECT_FALSE(requested());
        vcpu->ask(request::kick);
    });
    ASSERT_EQ(run(), 0);
}

TEST_F(VmxTimer, WhatPassesOutsideIsFoundAtTheNextEntry) {
    is_kicked();
    ASSERT_EQ(run(), 0);
    ::fake::advance(1'500'000);
    hardware.tsc = now();
    is_kicked(); // after an entry that the timer ends at once
    ASSERT_EQ(run(), 0);
    EXPECT_TRUE(requested());
}

TEST_F(VmxTimer, WhileTheVcpuWaitsTheHostCounts) {
    exits(ExitCode::hlt, [](fake::FakeVmcs &v) { v[field::exit_instruction_length] = 1; });
    host.block = [&] {
        EXPECT_EQ(::fake::machine().fires_at, ::fake::machine().ns + 1'500'001);
        EXPECT_TRUE(vcpu->interrupt({.kind = HWV_INTERRUPT_NMI, .vector = 0}));
        host.block = nullptr;
        return 0;
    };
    exits(ExitCode::external_interrupt, [&](fake::FakeVmcs &v) {
        EXPECT_FALSE(::fake::machine().fires_at);
        EXPECT_NE(v[field::preemption_timer], timer_off);
        vcpu->ask(request::kick);
    });
    ASSERT_EQ(run(), 0);
}

TEST_F(VmxTimer, ATimerThatIsTakenBackEndsNothing) {
    vcpu->apic.set_deadline(0);
    exits(ExitCode::external_interrupt, [&](fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::preemption_timer], timer_off);
        vcpu->ask(request::kick);
    });
    ASSERT_EQ(run(), 0);
}

} // namespace
} // namespace hwv::vmx
