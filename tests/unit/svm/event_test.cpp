// SPDX-License-Identifier: GPL-2.0-only
// Injection, interrupt and NMI windows, NMI blocking.
#include "svm/machine.hpp"

using namespace hwv;
using namespace hwv::svm;

namespace {

constexpr std::uint64_t valid = 1u << 31;

struct SvmEvents : SvmMachine {};

// On a machine with the features that the parameter names, and on one without.
struct SvmEventsWith : SvmMachine, testing::WithParamInterface<std::uint32_t> {
    void SetUp() override {
        SvmMachine::SetUp();
        features(GetParam());
        power();
    }
};
struct SvmNrips : SvmEventsWith {};
struct SvmVnmi : SvmEventsWith {};
INSTANTIATE_TEST_SUITE_P(WithAndWithout, SvmNrips, testing::Values(0u, feature::nrips));
INSTANTIATE_TEST_SUITE_P(WithAndWithout, SvmVnmi, testing::Values(0u, feature::vnmi));

TEST_F(SvmEvents, AnEventGoesInOnce) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.inject(exception(14, 2));
    EXPECT_EQ(guest.backend.injecting(), exception(14, 2));
    guest.run(ExitCode::intr, [](Vmcb &v) {
        EXPECT_EQ(v.control.event_inj, 2ull << 32 | valid | 1u << 11 | 3u << 8 | 14);
    });
    EXPECT_FALSE(guest.backend.injecting());
    guest.run(ExitCode::intr, [](Vmcb &v) { EXPECT_EQ(v.control.event_inj, 0u); });
}

TEST_F(SvmEvents, AnEventTakenBackDoesNotGoIn) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.inject({HWV_EVENT_NMI, 2});
    guest.backend.inject({});
    guest.run(ExitCode::intr, [](Vmcb &v) { EXPECT_EQ(v.control.event_inj, 0u); });
    EXPECT_FALSE(guest.backend.nmi_blocked());
}

TEST_F(SvmEvents, AnEventSurvivesAnEntryThatFailed) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.inject(exception(13, 0));
    hardware.refuse_entry = true;
    guest.enter();
    hardware.refuse_entry = false;
    EXPECT_EQ(guest.backend.injecting(), exception(13, 0));
    guest.run(ExitCode::invalid);
    EXPECT_EQ(guest.backend.injecting(), exception(13, 0));
    guest.run(ExitCode::intr, [](Vmcb &v) { EXPECT_TRUE(v.control.event_inj & valid); });
}

TEST_F(SvmEvents, AnInterruptedInjectionComesBackAsItWas) {
    power();
    Guest guest;
    guest.load(0);
    for (const Event &e : {Event{HWV_EVENT_INTERRUPT, 0x41}, Event{HWV_EVENT_NMI, 2}, exception(3),
                           exception(14, 7)}) {
        guest.backend.inject(e);
        const RawExit raw = guest.run(ExitCode::npf, [](Vmcb &v) {
            v.control.exit_int_info = v.control.event_inj;
            v.control.event_inj = 0; // as some implementations do
        });
        EXPECT_TRUE(raw.own_event);
        EXPECT_EQ(decode(raw).delivering, e);
    }
}

TEST_F(SvmEvents, TheGuestsOwnInterruptedInt3RunsAgain) {
    power();
    Guest guest;
    guest.load(0);
    const RawExit raw =
        guest.run(ExitCode::npf, [](Vmcb &v) { v.control.exit_int_info = valid | 3u << 8 | 3; });
    EXPECT_FALSE(raw.own_event);
    const Event again = decode(raw).delivering;
    EXPECT_EQ(again, (Event{HWV_EVENT_SOFTWARE, 3}));
    guest.backend.inject(again);
    const std::uint64_t rip = guest.backend.rip();
    guest.run(ExitCode::intr, [&](Vmcb &v) {
        EXPECT_EQ(v.control.event_inj, 0u);
        EXPECT_EQ(v.save.rip, rip);
    });
}

TEST_P(SvmNrips, SoftwareInterruptsReturnBehindTheInstruction) {
    const bool nrips = GetParam();
    Guest guest;
    guest.load(0);
    guest.backend.set_rip(0x1000);
    guest.backend.inject({HWV_EVENT_SOFTWARE, 0x80, false, 2});
    const RawExit raw = guest.run(ExitCode::npf, [&](Vmcb &v) {
        EXPECT_EQ(v.control.event_inj, valid | 4u << 8 | 0x80);
        if (nrips)
            EXPECT_EQ(v.save.rip, 0x1000u);
        else
            EXPECT_EQ(v.save.rip, 0x1002u);
        v.control.exit_int_info = v.control.event_inj; // and was not delivered
    });
    EXPECT_EQ(guest.backend.rip(), 0x1000u);
    EXPECT_EQ(raw.rip, 0x1000u);
    EXPECT_EQ(decode(raw).delivering, (Event{HWV_EVENT_SOFTWARE, 0x80, false, 2}));
    guest.backend.put();
}

TEST_F(SvmEvents, TheInterruptWindowIsAVirtualInterruptThatIsIntercepted) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.want_interrupt_window(true, 16);
    EXPECT_TRUE(guest.intercepts(ExitCode::vintr));
    EXPECT_EQ(guest.control().int_ctl & (int_ctl::v_irq | int_ctl::v_ign_tpr),
              int_ctl::v_irq | int_ctl::v_ign_tpr);
    guest.run(ExitCode::vintr);
    guest.backend.want_interrupt_window(false, 0);
    EXPECT_FALSE(guest.control().int_ctl & int_ctl::v_irq);
    guest.run(ExitCode::intr);
}

TEST_F(SvmEvents, APriorityAboveTheTprIsCompared) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_tpr(5);
    guest.backend.want_interrupt_window(true, 6);
    const std::uint64_t c = guest.control().int_ctl;
    EXPECT_TRUE(c & int_ctl::v_irq);
    EXPECT_FALSE(c & int_ctl::v_ign_tpr);
    EXPECT_EQ((c & int_ctl::v_prio) >> int_ctl::v_prio_shift, 6u);
    EXPECT_FALSE(guest.intercepts(ExitCode::cr_write + 8));
}

TEST_F(SvmEvents, APriorityThatTheTprHoldsWaitsForCr8) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_tpr(5);
    for (std::uint8_t priority : {4, 5}) {
        guest.backend.want_interrupt_window(true, priority);
        EXPECT_FALSE(guest.control().int_ctl & int_ctl::v_irq);
        EXPECT_TRUE(guest.intercepts(ExitCode::cr_write + 8));
    }
    guest.backend.want_interrupt_window(false, 0);
    EXPECT_FALSE(guest.intercepts(ExitCode::cr_write + 8));
}

TEST_F(SvmEvents, TheShadowIsTakenForTheStricterKind) {
    power();
    Guest guest;
    guest.load(0);
    EXPECT_EQ(guest.backend.shadow(), 0);
    guest.backend.set_shadow(HWV_SHADOW_STI);
    EXPECT_EQ(guest.backend.shadow(), HWV_SHADOW_STI | HWV_SHADOW_MOV_SS);
    EXPECT_EQ(guest.control().int_state, 1u);
    guest.backend.set_shadow(0);
    EXPECT_EQ(guest.control().int_state, 0u);
}

// ---- NMIs ----

// The guest in its NMI handler.
void deliver_nmi(Guest &guest) {
    guest.backend.inject({HWV_EVENT_NMI, 2});
    guest.run(ExitCode::intr, [](Vmcb &v) {
        v.save.rip = 0x5000;
        if (v.control.int_ctl & int_ctl::v_nmi_enable) v.control.int_ctl |= int_ctl::v_nmi_mask;
    });
}

TEST_F(SvmEvents, AnNmiBlocksTheNextUntilIretIsDone) {
    power();
    Guest guest;
    guest.load(0);
    EXPECT_FALSE(guest.backend.nmi_blocked());
    deliver_nmi(guest);
    EXPECT_TRUE(guest.backend.nmi_blocked());
    EXPECT_TRUE(guest.intercepts(ExitCode::iret));
    RawExit raw = guest.run(ExitCode::iret, [](Vmcb &v) { v.save.rip = 0x5010; });
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_NMI_WINDOW);
    EXPECT_TRUE(guest.backend.nmi_blocked()); // the IRET is still to come
    EXPECT_FALSE(guest.intercepts(ExitCode::iret));
    guest.run(ExitCode::intr); // before it was executed
    EXPECT_TRUE(guest.backend.nmi_blocked());
    guest.run(ExitCode::intr, [](Vmcb &v) { v.save.rip = 0x1000; });
    EXPECT_FALSE(guest.backend.nmi_blocked());
    EXPECT_FALSE(guest.intercepts(ExitCode::iret));
}

TEST_P(SvmVnmi, AWaitingNmiStepsOverTheIret) {
    const bool vnmi = GetParam();
    Guest guest;
    guest.load(0);
    deliver_nmi(guest);
    EXPECT_EQ(guest.intercepts(ExitCode::iret), !vnmi); // with vNMI only for a window
    guest.backend.want_nmi_window(true);
    EXPECT_TRUE(guest.intercepts(ExitCode::iret));
    guest.run(ExitCode::iret, [](Vmcb &v) { v.save.rip = 0x5010; });
    const RawExit raw = guest.run(ExitCode::exception + 1, [](Vmcb &v) {
        EXPECT_TRUE(v.save.rflags & rflags::tf);
        v.save.rip = 0x1000; // IRET done: flags are the guest's
        v.save.rflags = rflags::fixed;
        v.save.dr6 |= 1u << 14;
        v.control.int_ctl &= ~int_ctl::v_nmi_mask;
    });
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_NMI_WINDOW);
    EXPECT_FALSE(guest.backend.nmi_blocked());
    EXPECT_EQ(guest.backend.debug(6), 0xffff'0ff0u);
    EXPECT_EQ(guest.backend.rflags(), rflags::fixed);
    guest.backend.want_nmi_window(false);
    guest.run(ExitCode::intr, [](Vmcb &v) { EXPECT_FALSE(v.save.rflags & rflags::tf); });
    guest.backend.put();
}

TEST_F(SvmEvents, AnNmiBehindAnotherEventIsNotForgotten) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.want_nmi_window(true);
    guest.backend.inject({HWV_EVENT_INTERRUPT, 0x40});
    guest.run(ExitCode::intr);
    EXPECT_EQ(host.kicks, 1u); // the guest exits before the handler's first instruction
    guest.run(ExitCode::intr);
    EXPECT_EQ(host.kicks, 1u);
}

TEST_F(SvmEvents, TheStepIsInvisibleAtAnyOtherExit) {
    power();
    Guest guest;
    guest.load(0);
    deliver_nmi(guest);
    guest.backend.want_nmi_window(true);
    guest.run(ExitCode::iret, [](Vmcb &v) { v.save.rip = 0x5010; });
    guest.run(ExitCode::npf, [](Vmcb &v) {
        EXPECT_TRUE(v.save.rflags & rflags::tf);
    }); // the IRET's stack is not there
    EXPECT_FALSE(guest.backend.rflags() & rflags::tf);
    EXPECT_TRUE(guest.backend.nmi_blocked());
    guest.run(ExitCode::invalid);
    EXPECT_FALSE(guest.backend.rflags() & rflags::tf);
}

TEST_F(SvmEvents, TheGuestsOwnSingleStepStaysItsOwn) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_shadow(HWV_SHADOW_MOV_SS);
    guest.backend.set_rflags(rflags::fixed | rflags::tf);
    guest.backend.want_nmi_window(true);
    const RawExit raw = guest.run(ExitCode::exception + 1, [](Vmcb &v) {
        v.save.dr6 |= 1u << 14;
        v.control.int_state = 0;
    });
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_EXCEPTION);
    EXPECT_TRUE(guest.backend.rflags() & rflags::tf);
    EXPECT_TRUE(guest.backend.debug(6) & 1u << 14);
}

TEST_F(SvmEvents, AnInterruptShadowIsSteppedOver) {
    power();
    Guest guest;
    guest.load(0);
    guest.backend.set_shadow(HWV_SHADOW_MOV_SS);
    guest.backend.want_nmi_window(true);
    const RawExit raw = guest.run(ExitCode::exception + 1, [](Vmcb &v) {
        EXPECT_TRUE(v.save.rflags & rflags::tf);
        v.save.dr6 |= 1u << 14;
        v.control.int_state = 0;
        v.save.rip += 3;
    });
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_NMI_WINDOW);
    EXPECT_FALSE(guest.backend.rflags() & rflags::tf);
}

TEST_P(SvmVnmi, BlockingIsReadAndWrittenLikeAnyState) {
    const bool vnmi = GetParam();
    Guest guest;
    guest.load(0);
    guest.backend.set_nmi_blocked(true);
    EXPECT_TRUE(guest.backend.nmi_blocked());
    EXPECT_EQ((guest.control().int_ctl & int_ctl::v_nmi_mask) != 0, vnmi);
    guest.backend.set_nmi_blocked(false);
    EXPECT_FALSE(guest.backend.nmi_blocked());
    EXPECT_FALSE(guest.intercepts(ExitCode::iret));
    guest.backend.put();
}

} // namespace
