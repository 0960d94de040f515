// SPDX-License-Identifier: GPL-2.0-only
// Events into a guest and out of it, windows, blocking, and entries that the CPU refuses.
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

constexpr Event nmi{HWV_EVENT_NMI, vector::nmi};
constexpr std::uint32_t hardware_exception = event::valid | event::exception << event::type_shift,
                        nmi_information = event::valid | event::nmi << event::type_shift | 2;

struct VmxEntry : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        power();
        guest.emplace();
        guest->load(0);
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
    // Queues it; what the CPU then delivered.
    std::uint32_t delivered(const Event &e) {
        backend().inject(e);
        guest->run();
        return vmx.delivered;
    }
    // An exit by an exception, or in the middle of one.
    RawExit fault_exit(std::uint32_t interruption, std::uint32_t vectoring = 0) {
        return guest->run(ExitCode::exception_or_nmi, [&](fake::FakeVmcs &v) {
            v[field::exit_interruption] = interruption;
            v[field::vectoring] = vectoring;
        });
    }
    bool window() { return vmcs(field::primary_controls) & primary::interrupt_window_exiting; }
    std::optional<Guest> guest;
};

// ---- injection ----

TEST_F(VmxEntry, AnEventIsDeliveredOnce) {
    EXPECT_EQ(delivered(exception(6)), hardware_exception | 6);
    EXPECT_FALSE(backend().injecting());
    guest->run();
    EXPECT_EQ(vmx.delivered, 0u);
}

TEST_F(VmxEntry, ErrorCodesGoWithProtectedMode) {
    EXPECT_EQ(delivered(exception(13, 0x18)),
              hardware_exception | 13); // in real mode there are none
    backend().set_cr0(cr0::pe);
    EXPECT_EQ(delivered(exception(13, 0x18)), hardware_exception | event::has_error_code | 13);
    EXPECT_EQ(vmcs(field::entry_error_code), 0x18u);
}

TEST_F(VmxEntry, ProtectedModeIsTheGuestsAndNotItsShadow) { // long after the core set it
    backend().set_cr0(cr0::pe);
    guest->run();
    guest->run();
    EXPECT_EQ(delivered(exception(13, 0)), hardware_exception | event::has_error_code | 13);
}

TEST_F(VmxEntry, SoftwareEventsHaveTheirInstructionsLength) {
    const Event int80{HWV_EVENT_SOFTWARE, 0x80, false, 2};
    EXPECT_EQ(delivered(int80), event::valid | event::software_interrupt << 8 | 0x80);
    EXPECT_EQ(vmcs(field::entry_instruction_length), 2u);
    EXPECT_EQ(delivered({HWV_EVENT_SOFTWARE, 3, false, 1}),
              event::valid | event::software_exception << 8 | 3);
    EXPECT_EQ(vmcs(field::entry_instruction_length), 1u);
    EXPECT_EQ(delivered({HWV_EVENT_SOFTWARE, 0x80, false, 0}), 0u) << "it runs again by itself";
}

TEST_F(VmxEntry, WhatIsTakenBackIsNotDelivered) {
    backend().inject(exception(6));
    EXPECT_EQ(delivered({}), 0u);
}

TEST_F(VmxEntry, AnInterruptedDeliveryIsTold) {
    backend().set_cr0(cr0::pe);
    const RawExit raw = guest->run(ExitCode::ept_violation, [](fake::FakeVmcs &v) {
        v[field::qualification] = 0x181;
        v[field::vectoring] = hardware_exception | event::has_error_code | 14;
        v[field::vectoring_error] = 6;
    });
    const Event again = decode(raw).delivering;
    EXPECT_EQ(again, exception(14, 6));
    EXPECT_EQ(delivered(again), hardware_exception | event::has_error_code | 14);
    EXPECT_EQ(vmcs(field::entry_error_code), 6u);
    const RawExit next = guest->run(ExitCode::ept_violation);
    EXPECT_FALSE(decode(next).delivering) << "of the exit before";
}

TEST_F(VmxEntry, AnInterruptedSoftwareInterruptKeepsItsLength) {
    const RawExit raw = guest->run(ExitCode::ept_violation, [](fake::FakeVmcs &v) {
        v[field::vectoring] = event::valid | event::software_interrupt << 8 | 0x80;
        v[field::exit_instruction_length] = 2;
    });
    EXPECT_EQ(decode(raw).delivering, (Event{HWV_EVENT_SOFTWARE, 0x80, false, 2}));
}

// ---- NMIs ----

TEST_F(VmxEntry, AnNmiBlocksTheNextUntilIret) {
    EXPECT_FALSE(backend().nmi_blocked());
    EXPECT_EQ(delivered(nmi), nmi_information);
    EXPECT_TRUE(backend().nmi_blocked());
    guest->run(ExitCode::external_interrupt,
               [](fake::FakeVmcs &v) { v[field::guest_interruptibility] = 0; });
    EXPECT_FALSE(backend().nmi_blocked());
}

TEST_F(VmxEntry, AnNmiWhoseDeliveryWasInterruptedIsDeliveredAgain) {
    (void)delivered(nmi);
    const RawExit raw = guest->run(ExitCode::ept_violation, [](fake::FakeVmcs &v) {
        v[field::vectoring] = nmi_information; // and it blocks already
    });
    EXPECT_EQ(delivered(decode(raw).delivering), nmi_information);
    EXPECT_TRUE(backend().nmi_blocked());
}

TEST_F(VmxEntry, AnIretThatFaultsAfterUnblockingBlocksAgain) {
    (void)fault_exit(hardware_exception | event::nmi_unblocked | 13);
    EXPECT_TRUE(backend().nmi_blocked());
    guest->run();
    EXPECT_TRUE(backend().nmi_blocked());

    backend().set_nmi_blocked(false);
    guest->run(ExitCode::ept_violation,
               [](fake::FakeVmcs &v) { v[field::qualification] = 0x181 | event::nmi_unblocked; });
    EXPECT_TRUE(backend().nmi_blocked());
}

TEST_F(VmxEntry, NotEveryExitWithThatBitSaysSo) {
    (void)fault_exit(hardware_exception | event::nmi_unblocked | 8); // undefined for #DF
    EXPECT_FALSE(backend().nmi_blocked());
    (void)fault_exit(hardware_exception | event::nmi_unblocked | 14, event::valid | 0x31);
    EXPECT_FALSE(backend().nmi_blocked()) << "another event's delivery, no IRET";
}

TEST_F(VmxEntry, NmiWindowsAreAskedForAndTakenBack) {
    backend().want_nmi_window(true);
    guest->run();
    EXPECT_TRUE(vmcs(field::primary_controls) & primary::nmi_window_exiting);
    backend().want_nmi_window(false);
    guest->run();
    EXPECT_FALSE(vmcs(field::primary_controls) & primary::nmi_window_exiting);
}

TEST_F(VmxEntry, AnNmiOfTheHostsIsServedBeforeAnythingElse) {
    const RawExit raw = fault_exit(nmi_information);
    EXPECT_EQ(host.nmis, 1u);
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_HOST_NMI);
    (void)fault_exit(hardware_exception | 2); // no NMI, whatever the vector
    guest->run();
    EXPECT_EQ(host.nmis, 1u);
}

// ---- the interrupt window and the task priority ----

TEST_F(VmxEntry, AWindowOpensOnlyAboveTheTaskPriority) {
    for (unsigned tpr = 0; tpr < 16; tpr++)
        for (unsigned priority = 1; priority <= 16; priority++) {
            backend().set_tpr(static_cast<std::uint8_t>(tpr));
            backend().want_interrupt_window(true, static_cast<std::uint8_t>(priority));
            guest->run(); // the fake CPU refuses a threshold above the TPR
            const bool held = priority <= tpr;
            EXPECT_EQ(window(), !held) << tpr << ' ' << priority;
            EXPECT_EQ(vmcs(field::tpr_threshold), held ? priority : 0) << tpr << ' ' << priority;
            backend().want_interrupt_window(false, 0);
            EXPECT_FALSE(window());
            EXPECT_EQ(vmcs(field::tpr_threshold), 0u);
        }
}

TEST_F(VmxEntry, AThresholdIsNeverAboveThePriority) {
    backend().set_tpr(9);
    backend().want_interrupt_window(true, 7);
    guest->run();
    backend().set_tpr(4); // by the core: CR8, or the APIC's page
    guest->run();
    EXPECT_EQ(vmcs(field::tpr_threshold), 4u);
    backend().set_tpr(0);
    guest->run();
    EXPECT_EQ(vmcs(field::tpr_threshold), 0u);
}

TEST_F(VmxEntry, TheTaskPriorityIsTheGuestsToChange) {
    backend().set_tpr(9);
    guest->run(ExitCode::tpr_below_threshold, [](fake::FakeVmcs &v) {
        auto *page = reinterpret_cast<std::uint8_t *>(v[field::virtual_apic]);
        EXPECT_EQ(page[0x80], 0x90);
        page[0x80] = 0x35; // MOV CR8
    });
    EXPECT_EQ(backend().tpr(), 3u);
}

// ---- shadows ----

TEST_F(VmxEntry, ShadowsGoInAndOut) {
    backend().set_rflags(rflags::fixed | rflags::if_);
    backend().set_shadow(HWV_SHADOW_STI);
    guest->run(ExitCode::external_interrupt, [](fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::guest_interruptibility], interruptibility::sti);
        v[field::guest_interruptibility] = interruptibility::mov_ss;
    });
    EXPECT_EQ(backend().shadow(), HWV_SHADOW_MOV_SS);
    backend().set_shadow(0);
    guest->run();
    EXPECT_EQ(backend().shadow(), 0u);
}

TEST_F(VmxEntry, InAShadowTheTrapFlagHasItsPendingStep) { // else the CPU refuses the entry
    backend().set_rflags(rflags::fixed | rflags::tf);
    backend().set_shadow(HWV_SHADOW_MOV_SS);
    guest->run();
    EXPECT_EQ(vmcs(field::guest_pending_debug), pending_debug::single_step);
    backend().set_rflags(rflags::fixed); // the user changes one without the other
    guest->run();
    EXPECT_EQ(vmcs(field::guest_pending_debug), 0u);
    backend().set_rflags(rflags::fixed | rflags::tf);
    guest->run();
    backend().set_shadow(0);
    EXPECT_EQ(vmcs(field::guest_pending_debug), 0u);
    guest->run();
}

TEST_F(VmxEntry, ABreakpointThatMovSsHoldsBackIsNotLost) {
    constexpr std::uint64_t hit = pending_debug::enabled_breakpoint | 1;
    guest->run(ExitCode::external_interrupt, [](fake::FakeVmcs &v) {
        v[field::guest_interruptibility] = interruptibility::mov_ss;
        v[field::guest_pending_debug] = hit;
    });
    backend().set_rflags(rflags::fixed | rflags::tf);
    guest->run();
    EXPECT_EQ(vmcs(field::guest_pending_debug), hit | pending_debug::single_step);
}

// ---- entries that the CPU refuses ----

constexpr std::uint32_t refused = exit_reason::entry_failure | 33;

TEST_F(VmxEntry, AnInvalidGuestStateKeepsTheGuestAndSaysTheRule) {
    backend().set_rip(0x1'0000'0000); // beyond 32 bits in real mode
    backend().set_rflags(0x246);
    backend().set_cr2(0x99);
    guest->gprs[HWV_RSP] = 0x77;
    guest->gprs[HWV_RBX] = 0x88;
    for (int i = 0; i < 2; i++) {
        const RawExit raw = guest->enter();
        EXPECT_EQ(raw.reason, refused);
        EXPECT_EQ(raw.rule, static_cast<std::uint32_t>(Rule::rip_high));
        EXPECT_EQ(decode(raw).reason, HWV_EXIT_INVALID_STATE);
        EXPECT_EQ(raw.rip, 0x1'0000'0000u);
    }
    EXPECT_EQ(backend().rip(), 0x1'0000'0000u);
    EXPECT_EQ(backend().rflags(), 0x246u);
    EXPECT_EQ(backend().cr2(), 0x99u);
    EXPECT_EQ(guest->gprs[HWV_RSP], 0x77u);
    EXPECT_EQ(guest->gprs[HWV_RBX], 0x88u);
    backend().set_rip(0x1000); // and it goes on: VMLAUNCH still
    guest->run();
}

TEST_F(VmxEntry, AnEventOfAFailedEntryIsNotLostNorDeliveredWhenTakenBack) {
    backend().inject(exception(6));
    vmx.refuse_entry = true;
    EXPECT_TRUE(guest->enter().not_entered);
    vmx.refuse_entry = false;
    EXPECT_EQ(backend().injecting(), exception(6));
    EXPECT_EQ(delivered(backend().injecting()), hardware_exception | 6);

    backend().inject(exception(6));
    backend().set_rip(1ull << 40);
    EXPECT_EQ(guest->enter().reason, refused);
    backend().set_rip(0x1000);
    EXPECT_EQ(delivered({}), 0u);
}

TEST_F(VmxEntry, AnEventThatTheCpuRefusesIsAnInvalidStateWithItsRule) {
    backend().inject({HWV_EVENT_NMI, 3}); // an NMI's vector is 2; it is among the controls: VMfail
    const RawExit raw = guest->enter();
    EXPECT_EQ(raw.reason, refused);
    EXPECT_FALSE(raw.not_entered);
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_INVALID_STATE);
    EXPECT_EQ(decode(raw).raw_info[0], static_cast<std::uint64_t>(Rule::event_vector));
    EXPECT_FALSE(host.log.empty());
    backend().inject({});
    guest->run();
}

TEST_F(VmxEntry, ARefusalThatNoRuleExplainsHasTheCpusNumber) {
    guest->run();
    const std::uint64_t rip = backend().rip();
    vmx.instruction_error = 8;
    const RawExit raw = guest->enter();
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_INVALID_STATE);
    EXPECT_EQ(raw.rule, static_cast<std::uint32_t>(Rule::instruction_error + 8));
    EXPECT_EQ(raw.rip, rip);
    vmx.instruction_error = 0;
    guest->run(); // VMRESUME: it stays launched
}

TEST_F(VmxEntry, AnInstructionThatFaultsIsNotTheGuestsFault) {
    guest->run();
    vmx.instruction_error = 0;
    vmx.refuse_entry = true;
    const RawExit raw = guest->enter();
    EXPECT_TRUE(raw.not_entered);
    EXPECT_EQ(raw.rule, 0u);
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_NONE);
    vmx.refuse_entry = false;
    guest->run();
}

TEST_F(VmxEntry, AMachineCheckAsTheGuestIsLoadedIsTheHosts) {
    backend().set_rip(0x4000);
    vmx.guest = [](std::uint64_t *, fake::FakeVmcs &v) {
        v[field::exit_reason] = exit_reason::entry_failure | 41;
        v[field::guest_rip] = 0xbad; // no register was loaded
    };
    const RawExit raw = guest->enter();
    vmx.guest = nullptr;
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_MACHINE_CHECK);
    EXPECT_EQ(backend().rip(), 0x4000u);
    vmx.current().launched = false; // nor was it launched
    vmx.current()[field::guest_rip] = 0x4000;
    guest->run();
}

// A guest whose state was refused at its first entry has no host state that was touched: put()
// compares.
TEST_F(VmxEntry, ARefusedEntryLeavesTheHostWhole) {
    guest->put();
    vmx.here().segments.gs = 0x63;
    hardware.here().ldt = 0x48;
    hardware.here().msrs[msr::debugctl] = 1;
    hardware.here().dr[7] = 0x401;
    guest->load(0);
    backend().set_rip(1ull << 40);
    EXPECT_EQ(guest->enter().reason, refused);
}

// ---- the timer that ends the guest ----

TEST_F(VmxEntry, TheTimerCountsToTheDeadlineInItsOwnUnit) {
    guest->run();
    EXPECT_EQ(vmcs(field::preemption_timer), timer_off);
    EXPECT_TRUE(vmcs(field::pin_controls) & pin::preemption_timer);
    const unsigned shift = vmx.facts.misc & 0x1f;
    ASSERT_EQ(shift, 5u);
    const std::uint64_t deadline = hardware.tsc + 320'000;
    backend().set_deadline(deadline);
    for (int i = 0; i < 3; i++) { // each entry counts what is left
        guest->run();
        EXPECT_EQ(vmcs(field::preemption_timer), (deadline - hardware.tsc) / 32 + 1);
        hardware.tsc += 1'000;
    }
    backend().set_deadline(hardware.tsc + (1ull << 40));
    guest->run();
    EXPECT_EQ(vmcs(field::preemption_timer), timer_off) << "as far as the field goes";
    backend().set_deadline(hardware.tsc + 320'000);
    guest->run();
    EXPECT_NE(vmcs(field::preemption_timer), timer_off);
    backend().set_deadline(0);
    guest->run();
    EXPECT_EQ(vmcs(field::preemption_timer), timer_off);
}

TEST_F(VmxEntry, ADeadlineThatHasPassedEndsTheGuestAtOnce) {
    backend().set_deadline(1);
    hardware.tsc = 1'000;
    const RawExit raw = guest->enter();
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_TIMER);
}

TEST_F(VmxEntry, AResetForgetsTheDeadline) {
    backend().set_deadline(1);
    backend().reset();
    guest->run();
    EXPECT_EQ(vmcs(field::preemption_timer), timer_off);
}

} // namespace
} // namespace hwv::vmx
