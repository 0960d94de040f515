// SPDX-License-Identifier: GPL-2.0-only
// A guest's local APIC in x2APIC mode on a CPU that delivers interrupts itself: nothing is
// injected, no window opened, and an end of interrupt is nobody's but the guest's, unless somebody
// waits for it.
#include "vmx/apic.hpp"

namespace hwv::vmx {
namespace {

TEST_F(VmxApic, TheCpuDeliversAndTheGuestEndsWithoutAnExit) {
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_TRUE(on(v));
        EXPECT_EQ(vmx.delivered, 0u) << "nothing is injected";
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        EXPECT_EQ(v[field::guest_interrupt_status], 0u);
    });
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(read(0x812), 0u);
    EXPECT_EQ(vcpu->apic.pending(), 0);
}

TEST_F(VmxApic, WhatArrivesWhileItRunsIsDeliveredAtTheNextEntry) {
    interrupts(true);
    does(
        [this](fake::VirtualApic &, fake::FakeVmcs &) {
            (void)vcpu->apic.accept(0x41, false);
            (void)vcpu->apic.accept(0x62, false);
            vcpu->ask(request::event);
        },
        false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.interrupts, Vectors{0x62});
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        guest.sti();
        EXPECT_EQ(vmx.interrupts, (Vectors{0x62, 0x41}));
    });
    ASSERT_EQ(go(), 0);
    EXPECT_GE(host.kicks, 1u) << "a running guest is taken out of its mode";
    EXPECT_EQ(read(0x812), 1u << 1) << "0x41 is in service";
}

TEST_F(VmxApic, AGuestThatTakesNoneNeedsNoWindow) {
    interrupts(false);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_FALSE(window(v));
        EXPECT_TRUE(vmx.interrupts.empty());
        guest.sti();
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, TaskPriorityIsTheCpusToJudge) {
    write(tpr, 0x53);
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::tpr_threshold], 0u);
        EXPECT_FALSE(window(v));
        EXPECT_EQ(guest.page().get(reg::tpr), 0x53u) << "with its sub-class";
        EXPECT_TRUE(vmx.interrupts.empty());
        EXPECT_TRUE(guest.wrmsr(tpr, 0x31));
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(page.exit.cr8, 3u);
    EXPECT_EQ(read(tpr), 0x31u);
}

TEST_F(VmxApic, TheUserSetsTaskPriorityOnThePage) {
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &) {
        EXPECT_EQ(guest.page().get(reg::tpr), 0x50u);
        EXPECT_TRUE(vmx.interrupts.empty());
    });
    ASSERT_EQ(
        run({.flags = HWV_REPLY_CR8, .dirty = HWV_REGS_GPR, .wanted = HWV_REGS_ALL, .cr8 = 5}), 0);
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(run({.flags = HWV_REPLY_CR8, .wanted = HWV_REGS_ALL, .cr8 = 0}), 0);
}

TEST_F(VmxApic, AnEoiThatSomebodyWaitsForLeaves) {
    hwv_eoi_exits wanted{};
    wanted.vectors[1] = 1ull << (0x62 - 64);
    vm->set_eoi_exits(wanted);
    interrupts(true);
    (void)vcpu->apic.accept(0x62, true);
    does(
        [](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            v[field::guest_rip] = 0xfff8; // behind the WRMSR
            EXPECT_FALSE(guest.wrmsr(eoi, 0));
            EXPECT_EQ(v[field::exit_reason], number(ExitCode::virtualized_eoi));
        },
        false);
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_EOI});
    EXPECT_EQ(page.exit.eoi_vector, 0x62u);
    EXPECT_EQ(page.regs.rip, 0xfff8u);
    EXPECT_EQ(host.resampled, Vectors{0x62});
    EXPECT_EQ(read(0x813), 0u);
}

TEST_F(VmxApic, AnEoiForAResamplerOnlyGoesOn) {
    interrupts(true);
    (void)vcpu->apic.accept(0x62, true);
    does([](fake::VirtualApic &guest, fake::FakeVmcs &) { (void)guest.wrmsr(eoi, 0); }, false);
    does([](fake::VirtualApic &guest, fake::FakeVmcs &) {
        EXPECT_TRUE(guest.wrmsr(self_ipi, 0x62)) << "to show that the APIC is as it was";
    });
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(host.resampled, Vectors{0x62});
}

TEST_F(VmxApic, AnEventThatIsInjectedGoesFirst) {
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    EXPECT_TRUE(vcpu->interrupt({.kind = HWV_INTERRUPT_NMI, .vector = 0}));
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.delivered, event::valid | event::nmi << event::type_shift | 2);
        EXPECT_TRUE(vmx.interrupts.empty());
        guest.sti();
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(go(), 0);
}

// "Information for VM Exits That Occur During Event Delivery": it is in service already.
TEST_F(VmxApic, ADeliveryThatAnExitInterruptedIsInjected) {
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    does(
        [this](fake::VirtualApic &, fake::FakeVmcs &v) {
            EXPECT_EQ(vmx.interrupts, Vectors{0x41});
            v[field::guest_rflags] |= rflags::if_; // not delivered yet
            v[field::exit_reason] = number(ExitCode::ept_violation);
            v[field::qualification] = 0x181;
            v[field::guest_physical] = 0x8410; // no memory
            v[field::vectoring] = event::valid | 0x41;
        },
        false);
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_MMIO});
    EXPECT_EQ(page.regs.event.vector, 0x41);
    (void)vcpu->apic.accept(0x62, false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_EQ(vmx.delivered, event::valid | 0x41);
        EXPECT_EQ(vmx.interrupts, Vectors{0x41}) << "one after the other";
        EXPECT_EQ(v[field::guest_interrupt_status], 0x4162u);
        guest.sti();
        EXPECT_EQ(vmx.interrupts, (Vectors{0x41, 0x62}));
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        EXPECT_EQ(v[field::guest_interrupt_status], 0u);
    });
    ASSERT_EQ(run(), 0);
}

TEST_F(VmxApic, AHaltWithARequestOnThePageIsNone) {
    interrupts(false);
    does(
        [](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            EXPECT_TRUE(guest.wrmsr(self_ipi, 0x41));
            v[field::guest_rflags] |= rflags::if_; // STI, and HLT in its shadow
            v[field::exit_reason] = number(ExitCode::hlt);
            v[field::exit_instruction_length] = 1;
        },
        false);
    host.block = [] {
        ADD_FAILURE() << "waits";
        return -1;
    };
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(go(), 0);
    host.block = nullptr;
}

TEST_F(VmxApic, AHaltedGuestIsWokenByWhatArrives) {
    interrupts(true);
    does(
        [](fake::VirtualApic &, fake::FakeVmcs &v) {
            v[field::exit_reason] = number(ExitCode::hlt);
            v[field::exit_instruction_length] = 1;
        },
        false);
    host.block = [this] {
        host.block = nullptr;
        moves_to(1);
        (void)vcpu->apic.accept(0x41, false);
        return 0;
    };
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, AnIpiLeavesThePageWithTheCpu) {
    interrupts(false);
    does(
        [this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            EXPECT_TRUE(guest.wrmsr(tpr, 0x13));
            EXPECT_TRUE(guest.wrmsr(self_ipi, 0x41));
            EXPECT_FALSE(guest.wrmsr(icr, 0));
            vcpu->gprs[HWV_RCX] = icr;
            vcpu->gprs[HWV_RAX] = 0x4'4052; // fixed, to self
            vcpu->gprs[HWV_RDX] = 0;
            v[field::exit_instruction_length] = 2;
        },
        false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::guest_interrupt_status], 0x52u);
        EXPECT_EQ(guest.page().get(reg::tpr), 0x13u) << "and TPR whole";
        std::uint64_t value = 0;
        EXPECT_TRUE(guest.rdmsr(icr, value));
        EXPECT_EQ(value, 0x4'4052u);
        guest.sti();
        EXPECT_EQ(vmx.interrupts, Vectors{0x52});
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, AnIllegalSelfIpiIsAnError) {
    interrupts(false);
    does([](fake::VirtualApic &guest,
            fake::FakeVmcs &) { EXPECT_FALSE(guest.wrmsr(self_ipi, 0xf)); },
         false);
    is_kicked();
    ASSERT_EQ(go(), 0);
    write(0x828, 0);
    EXPECT_EQ(read(0x828), 1u << 5);
}

TEST_F(VmxApic, AnInterruptWindowForTheUserHoldsTheCpuBack) {
    interrupts(false);
    (void)vcpu->apic.accept(0x41, false);
    does(
        [this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            EXPECT_TRUE(window(v));
            guest.sti();
            EXPECT_TRUE(vmx.interrupts.empty());
            v[field::exit_reason] = number(ExitCode::interrupt_window);
        },
        false);
    ASSERT_EQ(run({.flags = HWV_REPLY_INTERRUPT_WINDOW, .wanted = HWV_REGS_ALL}), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_INTERRUPT_WINDOW});
    does([this](fake::VirtualApic &, fake::FakeVmcs &v) {
        EXPECT_FALSE(window(v));
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(run(), 0);
}

TEST_F(VmxApic, AnInstructionThatTheGuestStepsPastIsNotInterrupted) {
    interrupts(true);
    vm->set_traps({.instructions = trap::tables});
    does(
        [this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            EXPECT_TRUE(guest.wrmsr(tpr, 0x50));
            EXPECT_TRUE(guest.wrmsr(self_ipi, 0x41));
            guest.page().set(reg::tpr, 0);
            (void)vcpu->apic.accept(0x62, false);
            v[field::exit_reason] = number(ExitCode::gdtr_idtr);
            v[field::exit_instruction_length] = 3;
        },
        false);
    does(
        [this](fake::VirtualApic &, fake::FakeVmcs &v) {
            EXPECT_FALSE(v[field::secondary_controls] & apic_controls);
            EXPECT_TRUE(v[field::primary_controls] & primary::monitor_trap_flag);
            EXPECT_TRUE(vmx.interrupts.empty());
            EXPECT_EQ(vmx.delivered, 0u);
            v[field::guest_rip] += 3;
            v[field::exit_reason] = number(ExitCode::monitor_trap);
        },
        false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_TRUE(on(v));
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        guest.sti();
        EXPECT_EQ(vmx.interrupts, (Vectors{0x62, 0x41}));
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, ATrapOnARegisterComesFirst) {
    interrupts(true);
    Traps traps;
    traps.add({.first = eoi, .last = eoi, .read = true, .write = true});
    vm->set_traps(traps);
    (void)vcpu->apic.accept(0x41, false);
    does(
        [this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            std::uint64_t value = 1;
            EXPECT_EQ(vmx.interrupts, Vectors{0x41});
            EXPECT_TRUE(guest.rdmsr(tpr, value));
            EXPECT_FALSE(guest.wrmsr(eoi, 0));
            EXPECT_EQ(v[field::exit_reason], number(ExitCode::wrmsr));
            vcpu->gprs[HWV_RCX] = eoi;
            vcpu->gprs[HWV_RAX] = vcpu->gprs[HWV_RDX] = 0;
        },
        false);
    does([](fake::VirtualApic &, fake::FakeVmcs &v) {
        EXPECT_EQ(v[field::guest_interrupt_status], 0u) << "ended";
    });
    ASSERT_EQ(go(), 0);
    ASSERT_TRUE(vcpu->apic.set_base(0xfee0'0100)); // and closed with the mode
    is_kicked();
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, PvEoiIsNotArmed) {
    vcpu->pv.eoi = 0x1000 | cpu::pv_enabled;
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
        EXPECT_FALSE(vcpu->pv_eoi.armed());
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, OtherModesAreServedAsEver) {
    interrupts(true);
    ASSERT_TRUE(vcpu->apic.set_base(0xfee0'0100)); // off
    ASSERT_TRUE(vcpu->apic.set_base(0xfee0'0900));
    vcpu->apic.write(reg::svr, 0x1ff);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &, fake::FakeVmcs &v) {
        EXPECT_FALSE(v[field::secondary_controls] & apic_controls);
        EXPECT_EQ(vmx.delivered, event::valid | 0x41);
        EXPECT_TRUE(vmx.interrupts.empty());
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxApic, AnInitKeepsTheModeAndForgetsTheRest) {
    interrupts(false);
    (void)vcpu->apic.accept(0x41, false);
    does(
        [this](fake::VirtualApic &, fake::FakeVmcs &v) {
            EXPECT_EQ(v[field::guest_interrupt_status], 0x41u);
            EXPECT_TRUE(vcpu->interrupt({.kind = HWV_INTERRUPT_INIT, .vector = 0}));
        },
        false);
    does([](fake::VirtualApic &, fake::FakeVmcs &v) {
        EXPECT_TRUE(on(v));
        EXPECT_EQ(v[field::guest_interrupt_status], 0u);
    });
    ASSERT_EQ(go(), 0);
}

struct VmxNoApic : VmxApic {
    void SetUp() override {
        no_apicv = true;
        VmxApic::SetUp();
    }
};

TEST_F(VmxNoApic, WhereItIsOffInterruptsAreInjected) {
    interrupts(true);
    (void)vcpu->apic.accept(0x41, false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_FALSE(v[field::secondary_controls] & apic_controls);
        EXPECT_EQ(vmx.delivered, event::valid | 0x41);
        EXPECT_FALSE(guest.wrmsr(eoi, 0));
        vcpu->gprs[HWV_RCX] = eoi;
    });
    ASSERT_EQ(go(), 0);
}

} // namespace
} // namespace hwv::vmx
