// SPDX-License-Identifier: GPL-2.0-only
// Interrupts that come while the guest runs: posted where nothing else wants an entry.
#include "vmx/apic.hpp"

namespace hwv::vmx {
namespace {

struct VmxPosted : VmxApic {
    void arrives(std::uint8_t vector, bool level = false) {
        EXPECT_EQ(vm->deliver({.vector = vector, .level = level}, 0), 1u);
    }
    static bool posting(fake::FakeVmcs &v) {
        return v[field::pin_controls] & pin::posted_interrupts;
    }
};

TEST_F(VmxPosted, WhatArrivesWhileItRunsNeedsNoExit) {
    interrupts(true);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
        EXPECT_TRUE(posting(v));
        arrives(0x41);
        EXPECT_EQ(host.posts, 1u);
        EXPECT_FALSE(vcpu->asked());
        EXPECT_TRUE(guest.notified());
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
        arrives(0x62);
        EXPECT_TRUE(guest.notified());
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        guest.sti();
        EXPECT_EQ(vmx.interrupts, (Vectors{0x41, 0x62}));
    });
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(host.posts, 2u);
    EXPECT_EQ(read(0x813), 1u << 2) << "0x62 is in service, once";
    EXPECT_EQ(vcpu->apic.pending(), 0);
}

TEST_F(VmxPosted, ANotificationThatComesTooLateIsTheNextEntrys) {
    interrupts(true);
    does([this](fake::VirtualApic &, fake::FakeVmcs &) { arrives(0x41); }, false);
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.interrupts, Vectors{0x41});
    });
    ASSERT_EQ(go(), 0);
    EXPECT_EQ(host.served.back(), 0xfdu) << "what ended the guest went to its handler";
}

TEST_F(VmxPosted, LevelsTakeItOutForTheEndToBeSeen) {
    interrupts(true);
    for (unsigned i = 0; i < 2; i++) {
        does(
            [this](fake::VirtualApic &, fake::FakeVmcs &) {
                arrives(0x41, true);
                EXPECT_EQ(host.posts, 0u);
                EXPECT_TRUE(vcpu->asked());
            },
            false);
        does([this](fake::VirtualApic &guest, fake::FakeVmcs &) {
            EXPECT_EQ(vmx.interrupts, Vectors{0x41});
            EXPECT_FALSE(guest.wrmsr(eoi, 0));
        });
        ASSERT_EQ(go(), 0);
        interrupts(true);
    }
}

// Between a level's arrival and its kick somebody else may notify.
TEST_F(VmxPosted, ALevelIsNotDeliveredByAnEdgesNotification) {
    interrupts(true);
    does(
        [this](fake::VirtualApic &guest, fake::FakeVmcs &) {
            (void)vcpu->apic.accept(0x62, true);
            (void)vcpu->apic.accept(0x41, false);
            EXPECT_TRUE(guest.notified());
            EXPECT_EQ(vmx.interrupts, Vectors{0x41});
            vcpu->ask(request::event);
        },
        false);
    does([this](fake::VirtualApic &guest, fake::FakeVmcs &) {
        EXPECT_TRUE(guest.wrmsr(eoi, 0));
        guest.sti();
        EXPECT_EQ(vmx.interrupts, (Vectors{0x41, 0x62}));
        EXPECT_FALSE(guest.wrmsr(eoi, 0)) << "somebody waits for the end";
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxPosted, WhatElseArrivesTakesItOut) {
    interrupts(true);
    does(
        [this](fake::VirtualApic &, fake::FakeVmcs &) {
            EXPECT_EQ(vm->deliver({.mode = cpu::DeliveryMode::nmi}, 0), 1u);
            arrives(0x41);
            EXPECT_EQ(host.posts, 0u);
            EXPECT_TRUE(vcpu->asked());
        },
        false);
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.delivered & event::vector, vector::nmi);
    });
    ASSERT_EQ(go(), 0);
}

TEST_F(VmxPosted, InXapicModeTheNotificationIsAnExit) {
    ASSERT_TRUE(vcpu->apic.set_base(0xfee0'0100));
    ASSERT_TRUE(vcpu->apic.set_base(0xfee0'0900));
    (void)vcpu->apic.write(0xf0, 0x1ff);
    interrupts(true);
    does(
        [this](fake::VirtualApic &guest, fake::FakeVmcs &v) {
            EXPECT_FALSE(posting(v));
            arrives(0x41);
            EXPECT_FALSE(guest.notified());
        },
        false);
    does([this](fake::VirtualApic &, fake::FakeVmcs &) {
        EXPECT_EQ(vmx.delivered, event::valid | 0x41);
    });
    ASSERT_EQ(go(), 0);
}

} // namespace
} // namespace hwv::vmx
