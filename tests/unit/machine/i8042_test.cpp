// SPDX-License-Identifier: GPL-2.0-only
#include "machine/i8042.hpp"

#include <gtest/gtest.h>
#include <optional>
#include <vector>

#include "fakes.hpp"

namespace machine {
namespace {

class I8042Test : public testing::Test {
  protected:
    I8042Test() { build(true); }
    void build(bool keyboard) {
        bus_ = {};
        controller_.emplace(
            IrqLine(irqs_, 1), [this](PowerEvent event) { power_.push_back(event); }, keyboard);
        EXPECT_TRUE(controller_->attach(bus_));
    }
    void command(std::uint8_t value) { bus_.write(0x64, 1, value); }
    void data(std::uint8_t value) { bus_.write(0x60, 1, value); }
    std::uint8_t status() { return static_cast<std::uint8_t>(bus_.read(0x64, 1)); }
    // What the guest finds in the data port, one after the other, or nothing.
    std::vector<unsigned> answers() {
        std::vector<unsigned> all;
        while ((status() & 1) != 0)
            all.push_back(bus_.read(0x60, 1));
        return all;
    }

    RecordingIrqs irqs_;
    std::vector<PowerEvent> power_;
    PortBus bus_;
    std::optional<I8042> controller_;
};

using Bytes = std::vector<unsigned>;

TEST_F(I8042Test, SelfTestAndPortTests) {
    EXPECT_EQ(status(), 0x14);
    command(0xaa);
    EXPECT_EQ(answers(), Bytes{0x55});
    command(0xab);
    EXPECT_EQ(answers(), Bytes{0x00});
    command(0xa9);
    EXPECT_EQ(answers(), Bytes{0x01}) << "no mouse";
    EXPECT_EQ(status() & 0x08, 0x08) << "the last write was a command";
}

TEST_F(I8042Test, PulseAndOutputPortReset) {
    command(0xfe);
    ASSERT_EQ(power_.size(), 1u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::reset);
    command(0xff);
    EXPECT_EQ(power_.size(), 1u) << "pulsing no line";
    command(0xd1);
    data(0xdf);
    EXPECT_EQ(power_.size(), 1u) << "A20 on, no reset";
    command(0xd0);
    EXPECT_EQ(answers(), Bytes{0xdf});
    command(0xd1);
    data(0xfe);
    EXPECT_EQ(power_.size(), 2u);
}

TEST_F(I8042Test, CommandByteAndRam) {
    command(0x60);
    data(0x47);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x47});
    command(0x7f);
    data(0x99);
    command(0x3f);
    EXPECT_EQ(answers(), Bytes{0x99});
    command(0xad);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x57});
    command(0xae);
    command(0xa7);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x67});
    command(0xa8);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x47});
}

TEST_F(I8042Test, KeyboardAnswers) {
    data(0xff);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xaa}));
    data(0xf2);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xab, 0x83}));
    data(0xee);
    EXPECT_EQ(answers(), Bytes{0xee});
    data(0xed);
    EXPECT_EQ(answers(), Bytes{0xfa});
    data(0x07);
    EXPECT_EQ(answers(), Bytes{0xfa});
    data(0xf0);
    data(0x00);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xfa, 0x02}));
}

TEST_F(I8042Test, KeysInterruptOneByOne) {
    EXPECT_TRUE(controller_->type(0x1e));
    EXPECT_TRUE(controller_->type(0x9e));
    EXPECT_EQ(irqs_.rises(), 1u);
    EXPECT_EQ(bus_.read(0x60, 1), 0x1eu);
    EXPECT_EQ(irqs_.rises(), 2u) << "an edge for each";
    EXPECT_EQ(bus_.read(0x60, 1), 0x9eu);
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(bus_.read(0x60, 1), 0x9eu) << "an empty buffer shows its last byte";
}

TEST_F(I8042Test, InterruptAndClockCanBeSwitchedOff) {
    command(0x60);
    data(0x04);
    controller_->type(0x1e);
    EXPECT_TRUE(irqs_.events.empty());
    EXPECT_EQ(answers(), Bytes{0x1e});
    command(0xad);
    controller_->type(0x1f);
    EXPECT_EQ(answers(), Bytes{});
    command(0xae);
    EXPECT_EQ(answers(), Bytes{0x1f});
}

TEST_F(I8042Test, FullKeyboardBufferRefuses) {
    unsigned taken = 0;
    while (taken < 100 && controller_->type(static_cast<std::uint8_t>(taken)))
        ++taken;
    EXPECT_EQ(taken, 17u) << "sixteen and the output register";
    EXPECT_EQ(answers().size(), 17u);
}

TEST_F(I8042Test, LoopedBackOutput) {
    command(0xd2);
    data(0x42);
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(answers(), Bytes{0x42});
    command(0xd3);
    data(0x43);
    EXPECT_EQ(answers(), Bytes{0x43});
    command(0xd4);
    data(0xff);
    EXPECT_EQ(answers(), Bytes{});
    command(0xc0);
    EXPECT_EQ(answers(), Bytes{0x80});
}

TEST_F(I8042Test, WithoutKeyboardNobodyAnswersButResetWorks) {
    build(false);
    data(0xff);
    EXPECT_EQ(answers(), Bytes{});
    EXPECT_FALSE(controller_->type(0x1e));
    command(0xaa);
    EXPECT_EQ(answers(), Bytes{0x55});
    command(0xfe);
    EXPECT_EQ(power_.size(), 1u);
}

} // namespace
} // namespace machine
