// SPDX-License-Identifier: GPL-2.0-only
#include "machine/hpet.hpp"

#include <gtest/gtest.h>

#include "fakes.hpp"

namespace machine {
namespace {

constexpr std::uint64_t tick_ns = ns_per_second / Hpet::hz;
constexpr std::uint64_t us = 1000 / tick_ns; // in ticks
constexpr std::uint64_t config = 0x10, status = 0x20, main_counter = 0xf0;
constexpr std::uint64_t level = 1 << 1, enabled = 1 << 2, periodic = 1 << 3, value_set = 1 << 6,
                        narrow = 1 << 8;
constexpr std::uint64_t on = 1, legacy_route = 2;

constexpr std::uint64_t control(unsigned timer) { return 0x100 + 0x20 * timer; }
constexpr std::uint64_t comparator(unsigned timer) { return 0x108 + 0x20 * timer; }
constexpr std::uint64_t route(unsigned pin) { return pin << 9; }

class HpetTest : public testing::Test {
  protected:
    std::uint64_t get(std::uint64_t offset, unsigned size = 8) {
        const std::uint64_t value = hpet_.read(offset, size);
        return size == 8 ? value : value & undriven(size);
    }
    void put(std::uint64_t offset, std::uint64_t value, unsigned size = 8) {
        hpet_.write(offset, size, value);
    }
    void pass(std::uint64_t ticks) {
        clock_.advance(ticks * tick_ns);
        timers_.run_due();
    }
    // How often a line rose since the last look.
    unsigned rises(unsigned irq) {
        unsigned count = 0;
        for (const auto &[which, up] : irqs_.events)
            count += which == irq && up ? 1 : 0;
        std::erase_if(irqs_.events, [irq](const auto &event) { return event.first == irq; });
        return count;
    }

    ManualClock clock_;
    TimerQueue timers_{clock_};
    RecordingIrqs irqs_;
    LegacyRoute legacy_{irqs_};
    Hpet hpet_{timers_, irqs_, legacy_};
};

TEST_F(HpetTest, SaysWhatItIs) {
    EXPECT_EQ(get(0, 4), 0x8086a201u);
    EXPECT_EQ(get(4, 4), 10'000'000u) << "femtoseconds";
    EXPECT_EQ(get(control(0), 4), 0x30u) << "periodic, 64 bits, no messages";
    EXPECT_EQ(get(control(2) + 4, 4), 0x00f00000u);
    put(0, ~0ull);
    EXPECT_EQ(get(0, 4), 0x8086a201u);
    EXPECT_EQ(get(comparator(1)), ~0ull);
    EXPECT_EQ(get(0x160), 0u) << "no fourth";
}

TEST_F(HpetTest, CountsWhileEnabledAndIsWrittenWhileNot) {
    pass(1000);
    EXPECT_EQ(get(main_counter), 0u);
    put(main_counter, 0xfffffff0, 4);
    put(main_counter + 4, 7, 4);
    put(config, on);
    pass(0x20);
    EXPECT_EQ(get(main_counter), 0x8'0000'0010u);
    EXPECT_EQ(get(main_counter + 4, 4), 8u);
    put(main_counter, 0);
    EXPECT_EQ(get(main_counter), 0x8'0000'0010u);
    put(config, 0);
    pass(1000);
    EXPECT_EQ(get(main_counter), 0x8'0000'0010u);
}

TEST_F(HpetTest, OneShotComesOnceAtItsPin) {
    put(control(2), enabled | route(21));
    put(comparator(2), 100 * us);
    put(config, on);
    pass(100 * us - 1);
    EXPECT_EQ(rises(21), 0u);
    pass(1);
    EXPECT_EQ(rises(21), 1u);
    pass(Hpet::hz * 100);
    EXPECT_EQ(rises(21), 0u);
    EXPECT_EQ(get(status), 0u) << "edges have none";
    put(comparator(2), get(main_counter) - 5);
    pass(0);
    EXPECT_EQ(rises(21), 1u) << "just over";
    put(comparator(2), get(main_counter) - Hpet::hz);
    pass(Hpet::hz);
    EXPECT_EQ(rises(21), 0u) << "long over";
}

TEST_F(HpetTest, NarrowOneShotComesAgainWhenTheCounterHasWrapped) {
    put(control(0), enabled | narrow | route(20));
    put(comparator(0), 1000 * us);
    put(config, on);
    pass(1000 * us);
    EXPECT_EQ(rises(20), 1u);
    pass(0x1'0000'0000 - 100);
    EXPECT_EQ(rises(20), 0u);
    pass(200);
    EXPECT_EQ(rises(20), 1u);
}

TEST_F(HpetTest, PeriodicMovesOnByItself) {
    put(control(0), enabled | periodic | value_set | narrow | route(20));
    put(comparator(0), 500 * us, 4); // the first
    put(comparator(0), 100 * us, 4); // and how far apart
    put(config, on);
    EXPECT_EQ(get(control(0), 4) & value_set, 0u) << "is not kept";
    pass(500 * us);
    EXPECT_EQ(rises(20), 1u);
    EXPECT_EQ(get(comparator(0)), 600 * us);
    for (int i = 0; i < 10; ++i)
        pass(100 * us);
    EXPECT_EQ(rises(20), 10u);
    pass(1050 * us);
    EXPECT_EQ(rises(20), 1u) << "what the host slept through comes as one";
    EXPECT_EQ(get(comparator(0)), 2600 * us);
    pass(50 * us);
    EXPECT_EQ(rises(20), 1u) << "in step again";
}

TEST_F(HpetTest, ShortPeriodsCostTheHostLittle) {
    put(control(0), enabled | periodic | value_set | route(20));
    put(comparator(0), 1);
    put(comparator(0), 1);
    put(config, on);
    unsigned count = 0;
    for (unsigned i = 0; i < 10'000; ++i) {
        pass(1);
        count += rises(20);
    }
    EXPECT_GT(count, 0u);
    EXPECT_LE(count, 10'000 * tick_ns / Hpet::shortest_wait_ns + 1);
    put(comparator(0), 0);
    pass(Hpet::hz);
    EXPECT_LE(rises(20), 1u) << "no period";
}

TEST_F(HpetTest, LevelHoldsItsLineUntilItsStatusIsCleared) {
    put(control(1), enabled | level | route(23));
    put(comparator(1), 10 * us);
    put(config, on);
    pass(10 * us);
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(get(status), 2u);
    put(status, 5);
    EXPECT_TRUE(irqs_.level());
    put(status, 2);
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(get(status), 0u);
    put(control(1), level | route(23));
    put(comparator(1), get(main_counter) + 10);
    pass(10);
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(get(status), 2u) << "a status without interrupts too";
    put(control(1), enabled | level | route(23));
    EXPECT_TRUE(irqs_.level());
    put(config, 0);
    EXPECT_FALSE(irqs_.level()) << "nothing while it stands";
}

TEST_F(HpetTest, RoutesThatThereAreNotAreNotKept) {
    put(control(0), enabled | route(5));
    EXPECT_EQ(get(control(0), 4) >> 9 & 31, 0u);
    put(comparator(0), 10);
    put(config, on);
    pass(10);
    EXPECT_TRUE(irqs_.events.empty());
}

TEST_F(HpetTest, TakesTheOldTimersLines) {
    IrqLine pit{legacy_, 0};
    IrqLine rtc{legacy_, 8};
    pit.set(true);
    EXPECT_EQ(rises(0), 1u);
    put(control(0), enabled | route(20));
    put(control(1), enabled);
    put(comparator(0), 10);
    put(comparator(1), 20);
    put(config, on | legacy_route);
    EXPECT_EQ(irqs_.events, (std::vector{std::pair{0u, false}}));
    irqs_.events.clear();
    pit.set(false);
    pit.set(true);
    rtc.set(true);
    EXPECT_TRUE(irqs_.events.empty()) << "are silent";
    pass(10);
    EXPECT_EQ(rises(0), 1u);
    pass(10);
    EXPECT_EQ(rises(8), 1u);
    EXPECT_EQ(rises(20), 0u);
    irqs_.events.clear();
    put(config, on);
    EXPECT_EQ(irqs_.events.size(), 4u) << "both let go and taken back";
    EXPECT_EQ(rises(0) + rises(8), 2u);
}

TEST_F(HpetTest, OddAccessesChangeNothing) {
    put(config, 3, 1);
    put(config, 3, 2);
    put(config + 2, 3, 4);
    EXPECT_EQ(get(config), 0u);
    EXPECT_EQ(get(3, 1), 0x80u);
    EXPECT_EQ(get(0x3f8), 0u);
}

} // namespace
} // namespace machine
