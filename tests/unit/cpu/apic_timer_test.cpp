// SPDX-License-Identifier: GPL-2.0-only
// The APIC timer on a clock turned by hand: Intel SDM, "APIC Timer", "TSC-Deadline Mode".
#include <gtest/gtest.h>
#include "cpu/apic.hpp"
#include "cpu/fake_machine.hpp"

namespace {

using namespace hwv::cpu;

constexpr std::uint32_t lvt = 0x320, initial = 0x380, current = 0x390, divide = 0x3e0, svr = 0xf0;
constexpr std::uint32_t periodic = 1u << 17, deadline_mode = 2u << 17, masked = 1u << 16;
constexpr std::uint32_t by_1 = 0xb;
constexpr std::uint32_t vector = 0xec;

class ApicTimerTest : public testing::Test {
  protected:
    ApicTimerTest() {
        fake::reset();
        apic.set_tsc(fake::Machine::tsc_khz, offset);
        apic.reset();
        apic.write(svr, 0x1ff);
        apic.write(divide, by_1);
    }
    // The clock goes on; every expiry of the host's timer on the way is what the owner makes of it.
    // Returns interrupts.
    unsigned pass(std::uint64_t ns) {
        unsigned interrupts = take();
        const std::uint64_t end = fake::machine().ns + ns;
        while (fake::machine().fires_at && *fake::machine().fires_at <= end) {
            fake::advance_to_timer();
            apic.on_timer();
            interrupts += take();
        }
        fake::machine().ns = end;
        return interrupts + take();
    }
    unsigned take() {
        apic.sync();
        if (apic.pending() != vector) return 0;
        apic.acknowledge(vector);
        apic.end_of_interrupt();
        return 1;
    }
    std::uint64_t guest_tsc() const {
        return fake::machine().ns * fake::machine().tsc_per_ns + offset;
    }

    static constexpr std::uint64_t offset = 0 - 1'000'000ull;
    LocalApic apic{0, nullptr};
};

TEST_F(ApicTimerTest, one_shot_fires_once_at_its_time) {
    apic.write(lvt, vector);
    apic.write(initial, 100'000);
    EXPECT_EQ(apic.read(current), 100'000u);
    EXPECT_EQ(pass(60'000), 0u);
    EXPECT_EQ(apic.read(current), 40'000u);
    EXPECT_EQ(pass(39'999), 0u);
    EXPECT_EQ(apic.read(current), 1u);
    EXPECT_EQ(pass(1), 1u);
    EXPECT_EQ(apic.read(current), 0u);
    EXPECT_EQ(apic.read(initial), 100'000u);
    EXPECT_EQ(pass(1'000'000), 0u);
}

TEST_F(ApicTimerTest, divider) {
    const struct {
        std::uint32_t configuration, by;
    } rows[] = {{0b0000, 2},  {0b0001, 4},  {0b0010, 8},   {0b0011, 16},
                {0b1000, 32}, {0b1001, 64}, {0b1010, 128}, {0b1011, 1}};
    apic.write(lvt, vector);
    for (const auto &row : rows) {
        apic.write(divide, row.configuration | 0x4);
        EXPECT_EQ(apic.read(divide), row.configuration) << "bit 2 is reserved";
        apic.write(initial, 1'000);
        EXPECT_EQ(pass(999ull * row.by), 0u);
        EXPECT_EQ(apic.read(current), 1u);
        EXPECT_EQ(pass(row.by), 1u) << row.by;
    }
}

TEST_F(ApicTimerTest, changed_divider_keeps_the_count) {
    apic.write(lvt, vector);
    apic.write(initial, 1'000'000);
    EXPECT_EQ(pass(400'000), 0u);
    apic.write(divide, 0b0001);
    EXPECT_EQ(apic.read(current), 600'000u);
    EXPECT_EQ(pass(4 * 600'000 - 1), 0u);
    EXPECT_EQ(pass(1), 1u);
}

TEST_F(ApicTimerTest, zero_stops) {
    apic.write(lvt, vector);
    apic.write(initial, 1'000);
    apic.write(initial, 0);
    EXPECT_FALSE(fake::machine().fires_at);
    EXPECT_EQ(apic.read(current), 0u);
    EXPECT_EQ(pass(1'000'000), 0u);
}

TEST_F(ApicTimerTest, periodic_stays_on_its_grid) {
    apic.write(lvt, vector | periodic);
    apic.write(initial, 250'000);
    EXPECT_EQ(pass(2'500'000), 10u);
    EXPECT_EQ(pass(249'999), 0u);
    EXPECT_EQ(apic.read(current), 1u);
    EXPECT_EQ(pass(1), 1u);
    // The owner comes late every time: nothing adds up
    for (int i = 0; i < 10; ++i) {
        fake::machine().ns += 250'000 + 1'000;
        apic.on_timer();
        EXPECT_EQ(take(), 1u);
    }
    EXPECT_EQ(apic.read(current), 250'000u - 10'000u);
}

TEST_F(ApicTimerTest, missed_periods_are_one_interrupt) {
    apic.write(lvt, vector | periodic);
    apic.write(initial, 100'000);
    fake::machine().ns += 1'050'000;
    apic.on_timer();
    EXPECT_EQ(take(), 1u);
    EXPECT_EQ(take(), 0u);
    EXPECT_EQ(apic.read(current), 50'000u);
    EXPECT_EQ(pass(49'999), 0u);
    EXPECT_EQ(pass(1), 1u);
}

TEST_F(ApicTimerTest, no_period_is_shorter_than_the_floor) {
    apic.write(lvt, vector | periodic);
    apic.write(initial, 1);
    EXPECT_EQ(apic.read(current), 1u);
    const unsigned starts = fake::machine().starts;
    EXPECT_EQ(pass(10 * minimum_period_ns), 10u);
    EXPECT_EQ(fake::machine().starts - starts, 10u);
}

TEST_F(ApicTimerTest, a_masked_timer_counts_in_silence) {
    apic.write(lvt, vector | masked);
    apic.write(initial, 100'000);
    EXPECT_FALSE(fake::machine().fires_at) << "the host has no timer for it";
    fake::machine().ns += 40'000;
    EXPECT_EQ(apic.read(current), 60'000u);
    apic.write(lvt, vector);
    EXPECT_EQ(pass(59'999), 0u);
    EXPECT_EQ(pass(1), 1u);

    apic.write(lvt, vector | masked);
    apic.write(initial, 100'000);
    fake::machine().ns += 100'000;
    apic.write(lvt, vector);
    EXPECT_EQ(pass(1'000'000), 0u) << "what expired while masked is gone";

    apic.write(lvt, vector | masked | periodic);
    apic.write(initial, 100'000);
    fake::machine().ns += 250'000;
    apic.write(lvt, vector | periodic);
    EXPECT_EQ(pass(49'999), 0u);
    EXPECT_EQ(pass(1), 1u) << "and the grid stays";
}

TEST_F(ApicTimerTest, masking_while_armed) {
    apic.write(lvt, vector);
    apic.write(initial, 100'000);
    apic.write(lvt, vector | masked);
    EXPECT_FALSE(fake::machine().fires_at);
    apic.on_timer(); // was on its way
    EXPECT_EQ(take(), 0u);
    EXPECT_EQ(apic.events(), 0u);
}

TEST_F(ApicTimerTest, one_shot_becomes_periodic_in_flight) {
    apic.write(lvt, vector);
    apic.write(initial, 100'000);
    fake::machine().ns += 30'000;
    apic.write(lvt, vector | periodic);
    EXPECT_EQ(apic.read(current), 70'000u);
    EXPECT_EQ(pass(270'000), 3u);
}

TEST_F(ApicTimerTest, deadline_fires_and_reads_as_zero) {
    apic.write(lvt, vector | deadline_mode);
    const std::uint64_t at = guest_tsc() + 200'000;
    apic.set_deadline(at);
    EXPECT_EQ(apic.deadline(), at);
    EXPECT_EQ(pass(99'999), 0u);
    EXPECT_EQ(apic.deadline(), at);
    EXPECT_EQ(pass(10), 1u);
    EXPECT_EQ(apic.deadline(), 0u);
    EXPECT_EQ(pass(10'000'000), 0u);
}

TEST_F(ApicTimerTest, deadline_in_the_past_fires_at_once) {
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(guest_tsc());
    EXPECT_TRUE(apic.wakes(true, true));
    EXPECT_EQ(take(), 1u);
    apic.set_deadline(1);
    EXPECT_EQ(take(), 1u);
    EXPECT_EQ(fake::machine().starts, 0u) << "without the host's timer";
    apic.set_deadline(0);
    EXPECT_EQ(take(), 0u);
}

TEST_F(ApicTimerTest, deadline_zero_disarms) {
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(guest_tsc() + 1'000);
    apic.set_deadline(0);
    EXPECT_FALSE(fake::machine().fires_at);
    EXPECT_EQ(pass(1'000'000), 0u);
}

TEST_F(ApicTimerTest, deadline_never_comes_early) {
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(guest_tsc() + 2'000'000);
    for (int i = 0; i < 5; ++i) {
        fake::machine().ns += 10'000;
        apic.on_timer(); // stale, or the host's clock runs ahead of the TSC
        EXPECT_EQ(take(), 0u);
        ASSERT_TRUE(fake::machine().fires_at) << "armed for the rest";
    }
    EXPECT_EQ(pass(1'000'000), 1u);
}

TEST_F(ApicTimerTest, far_deadlines_are_reached_in_steps) {
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(~0ull - 1);
    ASSERT_TRUE(fake::machine().fires_at);
    EXPECT_LE(*fake::machine().fires_at - fake::machine().ns, (1ull << 40) + 1);
    EXPECT_EQ(apic.deadline(), ~0ull - 1);
}

TEST_F(ApicTimerTest, modes_do_not_mix) {
    apic.write(lvt, vector);
    apic.set_deadline(guest_tsc() + 1'000);
    EXPECT_EQ(apic.deadline(), 0u) << "ignored out of deadline mode";
    apic.write(initial, 100'000);
    apic.write(lvt, vector | deadline_mode);
    EXPECT_FALSE(fake::machine().fires_at) << "the change disarms";
    EXPECT_EQ(apic.read(initial), 0u);
    apic.write(initial, 5'000);
    EXPECT_EQ(apic.read(initial), 0u) << "ignored in deadline mode";
    EXPECT_EQ(apic.read(current), 0u);
    apic.set_deadline(guest_tsc() + 1'000);
    apic.write(lvt, vector);
    EXPECT_FALSE(fake::machine().fires_at);
    EXPECT_EQ(pass(1'000'000), 0u);
}

TEST_F(ApicTimerTest, a_moved_tsc_moves_the_deadline) {
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(guest_tsc() + 2'000'000);
    apic.set_tsc(fake::Machine::tsc_khz, offset + 1'000'000);
    EXPECT_EQ(pass(499'999), 0u);
    EXPECT_EQ(pass(10), 1u);
}

TEST_F(ApicTimerTest, where_the_cpu_counts_the_host_does_not) {
    apic.use_cpu_timer();
    EXPECT_TRUE(apic.take_counting());
    EXPECT_EQ(apic.timer_due(), 0u);
    const auto tsc = [] { return fake::machine().ns * fake::machine().tsc_per_ns; };
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(guest_tsc() + 5'000);
    EXPECT_TRUE(apic.take_counting());
    EXPECT_FALSE(apic.take_counting());
    EXPECT_EQ(apic.timer_due(), tsc() + 5'000);
    apic.write(lvt, vector | periodic);
    apic.write(initial, 100'000);
    EXPECT_EQ(apic.timer_due(), tsc() + 200'000);
    apic.write(lvt, vector);
    apic.write(initial, 0xffff'ffff);
    EXPECT_EQ(apic.timer_due(), tsc() + (2ull << 31)) << "no farther, and looked at again then";
    apic.write(lvt, vector | masked);
    EXPECT_EQ(apic.timer_due(), 0u);
    EXPECT_EQ(fake::machine().starts, 0u);
    EXPECT_EQ(fake::machine().cancels, 1u) << "the reset's";
}

TEST_F(ApicTimerTest, a_scaled_tsc_reaches_its_deadline_in_its_own_time) {
    constexpr TscRatio thrice = 3 * tsc_as_host;
    apic.set_tsc(3 * fake::Machine::tsc_khz, offset, thrice);
    const auto host_tsc = [] { return fake::machine().ns * fake::machine().tsc_per_ns; };
    const auto now = [&] { return 3 * host_tsc() + offset; };
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(now() + 6'000'000); // 2 GHz thrice: a millisecond
    EXPECT_EQ(pass(999'999), 0u);
    EXPECT_EQ(pass(10), 1u);
    apic.use_cpu_timer();
    apic.set_deadline(now() + 6'000'000);
    EXPECT_EQ(apic.timer_due(), host_tsc() + 2'000'000);
    apic.write(lvt, vector);
    apic.write(initial, 1'000'000);
    EXPECT_NEAR(static_cast<double>(apic.timer_due()), host_tsc() + 2e6, 2);
}

TEST_F(ApicTimerTest, while_the_vcpu_waits_the_host_counts_again) {
    apic.use_cpu_timer();
    apic.write(lvt, vector);
    apic.write(initial, 100'000);
    apic.begin_wait();
    EXPECT_EQ(fake::machine().fires_at, fake::machine().ns + 100'000);
    EXPECT_EQ(apic.timer_due(), 0u);
    apic.end_wait();
    EXPECT_FALSE(fake::machine().fires_at);
    EXPECT_NE(apic.timer_due(), 0u);
    fake::machine().ns += 100'000;
    apic.begin_wait(); // due already
    EXPECT_EQ(pass(0), 1u);
}

TEST_F(ApicTimerTest, masked_deadline_passes_in_silence) {
    apic.write(lvt, vector | deadline_mode | masked);
    apic.set_deadline(guest_tsc() + 2'000);
    EXPECT_FALSE(fake::machine().fires_at);
    fake::machine().ns += 1'000;
    EXPECT_EQ(apic.deadline(), 0u);
    apic.write(lvt, vector | deadline_mode);
    EXPECT_EQ(pass(1'000'000), 0u);
}

TEST_F(ApicTimerTest, disabling_the_apic_stops_it) {
    apic.write(lvt, vector | periodic);
    apic.write(initial, 100'000);
    apic.write(svr, 0xff);
    EXPECT_TRUE(apic.read(lvt) & masked);
    EXPECT_EQ(pass(1'000'000), 0u);
    apic.write(svr, 0x1ff);
    apic.write(lvt, vector | periodic);
    EXPECT_EQ(pass(100'000), 1u);
    apic.init();
    EXPECT_FALSE(fake::machine().fires_at);
    EXPECT_EQ(pass(1'000'000), 0u);
}

TEST_F(ApicTimerTest, an_illegal_vector_is_an_error_and_no_interrupt) {
    apic.write(lvt, 0x05);
    apic.write(initial, 1'000);
    EXPECT_EQ(pass(1'000), 0u);
    apic.write(0x280, 0);
    EXPECT_EQ(apic.read(0x280), 0x40u) << "received illegal vector";
}

TEST_F(ApicTimerTest, a_callback_alone_wakes_but_does_not_end_a_halt) {
    apic.write(lvt, vector | deadline_mode);
    apic.set_deadline(guest_tsc() + 2'000'000);
    apic.on_timer();
    EXPECT_TRUE(apic.wakes(true, true));
    EXPECT_FALSE(apic.ends_halt(true, true)) << "it was early";
    EXPECT_FALSE(apic.wakes(true, true)) << "so that the owner sleeps again";
    fake::machine().ns += 1'000'000;
    apic.on_timer();
    EXPECT_FALSE(apic.ends_halt(false, true)) << "IF is clear";
    EXPECT_TRUE(apic.ends_halt(true, true));
}

} // namespace
