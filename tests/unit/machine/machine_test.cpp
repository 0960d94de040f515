// SPDX-License-Identifier: GPL-2.0-only
#include "machine/machine.hpp"

#include <gtest/gtest.h>
#include <utility>
#include <vector>

#include "fakes.hpp"

namespace machine {
namespace {

class MachineTest : public testing::Test {
  protected:
    MachineTest() { build(true); }
    void build(bool legacy) {
        pc_.reset();
        MachineConfig config;
        config.legacy = legacy;
        config.clock = &clock_;
        config.memory_below_4g = 256u << 20;
        config.serial[0] = [this](SerialHost) {
            auto backend = std::make_unique<BufferBackend>();
            serial_ = backend.get();
            return backend;
        };
        pc_ = std::make_unique<Machine>(
            std::move(config), MachineSinks{messages_, eois_, intr_,
                                            [this](PowerEvent event) { power_.push_back(event); }});
    }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 1) {
        pc_->handle_port(port, size, true, &value);
    }
    std::uint32_t in(std::uint16_t port, unsigned size = 1) {
        std::uint32_t value = 0;
        pc_->handle_port(port, size, false, &value);
        return value;
    }

    ManualClock clock_;
    RecordingMessages messages_;
    RecordingEois eois_;
    RecordingIntr intr_;
    std::vector<PowerEvent> power_;
    BufferBackend *serial_ = nullptr;
    std::unique_ptr<Machine> pc_;
};

TEST_F(MachineTest, StringOutputReachesTheSerialPortInOrder) {
    std::string text = "hello";
    pc_->handle_port(0x3f8, 1, true, text.data(), 5);
    EXPECT_EQ(serial_->output(), "hello");
}

TEST_F(MachineTest, TimerTickArrivesThroughThePic) {
    out(0x43, 0x34); // OUT rises here, before the controller looks
    for (const auto &[port, value] : {std::pair{0x20, 0x11},
                                      {0x21, 0x30},
                                      {0x21, 4},
                                      {0x21, 1},
                                      {0xa0, 0x11},
                                      {0xa1, 0x38},
                                      {0xa1, 2},
                                      {0xa1, 1},
                                      {0x21, 0xfe}})
        out(static_cast<std::uint16_t>(port), static_cast<std::uint32_t>(value));
    out(0x40, 0xa9);
    out(0x40, 0x04); // 1193: a millisecond
    EXPECT_FALSE(intr_.level);
    clock_.advance(1'000'000);
    pc_->run_due_timers();
    EXPECT_TRUE(intr_.level);
    EXPECT_EQ(pc_->acknowledge_pic(), 0x30);
    EXPECT_FALSE(intr_.level);
}

TEST_F(MachineTest, SharedLineIsHeldUntilTheLastLetsGo) {
    std::uint32_t value = 0x10 + 2 * 10; // pin 10: level-triggered, vector 0x50
    pc_->handle_mmio(IoApic::default_base, 4, true, &value);
    value = 0x8050;
    pc_->handle_mmio(IoApic::default_base + 0x10, 4, true, &value);
    IrqLine first = pc_->irq_line(10);
    IrqLine second = pc_->irq_line(10);
    first.set(true);
    second.set(true);
    EXPECT_EQ(messages_.sent.size(), 1u);
    first.set(false);
    pc_->eoi(0x50);
    EXPECT_EQ(messages_.sent.size(), 2u);
    second.set(false);
    pc_->eoi(0x50);
    EXPECT_EQ(messages_.sent.size(), 2u);
    pc_->irq_line(24).set(true);
}

TEST_F(MachineTest, TimerIsPinTwoOfTheIoApic) {
    std::uint32_t value = 0x10 + 2 * 2;
    pc_->handle_mmio(IoApic::default_base, 4, true, &value);
    value = 0x30;
    pc_->handle_mmio(IoApic::default_base + 0x10, 4, true, &value);
    pc_->irq_line(0).set(true);
    ASSERT_EQ(messages_.sent.size(), 1u);
    EXPECT_EQ(messages_.sent[0].data, 0x30u);
}

TEST_F(MachineTest, DescribesWhatItHas) {
    const MachineDescription &about = pc_->description();
    EXPECT_TRUE(about.legacy);
    ASSERT_TRUE(about.serial[0].has_value());
    EXPECT_EQ(about.serial[0]->port, 0x3f8);
    EXPECT_FALSE(about.serial[1].has_value());
    // What the description names answers: the timer runs, the sleep register is not there.
    clock_.advance(1'000'000'000);
    EXPECT_EQ(in(about.pm.timer, 4), 3579545u);
    EXPECT_EQ(about.pm.sleep_control, 0);
    build(false);
    EXPECT_EQ(pc_->description().pm.pm1_control, 0);
    EXPECT_FALSE(pc_->description().legacy);
}

TEST_F(MachineTest, ImpossibleSizesTouchNothing) {
    std::uint32_t value = 0x12345678;
    pc_->handle_port(0x70, 3, false, &value);
    pc_->handle_port(0x70, 8, false, &value);
    pc_->handle_mmio(IoApic::default_base, 16, false, &value);
    EXPECT_EQ(value, 0x12345678u);
}

TEST_F(MachineTest, PciProbeDoesNotResetTheMachine) {
    out(0xcf8, 0x80000e00, 4);
    EXPECT_TRUE(power_.empty());
    out(0xcf9, 0x0e);
    ASSERT_EQ(power_.size(), 1u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::reset);
}

TEST_F(MachineTest, PowerEventsSayWhatHappened) {
    out(0x604, 0x2000, 2);
    out(0xf4, 0x10, 4);
    out(0x505, 1);
    ASSERT_EQ(power_.size(), 3u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::poweroff);
    EXPECT_EQ(power_[1].kind, PowerEvent::Kind::debug_exit);
    EXPECT_EQ(power_[1].code, 0x21u);
    EXPECT_EQ(power_[2].kind, PowerEvent::Kind::panic);
}

TEST_F(MachineTest, MinimalMachineHasNoPicAndSleepsByItsOwnRegister) {
    build(false);
    EXPECT_EQ(in(0x21), 0xffu);
    EXPECT_GT(pc_->unclaimed_ports().reads, 0u);
    out(0x604, 0x2000, 2);
    EXPECT_TRUE(power_.empty());
    out(pc_->description().pm.sleep_control, 1u << 5);
    ASSERT_EQ(power_.size(), 1u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::poweroff);
}

} // namespace
} // namespace machine
