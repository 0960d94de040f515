// SPDX-License-Identifier: GPL-2.0-only
#include "machine/timers.hpp"

#include <gtest/gtest.h>
#include <string>

namespace machine {
namespace {

class TimersTest : public testing::Test {
  protected:
    ManualClock clock_;
    TimerQueue queue_{clock_};
    std::string log_;
};

TEST_F(TimersTest, FiresOnceInOrderOfDeadline) {
    Timer a(queue_, [this] { log_ += 'a'; });
    Timer b(queue_, [this] { log_ += 'b'; });
    a.arm(20);
    b.arm(10);
    EXPECT_EQ(queue_.next(), 10u);
    clock_.advance(9);
    queue_.run_due();
    EXPECT_EQ(log_, "");
    clock_.advance(100);
    queue_.run_due();
    queue_.run_due();
    EXPECT_EQ(log_, "ba");
    EXPECT_EQ(queue_.next(), Timer::never);
    EXPECT_FALSE(a.armed());
}

TEST_F(TimersTest, OneMayCancelOrMoveAnother) {
    Timer second(queue_, [this] { log_ += '2'; });
    Timer third(queue_, [this] { log_ += '3'; });
    Timer first(queue_, [&] {
        log_ += '1';
        second.disarm();
        third.arm(50);
    });
    first.arm(1);
    second.arm(2);
    third.arm(3);
    clock_.advance(10);
    queue_.run_due();
    EXPECT_EQ(log_, "1");
    clock_.advance(40);
    queue_.run_due();
    EXPECT_EQ(log_, "13");
}

TEST_F(TimersTest, RearmingIntoThePastWaitsForTheNextTurn) {
    Timer *self = nullptr;
    Timer timer(queue_, [&] {
        log_ += 'x';
        self->arm(0);
    });
    self = &timer;
    timer.arm(0);
    queue_.run_due();
    EXPECT_EQ(log_, "x");
    queue_.run_due();
    EXPECT_EQ(log_, "xx");
}

TEST_F(TimersTest, TellsWhenTheEarliestDeadlineChanges) {
    std::vector<std::uint64_t> told;
    Timer a(queue_, [] {});
    Timer b(queue_, [] {});
    queue_.on_change([&](std::uint64_t next) { told.push_back(next); });
    a.arm(100);
    b.arm(200);
    b.arm(50);
    b.disarm();
    a.disarm();
    EXPECT_EQ(told, (std::vector<std::uint64_t>{100, 50, 100, Timer::never}));
    // The wake-up of a turn is spent: the next one is announced even if it was known before.
    told.clear();
    a.arm(10);
    b.arm(20);
    clock_.advance(10);
    queue_.run_due();
    EXPECT_EQ(told, (std::vector<std::uint64_t>{10, 20}));
}

TEST_F(TimersTest, DestroyedTimersAreForgotten) {
    {
        Timer timer(queue_, [this] { log_ += 'x'; });
        timer.arm(5);
    }
    clock_.advance(10);
    queue_.run_due();
    EXPECT_EQ(log_, "");
    EXPECT_EQ(queue_.next(), Timer::never);
}

TEST(Clock, TicksSurviveLongUptimes) {
    constexpr std::uint64_t ten_years = 315'360'000 * ns_per_second;
    EXPECT_EQ(ticks_at(ten_years, 1193182), 315'360'000ull * 1193182);
    EXPECT_EQ(ns_at_tick(315'360'000ull * 1193182, 1193182), ten_years);
}

TEST(Clock, SystemClockMoves) {
    const SystemClock clock;
    const std::uint64_t before = clock.now();
    EXPECT_GE(clock.now(), before);
    EXPECT_GT(clock.wall(), 1'600'000'000'000'000'000);
}

} // namespace
} // namespace machine
