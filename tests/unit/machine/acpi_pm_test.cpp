// SPDX-License-Identifier: GPL-2.0-only
#include "machine/acpi_pm.hpp"

#include <gtest/gtest.h>
#include <optional>
#include <vector>

#include "fakes.hpp"

namespace machine {
namespace {

class AcpiPmTest : public testing::Test {
  protected:
    AcpiPmTest() { build({}); }
    void build(AcpiPm::Options options) {
        bus_ = {};
        pm_.emplace(
            timers_, IrqLine(irqs_, 9), [this](PowerEvent event) { power_.push_back(event); },
            options);
        EXPECT_TRUE(pm_->attach(bus_));
    }
    void out(std::uint16_t offset, std::uint32_t value, unsigned size = 2) {
        bus_.write(static_cast<std::uint16_t>(0x600 + offset), size, value);
    }
    std::uint32_t in(std::uint16_t offset, unsigned size = 2) {
        return bus_.read(static_cast<std::uint16_t>(0x600 + offset), size);
    }

    ManualClock clock_;
    TimerQueue timers_{clock_};
    RecordingIrqs irqs_;
    std::vector<PowerEvent> power_;
    PortBus bus_;
    std::optional<AcpiPm> pm_;
};

TEST_F(AcpiPmTest, AlwaysInAcpiMode) {
    EXPECT_EQ(in(4), 1u);
    out(4, 0);
    EXPECT_EQ(in(4), 1u);
    out(4, 0x0002);
    EXPECT_EQ(in(4), 3u);
}

TEST_F(AcpiPmTest, PowersOffOnItsSleepTypeOnly) {
    out(4, 0x0400 | 0x2000); // another sleep state
    EXPECT_TRUE(power_.empty());
    out(4, 0);
    EXPECT_TRUE(power_.empty()) << "SLP_EN is what does it";
    out(4, 0x2000);
    ASSERT_EQ(power_.size(), 1u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::poweroff);
    EXPECT_EQ(in(4), 1u) << "SLP_EN reads as zero";
    // A byte at a time, as some systems do.
    out(5, 0x20, 1);
    EXPECT_EQ(power_.size(), 2u);
}

TEST_F(AcpiPmTest, TimerCountsAtItsRate) {
    EXPECT_EQ(in(8, 4), 0u);
    clock_.advance(1'000'000'000);
    EXPECT_EQ(in(8, 4), 3579545u);
    EXPECT_EQ(in(9, 1), 3579545u >> 8 & 0xff);
    out(8, 0, 4);
    EXPECT_EQ(in(8, 4), 3579545u);
    clock_.advance(1'199'000'000'000); // 1200 s: past 32 bits
    EXPECT_EQ(in(8, 4), 3579545ull * 1200 & 0xffffffff);
}

TEST_F(AcpiPmTest, TwentyFourBitTimerWraps) {
    build({.timer_32_bit = false});
    clock_.advance(5'000'000'000);
    EXPECT_EQ(in(8, 4), 5u * 3579545 & 0xffffff);
}

TEST_F(AcpiPmTest, TimerOverflowInterrupts) {
    build({.timer_32_bit = false});
    out(0, 0xffff);
    EXPECT_EQ(in(0), 0u);
    out(2, 1);
    // Bit 23 toggles every 2^23 ticks: 2.34 s.
    clock_.advance(timers_.next() - clock_.now());
    timers_.run_due();
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(in(0), 1u);
    out(0, 1);
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(timers_.next(), ns_at_tick(2 << 23, AcpiPm::timer_hz));
    out(2, 0);
    EXPECT_EQ(timers_.next(), Timer::never);
    clock_.advance(5'000'000'000);
    EXPECT_EQ(in(0) & 1, 1u) << "the status is set without the interrupt";
}

TEST_F(AcpiPmTest, PowerButtonInterruptsUntilItsStatusIsCleared) {
    pm_->press_power_button();
    EXPECT_FALSE(irqs_.level()) << "not enabled";
    EXPECT_EQ(in(0), 0x100u);
    out(2, 0x100);
    EXPECT_TRUE(irqs_.level());
    out(0, 0x021);
    EXPECT_TRUE(irqs_.level()) << "ones clear, and only their own bits";
    out(0, 0x100);
    EXPECT_FALSE(irqs_.level());
}

TEST_F(AcpiPmTest, EnablesKeepOnlyDefinedBits) {
    out(2, 0xffff);
    EXPECT_EQ(in(2), 0x0721u);
    EXPECT_EQ(in(0, 4), 0x07210000u);
}

TEST_F(AcpiPmTest, GeneralPurposeEvents) {
    pm_->raise_gpe(2);
    pm_->raise_gpe(32);
    EXPECT_EQ(in(0x20, 4), 4u);
    EXPECT_FALSE(irqs_.level());
    out(0x24, 0xff00ff04, 4);
    EXPECT_EQ(in(0x24, 4), 0xff00ff04u);
    EXPECT_TRUE(irqs_.level());
    out(0x20, 0xff, 1);
    EXPECT_FALSE(irqs_.level());
}

TEST_F(AcpiPmTest, HardwareReducedSleeps) {
    build({.hardware_reduced = true});
    EXPECT_EQ(in(4), 0xffffu);
    EXPECT_EQ(in(8, 4), 0xffffffffu);
    out(0x10, 5 << 2, 1);
    out(0x10, 4 << 2 | 1 << 5, 1);
    EXPECT_TRUE(power_.empty());
    out(0x10, 1 << 5, 1);
    EXPECT_EQ(power_.size(), 1u);
    EXPECT_EQ(in(0x11, 1), 0u);
}

} // namespace
} // namespace machine
