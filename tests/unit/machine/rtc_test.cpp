// SPDX-License-Identifier: GPL-2.0-only
#include "machine/rtc.hpp"

#include <gtest/gtest.h>

#include "fakes.hpp"

namespace machine {
namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t second = 1'000 * ms;
// 2026-02-28 23:59:57 UTC, a Saturday.
constexpr std::int64_t start = 1772323197;

class RtcTest : public testing::Test {
  protected:
    RtcTest() {
        clock_.set_wall(start * static_cast<std::int64_t>(second));
        rtc_.emplace(timers_, IrqLine(irqs_, 8));
        EXPECT_TRUE(rtc_->attach(bus_));
    }
    void out(std::uint8_t index, std::uint8_t value) {
        bus_.write(0x70, 1, index);
        bus_.write(0x71, 1, value);
    }
    std::uint8_t in(std::uint8_t index) {
        bus_.write(0x70, 1, index);
        return static_cast<std::uint8_t>(bus_.read(0x71, 1));
    }
    std::string time() {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), "%02x%02x-%02x-%02x %02x:%02x:%02x/%x", in(0x32),
                      in(9), in(8), in(7), in(4), in(2), in(0), in(6));
        return text.data();
    }
    void run(std::uint64_t ns) {
        const std::uint64_t end = clock_.now() + ns;
        while (timers_.next() <= end) {
            clock_.advance(std::max(timers_.next(), clock_.now()) - clock_.now());
            timers_.run_due();
        }
        clock_.advance(end - clock_.now());
    }

    ManualClock clock_;
    TimerQueue timers_{clock_};
    RecordingIrqs irqs_;
    PortBus bus_;
    std::optional<Rtc> rtc_;
};

TEST_F(RtcTest, TellsTheHostsTime) {
    EXPECT_EQ(time(), "2026-02-28 23:59:57/7");
    clock_.advance(3 * second);
    EXPECT_EQ(time(), "2026-03-01 00:00:00/1");
}

TEST_F(RtcTest, BinaryAndTwelveHourForms) {
    out(0x0b, 0x06);
    EXPECT_EQ(in(4), 23);
    EXPECT_EQ(in(2), 59);
    EXPECT_EQ(in(0x32), 20);
    out(0x0b, 0x00);
    EXPECT_EQ(in(4), 0x91) << "11 pm";
    clock_.advance(3 * second);
    EXPECT_EQ(in(4), 0x12) << "midnight is 12 am";
    clock_.advance(12 * 3600 * second);
    EXPECT_EQ(in(4), 0x92) << "noon is 12 pm";
}

TEST_F(RtcTest, SetFreezesAndThenRunsFromWhatWasWritten) {
    out(0x0b, 0x82);
    clock_.advance(10 * second);
    EXPECT_EQ(in(0), 0x57);
    out(0x32, 0x19);
    out(9, 0x99);
    out(8, 0x12);
    out(7, 0x31);
    out(4, 0x23);
    out(2, 0x59);
    out(0, 0x58);
    out(0x0b, 0x02);
    EXPECT_EQ(time(), "1999-12-31 23:59:58/6");
    clock_.advance(2 * second);
    EXPECT_EQ(time(), "2000-01-01 00:00:00/7");
}

TEST_F(RtcTest, WritingWhileRunningWorksToo) {
    out(4, 0x05);
    EXPECT_EQ(time(), "2026-02-28 05:59:57/7");
}

TEST_F(RtcTest, NonsenseIsSomeTime) {
    out(0x0b, 0x82);
    for (const std::uint8_t index : {0, 2, 4, 6, 7, 8, 9, 0x32})
        out(index, 0xff);
    out(0x0b, 0x02);
    time();
    clock_.advance(second);
    time();
    out(0x0b, 0x86);
    for (const std::uint8_t index : {0, 2, 4, 6, 7, 8, 9, 0x32})
        out(index, 0);
    out(0x0b, 0x02);
    EXPECT_EQ(in(8), 0x12);
}

TEST_F(RtcTest, UpdateInProgressBeforeTheSecondEnds) {
    EXPECT_EQ(in(0x0a), 0x26);
    clock_.advance(second - 300'000);
    EXPECT_EQ(in(0x0a), 0x26);
    clock_.advance(100'000);
    EXPECT_EQ(in(0x0a), 0xa6);
    EXPECT_EQ(in(0), 0x57);
    clock_.advance(200'000);
    EXPECT_EQ(in(0x0a), 0x26);
    EXPECT_EQ(in(0), 0x58);
    // Never while the clock is being set.
    out(0x0b, 0x82);
    clock_.advance(second - 200'000);
    EXPECT_EQ(in(0x0a), 0x26);
}

TEST_F(RtcTest, UpdateEndedInterruptEachSecond) {
    out(0x0b, 0x12);
    EXPECT_FALSE(irqs_.level());
    run(999 * ms);
    EXPECT_FALSE(irqs_.level());
    run(2 * ms);
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(in(0x0c), 0xd0) << "the periodic flag is set beside it";
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(in(0x0c), 0);
    run(second);
    EXPECT_EQ(irqs_.rises(), 2u);
    // An interrupt that nobody reads is not repeated, and costs no wake-ups.
    run(5 * second);
    EXPECT_EQ(irqs_.rises(), 2u);
    EXPECT_EQ(timers_.next(), Timer::never);
}

TEST_F(RtcTest, SettingTheClockTurnsUpdateInterruptsOff) {
    out(0x0b, 0x92);
    EXPECT_EQ(in(0x0b), 0x82);
}

TEST_F(RtcTest, FlagsAreSetWithoutTheirInterrupts) {
    in(0x0c);
    clock_.advance(second);
    EXPECT_EQ(in(0x0c), 0x50);
    EXPECT_TRUE(irqs_.events.empty());
}

TEST_F(RtcTest, PeriodicInterruptAtTheChosenRate) {
    out(0x0a, 0x26); // 1024 Hz
    out(0x0b, 0x42);
    unsigned ticks = 0;
    for (int step = 0; step < 10'000; ++step) {
        run(second / 10'000);
        if (irqs_.level()) {
            EXPECT_EQ(in(0x0c) & 0xc0, 0xc0);
            ++ticks;
        }
    }
    EXPECT_EQ(ticks, 1024u);
}

TEST_F(RtcTest, PeriodicRatesOneAndTwoAreSlow) {
    for (const auto &[rate, hz] : {std::pair{1u, 256u}, {2u, 128u}, {3u, 8192u}, {15u, 2u}}) {
        out(0x0a, static_cast<std::uint8_t>(0x20 | rate));
        out(0x0b, 0x42);
        // From one edge to the next.
        while (!irqs_.level())
            run(second / 100'000);
        in(0x0c);
        run(second / hz - second / 50'000);
        EXPECT_FALSE(irqs_.level()) << rate;
        run(second / 25'000);
        EXPECT_TRUE(irqs_.level()) << rate;
        in(0x0c);
    }
    out(0x0a, 0x20);
    in(0x0c);
    run(second);
    EXPECT_EQ(in(0x0c) & 0x40, 0) << "rate 0 is none";
}

TEST_F(RtcTest, AlarmAtItsSecond) {
    out(5, 0x00);
    out(3, 0x00);
    out(1, 0x02); // 00:00:02, five seconds away
    out(0x0b, 0x22);
    run(4'900 * ms);
    EXPECT_FALSE(irqs_.level());
    run(200 * ms);
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(in(0x0c) & 0xa0, 0xa0);
    run(86'398 * second);
    EXPECT_FALSE(irqs_.level());
    run(3 * second);
    EXPECT_TRUE(irqs_.level()) << "and again a day later";
}

TEST_F(RtcTest, AlarmWithDontCares) {
    out(5, 0xff);
    out(3, 0xc0);
    out(1, 0x30);
    out(0x0b, 0x22);
    unsigned alarms = 0;
    for (int step = 0; step < 300; ++step) {
        run(second);
        if ((in(0x0c) & 0x20) != 0) ++alarms;
    }
    EXPECT_EQ(alarms, 5u);
}

TEST_F(RtcTest, AlarmThatCannotBeNeverComes) {
    out(5, 0x77);
    out(3, 0x77);
    out(1, 0x77);
    out(0x0b, 0x22);
    run(2 * 86'400 * second);
    EXPECT_EQ(in(0x0c) & 0x20, 0);
}

TEST_F(RtcTest, DividerResetStopsAndRestartsHalfASecondLater) {
    out(0x0a, 0x76);
    clock_.advance(5 * second);
    EXPECT_EQ(in(0), 0x57);
    out(0x0a, 0x26);
    clock_.advance(499 * ms);
    EXPECT_EQ(in(0), 0x57);
    clock_.advance(2 * ms);
    EXPECT_EQ(in(0), 0x58);
}

TEST_F(RtcTest, HostClockSetBackIsSurvived) {
    out(0x0b, 0x12);
    run(second);
    in(0x0c);
    clock_.set_wall((start - 3600) * static_cast<std::int64_t>(second));
    run(5 * second);
    EXPECT_EQ(time(), "2026-02-28 23:00:02/7");
    EXPECT_TRUE(irqs_.level());
}

TEST_F(RtcTest, MemoryKeepsBytesAndItsSizes) {
    rtc_->set_memory(256ull << 20, 5ull << 30);
    EXPECT_EQ(in(0x15) | in(0x16) << 8, 640);
    EXPECT_EQ(in(0x17) | in(0x18) << 8, 0xffff);
    EXPECT_EQ(in(0x30) | in(0x31) << 8, 0xffff);
    EXPECT_EQ(in(0x34) | in(0x35) << 8, 240 * 16);
    EXPECT_EQ(in(0x5b) | in(0x5c) << 8 | in(0x5d) << 16, 5 << 14);
    out(0x0f, 0x0a);
    EXPECT_EQ(in(0x0f), 0x0a);
    out(0x7f, 0x55);
    EXPECT_EQ(in(0xff), 0x55) << "bit 7 of the index is the NMI mask";
    EXPECT_TRUE(rtc_->nmi_masked());
    in(0x00);
    EXPECT_FALSE(rtc_->nmi_masked());
    EXPECT_EQ(bus_.read(0x70, 1), 0xffu);
}

TEST_F(RtcTest, ReadOnlyRegisters) {
    out(0x0c, 0xff);
    EXPECT_EQ(in(0x0c), 0);
    out(0x0d, 0x00);
    EXPECT_EQ(in(0x0d), 0x80);
    out(0x0a, 0xa6);
    EXPECT_EQ(in(0x0a), 0x26);
}

} // namespace
} // namespace machine
