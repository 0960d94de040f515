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
            IrqLine(irqs_, 1), IrqLine(mouse_irqs_, 12),
            [this](PowerEvent event) { power_.push_back(event); }, low_memory_, keyboard);
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
    RecordingIrqs mouse_irqs_;
    std::vector<PowerEvent> power_;
    PortBus bus_;
    LowMemory low_memory_{GuestMemory{{}}, nullptr, false};
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
    EXPECT_EQ(answers(), Bytes{0x00});
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
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xab, 0x41})) << "translated, as all that a keyboard sends";
    data(0xee);
    EXPECT_EQ(answers(), Bytes{0xee});
    data(0xed);
    EXPECT_EQ(answers(), Bytes{0xfa});
    data(0x07);
    EXPECT_EQ(answers(), Bytes{0xfa});
    EXPECT_EQ(controller_->leds(), 7);
    command(0x60);
    data(0x05);
    data(0xf2);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xab, 0x83}));
    data(0xf0);
    data(0x00);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xfa, 0x02}));
}

TEST_F(I8042Test, KeysInterruptOneByOne) {
    EXPECT_TRUE(controller_->key(0x1e, true));
    EXPECT_TRUE(controller_->key(0x1e, false));
    EXPECT_EQ(irqs_.rises(), 1u);
    EXPECT_EQ(bus_.read(0x60, 1), 0x1eu);
    EXPECT_EQ(irqs_.rises(), 2u) << "an edge for each";
    EXPECT_EQ(bus_.read(0x60, 1), 0x9eu);
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(bus_.read(0x60, 1), 0x9eu) << "an empty buffer shows its last byte";
}

TEST_F(I8042Test, ScanCodeSetsAndTranslation) {
    const auto strokes = [this] {
        controller_->key(0x41, true); // F7, whose code in set 2 is above all others
        controller_->key(extended_key | 0x48, true);
        controller_->key(extended_key | 0x48, false);
        return answers();
    };
    EXPECT_EQ(strokes(), (Bytes{0x41, 0xe0, 0x48, 0xe0, 0xc8}));
    command(0x60);
    data(0x05);
    EXPECT_EQ(strokes(), (Bytes{0x83, 0xe0, 0x75, 0xe0, 0xf0, 0x75}));
    data(0xf0);
    data(0x01);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xfa}));
    EXPECT_EQ(strokes(), (Bytes{0x41, 0xe0, 0x48, 0xe0, 0xc8}));
    controller_->key(pause_key, true);
    EXPECT_EQ(answers(), (Bytes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}));
    data(0xf6);
    EXPECT_EQ(answers(), Bytes{0xfa});
    controller_->key(pause_key, true);
    EXPECT_EQ(answers(), (Bytes{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77}));
}

TEST_F(I8042Test, InterruptAndClockCanBeSwitchedOff) {
    command(0x60);
    data(0x44);
    controller_->key(0x1e, true);
    EXPECT_TRUE(irqs_.events.empty());
    EXPECT_EQ(answers(), Bytes{0x1e});
    command(0xad);
    controller_->key(0x1f, true);
    EXPECT_EQ(answers(), Bytes{});
    command(0xae);
    EXPECT_EQ(answers(), Bytes{0x1f});
    data(0xf5);
    EXPECT_EQ(answers(), Bytes{0xfa});
    controller_->key(0x1e, true);
    EXPECT_EQ(answers(), Bytes{}) << "not scanning";
    data(0xf4);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0x1e}));
}

TEST_F(I8042Test, KeysWaitForTheGuestAndThenAreRefused) {
    unsigned taken = 0;
    while (taken < 1000 && controller_->key(0x1e, taken % 2 == 0))
        ++taken;
    EXPECT_GT(taken, 64u);
    EXPECT_LT(taken, 100u);
    const Bytes all = answers();
    ASSERT_EQ(all.size(), taken) << "none lost";
    for (unsigned index = 0; index < taken; ++index)
        EXPECT_EQ(all[index], index % 2 == 0 ? 0x1eu : 0x9eu);
    EXPECT_TRUE(controller_->key(0x1e, true));
}

class MouseTest : public I8042Test {
  protected:
    MouseTest() {
        command(0x60);
        data(0x47); // both interrupts
    }
    Bytes mouse(std::initializer_list<unsigned> bytes) {
        Bytes all;
        for (const unsigned byte : bytes) {
            command(0xd4);
            data(static_cast<std::uint8_t>(byte));
            const Bytes some = answers();
            all.insert(all.end(), some.begin(), some.end());
        }
        return all;
    }
};

TEST_F(MouseTest, ReportsMovesOnceEnabled) {
    controller_->move_mouse(5, 3, 0, 0);
    EXPECT_EQ(answers(), Bytes{});
    EXPECT_EQ(mouse({0xff}), (Bytes{0xfa, 0xaa, 0x00}));
    EXPECT_EQ(mouse({0xf4}), Bytes{0xfa});
    const unsigned before = mouse_irqs_.rises();
    controller_->move_mouse(5, 3, 0, Ps2Mouse::left);
    EXPECT_EQ(status() & 0x21, 0x21) << "the mouse's byte";
    EXPECT_EQ(mouse_irqs_.rises(), before + 1);
    EXPECT_EQ(answers(), (Bytes{0x29, 0x05, 0xfd}));
    EXPECT_EQ(mouse_irqs_.rises(), before + 3);
    controller_->move_mouse(-300, 0, 1, 0);
    EXPECT_EQ(answers(), (Bytes{0x18, 0x01, 0x00, 0x18, 0xd3, 0x00})) << "in two steps, no wheel";
    EXPECT_EQ(mouse({0xe9}), (Bytes{0xfa, 0x20, 0x02, 100}));
    EXPECT_EQ(mouse({0xf5}), Bytes{0xfa});
    controller_->move_mouse(1, 0, 0, 0);
    EXPECT_EQ(answers(), Bytes{});
    EXPECT_EQ(mouse({0xeb}), (Bytes{0xfa, 0x08, 0x01, 0x00}));
}

TEST_F(MouseTest, WheelIsAskedForByThreeRates) {
    EXPECT_EQ(mouse({0xf2}), (Bytes{0xfa, 0x00}));
    EXPECT_EQ(mouse({0xf3, 200, 0xf3, 100, 0xf3, 80}).size(), 6u);
    EXPECT_EQ(mouse({0xf2}), (Bytes{0xfa, 0x03}));
    mouse({0xf4});
    controller_->move_mouse(0, 0, -2, 0);
    EXPECT_EQ(answers(), (Bytes{0x08, 0x00, 0x00, 0xfe}));
    EXPECT_EQ(mouse({0xee, 0x55}), (Bytes{0xfa, 0x55})) << "echoes";
    EXPECT_EQ(mouse({0xec, 0x12}), (Bytes{0xfa, 0xfe}));
}

TEST_F(MouseTest, MovesAreSummedUpWhileTheGuestDoesNotLook) {
    mouse({0xf4});
    for (unsigned step = 0; step < 200; ++step)
        controller_->move_mouse(1, 0, 0, 0);
    int sum = 0;
    const Bytes all = answers();
    ASSERT_EQ(all.size() % 3, 0u);
    for (std::size_t at = 0; at < all.size(); at += 3)
        sum += static_cast<int>(all[at + 1]);
    EXPECT_EQ(sum, 200);
}

TEST_F(I8042Test, LoopedBackOutput) {
    command(0xd2);
    data(0x42);
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(answers(), Bytes{0x42});
    command(0xd3);
    data(0x43);
    EXPECT_EQ(status() & 0x20, 0x20);
    EXPECT_EQ(answers(), Bytes{0x43});
    command(0xc0);
    EXPECT_EQ(answers(), Bytes{0x80});
}

TEST_F(I8042Test, WithoutKeyboardNobodyAnswersButResetWorks) {
    build(false);
    data(0xff);
    EXPECT_EQ(answers(), Bytes{});
    EXPECT_FALSE(controller_->key(0x1e, true));
    command(0xa9);
    EXPECT_EQ(answers(), Bytes{0x01}) << "no mouse";
    command(0xd4);
    data(0xff);
    EXPECT_EQ(answers(), Bytes{});
    command(0xaa);
    EXPECT_EQ(answers(), Bytes{0x55});
    command(0xfe);
    EXPECT_EQ(power_.size(), 1u);
}

} // namespace
} // namespace machine
