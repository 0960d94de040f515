// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pic.hpp"

#include <gtest/gtest.h>

#include "fakes.hpp"

namespace machine {
namespace {

constexpr std::uint8_t eoi = 0x20;
constexpr std::uint8_t specific_eoi = 0x60;

class PicTest : public testing::Test {
  protected:
    PicTest() {
        EXPECT_TRUE(pic_.attach(bus_));
        initialize(1);
    }
    void initialize(std::uint8_t icw4) {
        out(0x20, 0x11);
        out(0x21, 0x20);
        out(0x21, 0x04);
        out(0x21, icw4);
        out(0xa0, 0x11);
        out(0xa1, 0x28);
        out(0xa1, 0x02);
        out(0xa1, 0x01);
    }
    void out(std::uint16_t port, std::uint8_t value) { bus_.write(port, 1, value); }
    std::uint8_t in(std::uint16_t port) { return static_cast<std::uint8_t>(bus_.read(port, 1)); }
    void pulse(unsigned irq) {
        pic_.set_irq(irq, false);
        pic_.set_irq(irq, true);
    }
    std::uint8_t isr() {
        out(0x20, 0x0b);
        return in(0x20);
    }
    std::uint8_t irr() {
        out(0x20, 0x0a);
        return in(0x20);
    }

    RecordingIntr intr_;
    Pic pic_{intr_};
    PortBus bus_;
};

TEST_F(PicTest, RequestRaisesIntrAndAcknowledgeGivesTheVector) {
    EXPECT_FALSE(intr_.level);
    pic_.set_irq(4, true);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(irr(), 0x10);
    EXPECT_EQ(pic_.acknowledge(), 0x24);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(irr(), 0);
    EXPECT_EQ(isr(), 0x10);
    out(0x20, eoi);
    EXPECT_EQ(isr(), 0);
    // The line is still high, but an edge counts once.
    EXPECT_FALSE(intr_.level);
}

TEST_F(PicTest, HigherPriorityNestsLowerWaitsForEoi) {
    pulse(5);
    EXPECT_EQ(pic_.acknowledge(), 0x25);
    pulse(6);
    EXPECT_FALSE(intr_.level);
    pulse(5);
    EXPECT_FALSE(intr_.level) << "the same level waits as well";
    pulse(1);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x21);
    EXPECT_EQ(isr(), 0x22);
    out(0x20, eoi); // ends 1, the more urgent
    EXPECT_EQ(isr(), 0x20);
    EXPECT_FALSE(intr_.level);
    out(0x20, eoi);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x25);
    out(0x20, eoi);
    EXPECT_EQ(pic_.acknowledge(), 0x26);
}

TEST_F(PicTest, MaskHoldsBackButIrrShows) {
    out(0x21, 0x08);
    EXPECT_EQ(in(0x21), 0x08);
    pulse(3);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(irr(), 0x08);
    out(0x21, 0);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x23);
}

TEST_F(PicTest, RequestThatGoesAwayIsSpuriousSeven) {
    pic_.set_irq(3, true);
    pic_.set_irq(3, false);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x27);
    EXPECT_EQ(isr(), 0) << "a spurious interrupt is not in service";
}

TEST_F(PicTest, SpuriousOnTheSlaveIsFifteenAndCascadeIsInService) {
    PicChip slave(false, 0xde);
    EXPECT_EQ(slave.acknowledge(), -1);
    pic_.set_irq(10, true);
    EXPECT_TRUE(intr_.level);
    // Masked between INTR and INTA: the slave has nothing, and the master nothing from the slave.
    out(0xa1, 0x04);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x27);
}

TEST_F(PicTest, SlaveVectorsAndBothEois) {
    pulse(12);
    EXPECT_EQ(pic_.acknowledge(), 0x2c);
    EXPECT_EQ(isr(), 0x04);
    EXPECT_EQ(pic_.slave().isr(), 0x10);
    pulse(3);
    EXPECT_FALSE(intr_.level) << "3 is below the cascade";
    pulse(1);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x21);
    out(0x20, eoi);
    out(0xa0, eoi);
    out(0x20, eoi);
    EXPECT_EQ(pic_.acknowledge(), 0x23);
}

TEST_F(PicTest, SlaveRequestDuringServiceIsNotLost) {
    pulse(14);
    EXPECT_EQ(pic_.acknowledge(), 0x2e);
    pulse(9); // more urgent on the slave, but the master's pin 2 is in service
    EXPECT_FALSE(intr_.level);
    out(0x20, eoi); // the master first, as some systems do
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x29);
    out(0xa0, eoi);
    out(0x20, eoi);
    EXPECT_EQ(pic_.slave().isr(), 0x40);
    out(0xa0, eoi);
    EXPECT_EQ(pic_.slave().isr(), 0);
}

TEST_F(PicTest, SpecialFullyNestedLetsTheSlaveInterruptItself) {
    initialize(0x11);
    pulse(14);
    EXPECT_EQ(pic_.acknowledge(), 0x2e);
    pulse(9);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x29);
    pulse(15);
    EXPECT_FALSE(intr_.level) << "less urgent than what the slave serves";
}

TEST_F(PicTest, SpecificEoiEndsAnyLevel) {
    pulse(5);
    pic_.acknowledge();
    pulse(1);
    pic_.acknowledge();
    out(0x20, specific_eoi | 5);
    EXPECT_EQ(isr(), 0x02);
}

TEST_F(PicTest, RotateOnNonSpecificEoi) {
    pulse(4);
    pic_.acknowledge();
    out(0x20, 0xa0);
    // 4 is lowest now, so 5 is highest and 3 comes before 4.
    pulse(4);
    pulse(3);
    pulse(5);
    EXPECT_EQ(pic_.acknowledge(), 0x25);
    out(0x20, eoi);
    EXPECT_EQ(pic_.acknowledge(), 0x23);
    out(0x20, eoi);
    EXPECT_EQ(pic_.acknowledge(), 0x24);
}

TEST_F(PicTest, SetPriorityAndRotateOnSpecificEoi) {
    out(0x20, 0xc0 | 3); // 3 lowest, 4 highest
    pulse(0);
    pulse(7);
    EXPECT_EQ(pic_.acknowledge(), 0x27);
    out(0x20, 0xe0 | 7); // ends 7, which becomes lowest
    EXPECT_EQ(isr(), 0);
    pulse(7);
    EXPECT_EQ(pic_.acknowledge(), 0x20);
}

TEST_F(PicTest, AutomaticEoiLeavesNothingInServiceAndMayRotate) {
    initialize(0x03);
    pulse(6);
    EXPECT_EQ(pic_.acknowledge(), 0x26);
    EXPECT_EQ(isr(), 0);
    out(0x20, 0x80); // rotate in automatic EOI mode
    pulse(2 + 1);
    EXPECT_EQ(pic_.acknowledge(), 0x23);
    pulse(3);
    pulse(4);
    EXPECT_EQ(pic_.acknowledge(), 0x24);
    out(0x20, 0x00); // and no more
    pulse(4);
    pulse(5);
    EXPECT_EQ(pic_.acknowledge(), 0x25);
    pulse(5);
    EXPECT_EQ(pic_.acknowledge(), 0x25) << "5 stayed where it was";
}

TEST_F(PicTest, SpecialMaskModeLetsLowerLevelsThrough) {
    pulse(3);
    pic_.acknowledge();
    pulse(6);
    EXPECT_FALSE(intr_.level);
    out(0x21, 0x08); // inside its handler, 3 masks itself
    EXPECT_FALSE(intr_.level);
    out(0x20, 0x68); // special mask mode
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x26);
    out(0x20, eoi);
    EXPECT_EQ(isr(), 0x08) << "a non-specific EOI does not see masked levels";
    out(0x20, specific_eoi | 3);
    EXPECT_EQ(isr(), 0);
    out(0x20, 0x48); // off again
}

TEST_F(PicTest, PollReadsAndAcknowledgesInOne) {
    out(0x20, 0x0c);
    EXPECT_EQ(in(0x20), 0x00);
    pulse(5);
    out(0x20, 0x0c);
    EXPECT_EQ(in(0x20), 0x85);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(isr(), 0x20);
    EXPECT_EQ(in(0x20), 0x20) << "only one read polls";
}

TEST_F(PicTest, LevelTriggeredComesAgainWhileHeld) {
    out(0x4d1, 0x02); // IRQ 9
    EXPECT_EQ(in(0x4d1), 0x02);
    pic_.set_irq(9, true);
    EXPECT_EQ(pic_.acknowledge(), 0x29);
    EXPECT_FALSE(intr_.level);
    out(0xa0, eoi);
    out(0x20, eoi);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x29);
    pic_.set_irq(9, false);
    out(0xa0, eoi);
    out(0x20, eoi);
    EXPECT_FALSE(intr_.level);
}

TEST_F(PicTest, SomeLinesAreEdgeTriggeredForEver) {
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    EXPECT_EQ(in(0x4d0), 0xf8);
    EXPECT_EQ(in(0x4d1), 0xde);
    pic_.set_irq(0, true);
    EXPECT_EQ(pic_.acknowledge(), 0x20);
    out(0x20, eoi);
    EXPECT_FALSE(intr_.level);
}

TEST_F(PicTest, InitializationForgetsEdgesMasksAndService) {
    out(0x21, 0xff);
    pulse(4);
    out(0x21, 0);
    pic_.acknowledge();
    pulse(1);
    initialize(1);
    EXPECT_EQ(in(0x21), 0);
    EXPECT_EQ(isr(), 0);
    EXPECT_FALSE(intr_.level) << "after ICW1 a new rising edge is needed";
    pulse(1);
    EXPECT_TRUE(intr_.level);
}

TEST_F(PicTest, SilentUntilTheLastInitializationWord) {
    pic_.set_irq(4, true);
    out(0x20, 0x11);
    pulse(4);
    out(0x21, 0x40);
    out(0x21, 0x04);
    EXPECT_FALSE(intr_.level);
    out(0x21, 0x01);
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pic_.acknowledge(), 0x44);
}

TEST_F(PicTest, ShortInitializationSequences) {
    out(0x20, 0x12); // single, no ICW4
    out(0x21, 0x50);
    out(0x21, 0xaa); // already the mask
    EXPECT_EQ(in(0x21), 0xaa);
    pulse(0);
    EXPECT_EQ(pic_.acknowledge(), 0x50);
    EXPECT_EQ(isr(), 0x01) << "without ICW4 there is no automatic EOI";
}

TEST_F(PicTest, CascadeAndImpossibleLinesGoNowhere) {
    pic_.set_irq(2, true);
    pic_.set_irq(16, true);
    pic_.set_irq(~0u, true);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(irr(), 0);
}

} // namespace
} // namespace machine
