// SPDX-License-Identifier: GPL-2.0-only
// The local APIC's priorities, registers and modes against the Intel SDM, "Advanced Programmable Interrupt Controller (APIC)".
#include <gtest/gtest.h>
#include "cpu/apic.hpp"
#include "cpu/fake_machine.hpp"

namespace {

using namespace hwv::cpu;
using Kind = ApicEffect::Kind;

constexpr std::uint32_t svr = 0xf0, tpr = 0x80, ppr = 0xa0, eoi = 0xb0, esr = 0x280, icr = 0x300,
                        icr_high = 0x310, lvt_timer = 0x320, lint0 = 0x350, lint1 = 0x360,
                        lvt_error = 0x370;
constexpr std::uint64_t x2apic_base = 0xfee0'0c00;

class ApicTest : public testing::Test {
  protected:
    ApicTest() {
        fake::reset();
        apic.set_tsc(fake::Machine::tsc_khz, 0);
        apic.reset();
    }
    void enable() { apic.write(svr, 0x1ff); }
    void to_x2apic() { ASSERT_TRUE(apic.set_base(x2apic_base | LocalApic::base_bsp)); }
    // Takes the highest deliverable interrupt as an entry would.
    unsigned serve() {
        const unsigned vector = apic.pending();
        if (vector) apic.acknowledge(static_cast<std::uint8_t>(vector));
        return vector;
    }
    bool write(std::uint32_t msr, std::uint64_t value) {
        return apic.write_msr(msr, value, effect);
    }

    LocalApic apic{0, nullptr};
    ApicEffect effect;
};

TEST_F(ApicTest, state_after_reset) {
    EXPECT_EQ(apic.base(), LocalApic::default_page | LocalApic::base_enable | LocalApic::base_bsp);
    EXPECT_EQ(apic.read(0x20), 0u);
    EXPECT_EQ(apic.read(0x30), 0x5'0014u);
    EXPECT_EQ(apic.read(svr), 0xffu);
    EXPECT_EQ(apic.read(0xe0), 0xffff'ffffu);
    EXPECT_EQ(apic.read(0xd0), 0u);
    for (std::uint32_t lvt = lvt_timer; lvt <= lvt_error; lvt += 0x10)
        EXPECT_EQ(apic.read(lvt), 0x1'0000u) << lvt;
    for (std::uint32_t bitmap = 0x100; bitmap < 0x280; bitmap += 0x10)
        EXPECT_EQ(apic.read(bitmap), 0u);
    EXPECT_EQ(apic.pending(), 0);
    EXPECT_EQ(apic.events(), 0u);
}

TEST_F(ApicTest, software_disabled_accepts_only_nmi_init_sipi) {
    EXPECT_EQ(apic.accept(0x40, false), Acceptance::refused);
    EXPECT_EQ(apic.accept({.mode = DeliveryMode::nmi}), Acceptance::accepted);
    EXPECT_EQ(apic.accept({.mode = DeliveryMode::init}), Acceptance::accepted);
    EXPECT_EQ(apic.accept({.mode = DeliveryMode::start_up, .vector = 0x9f}), Acceptance::accepted);
    std::uint8_t vector = 0;
    EXPECT_TRUE(apic.take_nmi() && apic.take_init() && apic.take_start_up(vector));
    EXPECT_EQ(vector, 0x9f);
    EXPECT_FALSE(apic.take_nmi() || apic.take_init() || apic.take_start_up(vector));
}

TEST_F(ApicTest, highest_vector_first_and_end_in_order) {
    enable();
    for (std::uint8_t vector : {0x31, 0x41, 0x45, 0xfe, 0x3f})
        EXPECT_EQ(apic.accept(vector, false), Acceptance::accepted);
    EXPECT_EQ(apic.accept(0x41, false), Acceptance::coalesced);
    EXPECT_EQ(serve(), 0xfeu);
    EXPECT_EQ(serve(), 0u);
    EXPECT_EQ(apic.read(ppr), 0xf0u);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0xfe);
    EXPECT_EQ(serve(), 0x45u);
    EXPECT_EQ(serve(), 0u) << "same class";
    EXPECT_EQ(apic.accept(0x50, false), Acceptance::accepted);
    EXPECT_EQ(serve(), 0x50u) << "nested";
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x50);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x45);
    EXPECT_EQ(serve(), 0x41u);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x41);
    EXPECT_EQ(serve(), 0x3fu);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x3f);
    EXPECT_EQ(serve(), 0x31u);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x31);
    EXPECT_EQ(apic.write(eoi, 0).kind, Kind::none) << "nothing in service";
    EXPECT_EQ(serve(), 0u);
    EXPECT_EQ(apic.events(), 0u);
}

TEST_F(ApicTest, level_travels_from_message_to_eoi) {
    enable();
    apic.accept(0x60, true);
    apic.accept(0x70, false);
    EXPECT_EQ(apic.read(0x1b0), 1u) << "TMR of 0x60-0x7f";
    serve();
    serve();
    auto done = apic.write(eoi, 0);
    EXPECT_EQ(done.vector, 0x70);
    EXPECT_FALSE(done.level);
    serve();
    done = apic.write(eoi, 0);
    EXPECT_EQ(done.vector, 0x60);
    EXPECT_TRUE(done.level);
}

TEST_F(ApicTest, task_priority_holds_back) {
    enable();
    apic.write(tpr, 0x45);
    apic.accept(0x4f, false);
    EXPECT_EQ(apic.pending(), 0);
    EXPECT_EQ(apic.held_by_tpr(), 0x4f);
    EXPECT_EQ(apic.events(), 0u) << "no busy loop for what cannot be delivered";
    EXPECT_EQ(apic.cr8(), 4);
    apic.set_cr8(3);
    EXPECT_EQ(apic.read(tpr), 0x30u);
    EXPECT_EQ(serve(), 0x4fu);
    EXPECT_EQ(apic.read(ppr), 0x40u);
    apic.write(tpr, 0x4a);
    EXPECT_EQ(apic.read(ppr), 0x4au) << "same class: TPR's sub-class";
    apic.write(tpr, 0x3a);
    EXPECT_EQ(apic.read(ppr), 0x40u);
}

TEST_F(ApicTest, init_keeps_base_and_id) {
    enable();
    to_x2apic();
    apic.accept(0x40, false);
    apic.init();
    EXPECT_TRUE(apic.x2apic());
    EXPECT_EQ(apic.pending(), 0);
    std::uint64_t value = 0;
    EXPECT_TRUE(apic.read_msr(0x80d, value));
    EXPECT_EQ(value, 1u);
}

} // namespace
