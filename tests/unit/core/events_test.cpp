// SPDX-License-Identifier: GPL-2.0-only
// HWV_RUN over a scripted vendor: events into the guest, windows, requests of other threads, HLT.
#include "core/machine.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

constexpr Event interrupt(std::uint8_t vector) { return {HWV_EVENT_INTERRUPT, vector}; }
constexpr Event nmi{HWV_EVENT_NMI, vector::nmi};

class Events : public CoreMachine {
  protected:
    void SetUp() override {
        CoreMachine::SetUp();
        ready();
    }
    // The local APIC takes interrupts, and so does the guest.
    void ready() {
        (void)vcpu->apic.write(0xf0, 0x1ff);
        interrupts(true);
    }
    void interrupts(bool on) { backend().rflags_ = rflags::fixed | (on ? rflags::if_ : 0); }
    void exception_exit(const Event &e, const Event &delivering) {
        Exit exit{.reason = HWV_EXIT_EXCEPTION, .delivering = delivering};
        exit.exception = {.vector = e.vector,
                          .has_error_code = e.has_error_code,
                          .software_length = static_cast<std::uint8_t>(e.length),
                          .error_code = e.error_code,
                          .address = 0xdead'b000};
        exits(exit);
    }
    void ask(std::uint32_t kind, std::uint32_t number = 0) {
        ASSERT_TRUE(vcpu->interrupt({.kind = kind, .vector = number}));
    }
};

TEST_F(Events, an_interrupted_event_goes_in_again) {
    exits(Exit{.reason = HWV_EXIT_HOST_INTERRUPT, .delivering = interrupt(0x31)});
    exits(Exit{.reason = HWV_EXIT_HOST_INTERRUPT,
               .delivering = {HWV_EVENT_SOFTWARE, 0x80, false, 2}});
    exits(Exit{.reason = HWV_EXIT_HOST_INTERRUPT, .delivering = exception(14, 2)});
    run_and_kick();
    EXPECT_EQ(delivered(0), Event{});
    EXPECT_EQ(delivered(1), interrupt(0x31));
    EXPECT_EQ(delivered(2), (Event{HWV_EVENT_SOFTWARE, 0x80, false, 2}));
    EXPECT_EQ(delivered(3), exception(14, 2));
}

TEST_F(Events, nothing_overtakes_an_interrupted_event) {
    ask(HWV_INTERRUPT_NMI);
    exits(Exit{.reason = HWV_EXIT_HOST_INTERRUPT, .delivering = exception(13, 8)});
    exits(HWV_EXIT_HOST_INTERRUPT);
    run_and_kick();
    EXPECT_EQ(delivered(0), nmi);
    EXPECT_EQ(delivered(1), exception(13, 8));
}

TEST_F(Events, an_instruction_that_raised_its_exception_returns_behind_it) {
    const Event int1{HWV_EVENT_SOFTWARE, vector::debug, false, 1};
    exception_exit(int1, {});
    exits(HWV_EXIT_HOST_INTERRUPT);
    run_and_kick();
    EXPECT_EQ(delivered(1), int1);
}

TEST_F(Events, an_interrupt_that_an_exception_overtook_comes_later) {
    exception_exit(exception(14, 2), interrupt(0x31));
    does([this](FakeBackend &, Gprs &) {
        interrupts(false); // the gate of the exception
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    does([this](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.interrupt_window, 16);
        interrupts(true);
        return RawExit{Exit{.reason = HWV_EXIT_INTERRUPT_WINDOW}, {}};
    });
    exits(HWV_EXIT_HOST_INTERRUPT);
    run_and_kick();
    EXPECT_EQ(delivered(1), exception(14, 2));
    EXPECT_EQ(delivered(2), Event{});
    EXPECT_EQ(delivered(3), interrupt(0x31));
    EXPECT_EQ(delivered(4), Event{}) << "delivered twice";
    EXPECT_EQ(backend().cr2(), 0xdead'b000u);
}

TEST_F(Events, exceptions_of_exceptions) {
    exception_exit(exception(14, 2), exception(14, 0));
    exception_exit(exception(13, 0), exception(8, 0));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(delivered(1), exception(8, 0));
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_SHUTDOWN});
    EXPECT_EQ(page.regs.valid, HWV_REGS_ALL);
    EXPECT_EQ(page.regs.event.mp_state, HWV_MP_SHUTDOWN);
    ASSERT_EQ(run(), 0); // and again, without an entry
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_SHUTDOWN});
    EXPECT_EQ(backend().delivered.size(), 2u);
    EXPECT_EQ(hwv::fake::host().triple_faults, 1u) << "one that is only repeated is no new one";
}

TEST_F(Events, an_interrupt_waits_for_its_window) {
    interrupts(false);
    ASSERT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
    does([this](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.interrupt_window, 5);
        interrupts(true);
        return RawExit{Exit{.reason = HWV_EXIT_INTERRUPT_WINDOW}, {}};
    });
    run_and_kick();
    EXPECT_EQ(delivered(0), Event{});
    EXPECT_EQ(delivered(1), interrupt(0x51));
    EXPECT_EQ(backend().interrupt_window, 0);
}

TEST_F(Events, a_vector_below_the_task_priority_opens_its_class) {
    run_and_kick({.flags = HWV_REPLY_CR8, .cr8 = 6});
    ASSERT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
    does([](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.interrupt_window, 5);
        b.tpr_ = 4;
        return RawExit{Exit{.reason = HWV_EXIT_INTERRUPT_WINDOW}, {}};
    });
    run_and_kick();
    EXPECT_EQ(delivered(1), Event{});
    EXPECT_EQ(delivered(2), interrupt(0x51));
}

TEST_F(Events, the_user_asks_for_a_window) {
    interrupts(false);
    does([this](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.interrupt_window, 16);
        interrupts(true);
        b.shadow_ = HWV_SHADOW_STI;
        return RawExit{Exit{.reason = HWV_EXIT_INTERRUPT_WINDOW}, {}};
    });
    does([](FakeBackend &b, Gprs &) {
        b.shadow_ = 0;
        return RawExit{Exit{.reason = HWV_EXIT_INTERRUPT_WINDOW}, {}};
    });
    ASSERT_EQ(run({.flags = HWV_REPLY_INTERRUPT_WINDOW}), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_INTERRUPT_WINDOW});
    EXPECT_EQ(page.exit.flags, HWV_EXIT_FLAG_INTERRUPTIBLE | HWV_EXIT_FLAG_IF);
    exits(HWV_EXIT_INTERRUPT_WINDOW); // not asked again: not told
    run_and_kick();
}

TEST_F(Events, extint_of_the_reply) {
    make(HWV_VM_NO_APIC);
    interrupts(true);
    exits(HWV_EXIT_HOST_INTERRUPT);
    run_and_kick({.flags = HWV_REPLY_EXTINT, .extint_vector = 0x22});
    EXPECT_EQ(delivered(0), interrupt(0x22));
    EXPECT_EQ(delivered(1), Event{});
    interrupts(false);
    run_and_kick({.flags = HWV_REPLY_EXTINT, .extint_vector = 0x23});
    EXPECT_EQ(page.exit.flags & HWV_EXIT_FLAG_INTERRUPTIBLE, 0u);
    EXPECT_EQ(run({.flags = HWV_REPLY_EXTINT, .extint_vector = 0x24}), -11);
    interrupts(true);
    backend().delivered.clear();
    run_and_kick();
    EXPECT_EQ(delivered(0), interrupt(0x23));
}

TEST_F(Events, an_nmi_waits_for_its_window) {
    backend().nmi_blocked_ = true;
    ask(HWV_INTERRUPT_NMI);
    does([](FakeBackend &b, Gprs &) {
        EXPECT_TRUE(b.nmi_window);
        b.nmi_blocked_ = false;
        return RawExit{Exit{.reason = HWV_EXIT_NMI_WINDOW}, {}};
    });
    run_and_kick();
    EXPECT_EQ(delivered(0), Event{});
    EXPECT_EQ(delivered(1), nmi);
    EXPECT_FALSE(backend().nmi_window);
}

TEST_F(Events, an_nmi_comes_before_an_interrupt) {
    ASSERT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
    ask(HWV_INTERRUPT_NMI);
    exits(HWV_EXIT_HOST_INTERRUPT);
    run_and_kick();
    EXPECT_EQ(delivered(0), nmi);
    EXPECT_EQ(delivered(1), interrupt(0x51));
}

TEST_F(Events, a_kick_leaves_other_requests) {
    const unsigned before = backend().flushes;
    vcpu->ask(request::kick | request::flush);
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_KICKED});
    EXPECT_TRUE(backend().delivered.empty());
    EXPECT_EQ(backend().flushes, before);
    run_and_kick();
    EXPECT_EQ(backend().flushes, before + 1);
    EXPECT_EQ(page.exit.sequence, 2u);
}

TEST_F(Events, a_request_takes_the_vcpu_out_of_the_guest) {
    does([this](FakeBackend &, Gprs &) {
        vcpu->ask(request::event);
        EXPECT_EQ(host.kicks, 1u);
        vcpu->flush_and_wait();
        EXPECT_EQ(host.kicks_waited, 1u);
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    run_and_kick();
    vcpu->ask(request::event);
    EXPECT_EQ(host.kicks, 2u); // one of them is_kicked()'s; none from outside
}

TEST_F(Events, init_and_start_up) {
    make(0, 1);
    backend().cr0_ = cr0::pe | cr0::cd;
    host.block = [this] {
        host.block = nullptr;
        ask(HWV_INTERRUPT_INIT);
        ask(HWV_INTERRUPT_SIPI, 0x9a);
        return 0;
    };
    vcpu->gprs[HWV_RBX] = 5;
    run_and_kick();
    EXPECT_EQ(backend().segment(HWV_CS).base, 0x9a000u);
    EXPECT_EQ(backend().segment(HWV_CS).selector, 0x9a00u);
    EXPECT_EQ(backend().rip(), 0u);
    EXPECT_EQ(backend().cr0(), cr0::et | cr0::cd);
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 0u);
    EXPECT_EQ(vcpu->gprs[HWV_RDX], 0x600u); // the processor's version
    ask(HWV_INTERRUPT_SIPI, 0x10);          // running: ignored
    run_and_kick();
    EXPECT_EQ(backend().segment(HWV_CS).base, 0x9a000u);
}

TEST_F(Events, eoi_of_a_level_interrupt) {
    for (const bool asked : {false, true}) {
        hwv_eoi_exits eois{};
        if (asked) eois.vectors[1] = 1ull << (0x51 - 64);
        vm->set_eoi_exits(eois);
        backend().rip_ = 0x1000;
        backend().delivered.clear();
        host.resampled.clear();
        ASSERT_EQ(vcpu->apic.accept(0x51, true), cpu::Acceptance::accepted);
        exits(fault_exit(0xfee0'00b0, true), {0x89, 0x07}); // mov [rdi], eax
        if (!asked) is_kicked();
        ASSERT_EQ(run(), 0);
        EXPECT_EQ(page.exit.reason, unsigned{asked ? HWV_EXIT_EOI : HWV_EXIT_KICKED});
        if (asked) {
            EXPECT_EQ(page.exit.eoi_vector, 0x51u);
        }
        EXPECT_EQ(delivered(0), interrupt(0x51));
        EXPECT_EQ(host.resampled, std::vector<std::uint8_t>{0x51});
        EXPECT_EQ(backend().rip(), 0x1002u);
    }
}

TEST_F(Events, eoi_of_an_edge_is_not_told) {
    vm->set_eoi_exits({.vectors = {~0ull, ~0ull, ~0ull, ~0ull}});
    ASSERT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
    exits(fault_exit(0xfee0'00b0, true), {0x89, 0x07});
    run_and_kick();
    EXPECT_TRUE(host.resampled.empty());
}

TEST_F(Events, halt_ends_with_an_interrupt) {
    host.block = [this] {
        EXPECT_FALSE(vcpu->runnable());
        EXPECT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
        EXPECT_TRUE(vcpu->runnable());
        return 0;
    };
    exits(HWV_EXIT_HLT, 1);
    run_and_kick();
    EXPECT_EQ(delivered(1), interrupt(0x51));
    EXPECT_EQ(backend().rip(), 0x1001u);
    EXPECT_EQ(vcpu->mp_state, HWV_MP_RUNNING);
}

TEST_F(Events, halt_opens_the_window_that_the_user_waits_for) {
    make(HWV_VM_NO_APIC);
    interrupts(true);
    exits(HWV_EXIT_HLT, 1); // behind STI, whose shadow kept the window shut
    ASSERT_EQ(run({.flags = HWV_REPLY_INTERRUPT_WINDOW}), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_INTERRUPT_WINDOW});
    EXPECT_TRUE(page.exit.flags & HWV_EXIT_FLAG_INTERRUPTIBLE);
    EXPECT_EQ(vcpu->mp_state, HWV_MP_HALTED);
    run_and_kick({.flags = HWV_REPLY_EXTINT, .extint_vector = 0x70});
    EXPECT_EQ(delivered(1), interrupt(0x70));
    EXPECT_EQ(backend().rip(), 0x1001u);
}

TEST_F(Events, halt_with_interrupts_off_opens_no_window) {
    interrupts(false);
    exits(HWV_EXIT_HLT, 1);
    EXPECT_EQ(run({.flags = HWV_REPLY_INTERRUPT_WINDOW}), -4);
}

TEST_F(Events, halt_with_interrupts_off_ends_with_an_nmi) {
    interrupts(false);
    unsigned sleeps = 0;
    host.block = [&] {
        if (sleeps++) {
            EXPECT_FALSE(vcpu->runnable());
            ask(HWV_INTERRUPT_NMI);
        } else {
            EXPECT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
        }
        return 0;
    };
    exits(HWV_EXIT_HLT, 1);
    run_and_kick();
    EXPECT_EQ(sleeps, 2u);
    EXPECT_EQ(delivered(1), nmi);
}

TEST_F(Events, a_signal_leaves_the_guest_halted) {
    exits(HWV_EXIT_HLT, 1);
    EXPECT_EQ(run(), -4); // the sleep of a test that wakes nobody
    EXPECT_EQ(vcpu->mp_state, HWV_MP_HALTED);
    EXPECT_EQ(run(), -4);
    EXPECT_EQ(backend().delivered.size(), 1u);
    ASSERT_EQ(vcpu->apic.accept(0x51, false), cpu::Acceptance::accepted);
    run_and_kick();
    EXPECT_EQ(delivered(1), interrupt(0x51));
}

TEST_F(Events, halt_for_the_user) {
    make(HWV_VM_HLT_TO_USER);
    exits(HWV_EXIT_HLT, 1);
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_HLT});
    EXPECT_EQ(backend().rip(), 0x1001u);
    EXPECT_EQ(vcpu->mp_state, HWV_MP_RUNNING);
}

} // namespace
