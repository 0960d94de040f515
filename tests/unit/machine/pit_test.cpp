// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pit.hpp"

#include <gtest/gtest.h>

#include "fakes.hpp"

namespace machine {
namespace {

// Counters are judged in their own ticks, by "Mode Definitions" of the 8254 data sheet.
class CounterTest : public testing::Test {
  protected:
    void program(unsigned mode, unsigned count, bool bcd = false) {
        counter_.set_control(static_cast<std::uint8_t>(0x30 | mode << 1 | (bcd ? 1 : 0)), now_);
        load(count);
    }
    void load(unsigned count) {
        counter_.write(static_cast<std::uint8_t>(count), now_);
        counter_.write(static_cast<std::uint8_t>(count >> 8), now_);
    }
    unsigned count() {
        const unsigned low = counter_.read(now_);
        return low | static_cast<unsigned>(counter_.read(now_)) << 8;
    }
    bool out() { return counter_.output(now_); }
    // OUT at each of the next ticks, as a string of H and L, starting now.
    std::string wave(unsigned ticks) {
        std::string text;
        for (unsigned tick = 0; tick < ticks; ++tick, ++now_)
            text += out() ? 'H' : 'L';
        return text;
    }

    std::uint64_t now_ = 1000;
    PitCounter counter_;
};

TEST_F(CounterTest, Mode0IsLowUntilTerminalCountThenHigh) {
    program(0, 4);
    EXPECT_EQ(count(), 4u);
    EXPECT_EQ(counter_.next_rise(now_), now_ + 4);
    EXPECT_EQ(wave(7), "LLLLHHH");
    EXPECT_EQ(counter_.next_rise(now_), std::nullopt);
    EXPECT_EQ(count(), 0xfffdu) << "it counts on below zero";
}

TEST_F(CounterTest, Mode0GateHoldsTheCount) {
    program(0, 4);
    now_ += 2;
    counter_.set_gate(false, now_);
    EXPECT_EQ(counter_.next_rise(now_), std::nullopt);
    now_ += 100;
    EXPECT_EQ(count(), 2u);
    EXPECT_FALSE(out());
    counter_.set_gate(true, now_);
    EXPECT_EQ(wave(4), "LLHH");
}

TEST_F(CounterTest, Mode0FirstByteStopsTheCount) {
    program(0, 4);
    now_ += 10;
    EXPECT_TRUE(out());
    counter_.write(3, now_);
    EXPECT_FALSE(out());
    now_ += 50;
    EXPECT_FALSE(out());
    counter_.write(0, now_);
    EXPECT_EQ(wave(5), "LLLHH");
}

TEST_F(CounterTest, Mode1IsOneShotAndRetriggers) {
    counter_.set_gate(false, now_);
    program(1, 3);
    EXPECT_EQ(wave(5), "HHHHH") << "waits for the gate";
    counter_.set_gate(true, now_);
    EXPECT_EQ(wave(5), "LLLHH");
    counter_.set_gate(false, now_);
    counter_.set_gate(true, now_);
    EXPECT_EQ(wave(2), "LL");
    counter_.set_gate(false, now_); // a falling gate does nothing
    counter_.set_gate(true, now_);  // a rising one starts again
    EXPECT_EQ(wave(4), "LLLH");
    // A new count waits for the next trigger.
    load(2);
    EXPECT_EQ(wave(3), "HHH");
    counter_.set_gate(false, now_);
    counter_.set_gate(true, now_);
    EXPECT_EQ(wave(3), "LLH");
}

TEST_F(CounterTest, Mode2IsLowForTheLastTickOfEachPeriod) {
    program(2, 3);
    EXPECT_EQ(counter_.next_rise(now_), now_ + 3);
    EXPECT_EQ(wave(7), "HHLHHLH");
    EXPECT_EQ(count(), 2u);
    ++now_;
    EXPECT_EQ(count(), 1u);
    ++now_;
    EXPECT_EQ(count(), 3u) << "zero is never seen";
}

TEST_F(CounterTest, Mode2GateLowIsHighAndReloads) {
    program(2, 3);
    now_ += 2;
    EXPECT_FALSE(out());
    counter_.set_gate(false, now_);
    EXPECT_EQ(wave(4), "HHHH");
    counter_.set_gate(true, now_);
    EXPECT_EQ(wave(4), "HHLH");
}

TEST_F(CounterTest, Mode2NewCountTakesOverAfterThePeriod) {
    program(2, 4);
    ++now_;
    load(2);
    EXPECT_EQ(counter_.next_rise(now_), now_ + 3);
    EXPECT_EQ(wave(8), "HHLHLHLH");
}

TEST_F(CounterTest, Mode3IsASquareWave) {
    program(3, 4);
    EXPECT_EQ(wave(9), "HHLLHHLLH");
    program(3, 5);
    EXPECT_EQ(counter_.next_rise(now_), now_ + 5);
    EXPECT_EQ(wave(11), "HHHLLHHHLLH");
}

TEST_F(CounterTest, Mode3CountsByTwo) {
    program(3, 6);
    std::string counts;
    for (int tick = 0; tick < 7; ++tick, ++now_)
        counts += std::to_string(count());
    EXPECT_EQ(counts, "6426426");
    program(3, 5);
    counts.clear();
    for (int tick = 0; tick < 6; ++tick, ++now_)
        counts += std::to_string(count());
    EXPECT_EQ(counts, "420424");
}

TEST_F(CounterTest, Mode3NewCountTakesOverAfterTheHalfPeriod) {
    program(3, 8);
    ++now_;
    load(4);
    EXPECT_EQ(wave(9), "HHHLLHHLL");
    program(3, 8);
    now_ += 5;
    load(4);
    EXPECT_EQ(wave(8), "LLLHHLLH");
}

TEST_F(CounterTest, Mode4StrobesOnce) {
    program(4, 3);
    EXPECT_EQ(counter_.next_rise(now_), now_ + 4);
    EXPECT_EQ(wave(6), "HHHLHH");
}

TEST_F(CounterTest, Mode5StrobesAfterATrigger) {
    counter_.set_gate(false, now_);
    program(5, 2);
    EXPECT_EQ(wave(4), "HHHH");
    counter_.set_gate(true, now_);
    EXPECT_EQ(wave(5), "HHLHH");
}

TEST_F(CounterTest, Modes6And7Are2And3) {
    program(6, 3);
    EXPECT_EQ(counter_.mode(), 2u);
    EXPECT_EQ(wave(6), "HHLHHL");
    program(7, 4);
    EXPECT_EQ(counter_.mode(), 3u);
}

TEST_F(CounterTest, ZeroIsTheLargestCount) {
    program(0, 0);
    now_ += 65535;
    EXPECT_FALSE(out());
    ++now_;
    EXPECT_TRUE(out());
    program(0, 0, true);
    now_ += 9999;
    EXPECT_FALSE(out());
    EXPECT_EQ(count(), 0x0001u);
    ++now_;
    EXPECT_TRUE(out());
}

TEST_F(CounterTest, CountsInDecimal) {
    program(2, 0x1000, true);
    ++now_;
    EXPECT_EQ(count(), 0x0999u);
    program(0, 0x0003, true);
    now_ += 4;
    EXPECT_EQ(count(), 0x9999u);
}

TEST_F(CounterTest, LatchHoldsUntilItIsRead) {
    program(2, 1000);
    counter_.latch_count(now_);
    now_ += 7;
    counter_.latch_count(now_); // ignored: the first is not read yet
    EXPECT_EQ(count(), 1000u);
    EXPECT_EQ(count(), 993u);
}

TEST_F(CounterTest, SingleByteAccess) {
    counter_.set_control(0x14, now_); // low byte only, mode 2
    counter_.write(0x80, now_);
    now_ += 0x10;
    EXPECT_EQ(counter_.read(now_), 0x70);
    EXPECT_EQ(counter_.read(now_), 0x70);
    counter_.set_control(0x24, now_); // high byte only
    counter_.write(0x12, now_);
    EXPECT_EQ(counter_.read(now_), 0x12);
    ++now_;
    EXPECT_EQ(counter_.read(now_), 0x11);
}

TEST_F(CounterTest, StatusShowsOutNullCountAndMode) {
    counter_.set_control(0x30, now_);
    counter_.latch_status(now_);
    EXPECT_EQ(counter_.read(now_), 0x70) << "no count yet";
    load(5);
    counter_.latch_status(now_);
    counter_.latch_count(now_);
    EXPECT_EQ(counter_.read(now_), 0x30) << "status comes before the count";
    EXPECT_EQ(count(), 5u);
    now_ += 5;
    counter_.latch_status(now_);
    EXPECT_EQ(counter_.read(now_), 0xb0);
    program(2, 10);
    ++now_;
    load(20);
    counter_.latch_status(now_);
    EXPECT_EQ(counter_.read(now_), 0xf4) << "the new count is not loaded before the period ends";
    now_ += 9;
    counter_.latch_status(now_);
    EXPECT_EQ(counter_.read(now_), 0xb4);
}

class PitTest : public testing::Test {
  protected:
    PitTest() { EXPECT_TRUE(pit_.attach(bus_)); }
    void out(std::uint16_t port, std::uint8_t value) { bus_.write(port, 1, value); }
    std::uint8_t in(std::uint16_t port) { return static_cast<std::uint8_t>(bus_.read(port, 1)); }
    // Moves time and, as the event loop would, stops at each deadline.
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
    Pit pit_{timers_, IrqLine(irqs_, 0)};
};

TEST_F(PitTest, RateGeneratorTicksAtItsRate) {
    out(0x43, 0x34);
    out(0x40, 0x9c);
    out(0x40, 0x2e); // 11932: 100 Hz
    irqs_.events.clear();
    run(1'000'000'000);
    EXPECT_EQ(irqs_.rises(), 99u); // 11932 ticks are 10.00015 ms
    EXPECT_EQ(irqs_.events.front(), (std::pair<unsigned, bool>{0, false}));
    run(10'000'000);
    EXPECT_EQ(irqs_.rises(), 100u);
}

TEST_F(PitTest, OneShotRaisesOnce) {
    out(0x43, 0x30);
    out(0x40, 0xa9);
    out(0x40, 0x04);
    EXPECT_FALSE(irqs_.level());
    run(900'000);
    EXPECT_FALSE(irqs_.level());
    run(200'000);
    EXPECT_TRUE(irqs_.level());
    run(1'000'000'000);
    EXPECT_EQ(irqs_.rises(), 1u);
    EXPECT_EQ(timers_.next(), Timer::never);
}

TEST_F(PitTest, ReprogrammingCancelsWhatWasPlanned) {
    out(0x43, 0x34);
    out(0x40, 0);
    out(0x40, 0x10);
    EXPECT_NE(timers_.next(), Timer::never);
    out(0x43, 0x30);
    EXPECT_EQ(timers_.next(), Timer::never);
    EXPECT_FALSE(irqs_.level());
}

TEST_F(PitTest, FastestRateDoesNotFloodTheHost) {
    out(0x43, 0x14);
    out(0x40, 1);
    irqs_.events.clear();
    run(10'000'000);
    EXPECT_LE(irqs_.rises(), 201u);
    EXPECT_GE(irqs_.rises(), 190u);
}

TEST_F(PitTest, CalibrationLoopOnChannel2Ends) {
    // Gate up, speaker off, mode 0, 50 ms: what systems calibrate their TSC against.
    out(0x61, (in(0x61) & ~2) | 1);
    out(0x43, 0xb0);
    out(0x42, 0x0b);
    out(0x42, 0xe9);
    EXPECT_EQ(in(0x61) & 0x20, 0);
    clock_.advance(49'900'000);
    EXPECT_EQ(in(0x61) & 0x20, 0);
    clock_.advance(200'000);
    EXPECT_EQ(in(0x61) & 0x20, 0x20);
}

TEST_F(PitTest, Channel2GateStopsIt) {
    out(0x61, 0);
    out(0x43, 0xb0);
    out(0x42, 0xff);
    out(0x42, 0x00);
    clock_.advance(1'000'000'000);
    EXPECT_EQ(in(0x61) & 0x20, 0);
    out(0x61, 1);
    clock_.advance(1'000'000);
    EXPECT_EQ(in(0x61) & 0x20, 0x20);
}

TEST_F(PitTest, RefreshBitTogglesAndWritableBitsStay) {
    out(0x61, 0xff);
    EXPECT_EQ(in(0x61) & 0x0f, 0x0f);
    const std::uint8_t first = in(0x61) & 0x10;
    clock_.advance(15'100);
    EXPECT_NE(in(0x61) & 0x10, first);
}

TEST_F(PitTest, ReadBackLatchesSeveralCounters) {
    out(0x43, 0x34);
    out(0x40, 0x00);
    out(0x40, 0x10);
    out(0x61, 1);
    out(0x43, 0xb4);
    out(0x42, 0x00);
    out(0x42, 0x20);
    out(0x43, 0xc0 | 1u << 1 | 1u << 3); // counts and status of 0 and 2
    clock_.advance(1'000'000);
    EXPECT_EQ(in(0x40), 0xb4);
    EXPECT_EQ(in(0x40), 0x00);
    EXPECT_EQ(in(0x40), 0x10);
    EXPECT_EQ(in(0x42), 0xb4);
    EXPECT_EQ(in(0x42), 0x00);
    EXPECT_EQ(in(0x42), 0x20);
    EXPECT_EQ(in(0x43), 0xff) << "the control word cannot be read";
}

} // namespace
} // namespace machine
