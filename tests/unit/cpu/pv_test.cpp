// SPDX-License-Identifier: GPL-2.0-only
// The paravirtual clock's arithmetic as a guest does it, and the order in which records are
// written.
#include <gtest/gtest.h>
#include <cstring>
#include <vector>
#include "cpu/pv.hpp"

namespace {

using namespace hwv::cpu;

// As <asm/pvclock.h> of a guest computes it.
std::uint64_t guest_ns(const PvClock &c, std::uint64_t tsc) {
    std::uint64_t delta = tsc - c.tsc_timestamp;
    delta = c.tsc_shift < 0 ? delta >> -c.tsc_shift : delta << c.tsc_shift;
    return c.system_time + static_cast<std::uint64_t>(
                               static_cast<unsigned __int128>(delta) * c.tsc_to_system_mul >> 32);
}

TEST(PvClock, a_guest_reads_what_was_meant) {
    for (std::uint32_t khz : {1u, 999u, 100'000u, 999'999u, 1'000'000u, 1'000'001u, 1'996'249u,
                              2'445'407u, 3'000'000u, 4'294'967u, 5'700'000u, 4'000'000'000u}) {
        const PvScale scale = pv_scale(khz);
        EXPECT_GE(scale.mul, 1u << 31) << khz << ": no digits wasted";
        const PvClock clock = pv_clock({.guest_tsc = 1'000, .ns = 77}, scale, pv_clock_stable);
        EXPECT_EQ(guest_ns(clock, 1'000), 77u);
        const std::uint64_t hour = 3'600ull * 1'000 * khz;
        const double error = static_cast<double>(guest_ns(clock, 1'000 + hour)) - 3.6e12;
        EXPECT_LT(error < 0 ? -error : error, 3.6e12 / 1e9 + 2'000'000.0 / khz + 80)
            << khz << ": a part in 10^9";
        EXPECT_EQ(pv_ticks_to_ns(scale, hour) + 77, guest_ns(clock, 1'000 + hour));
    }
    EXPECT_EQ(pv_scale(0).mul, 0u);
}

TEST(PvClock, is_monotonic_over_updates) {
    const PvScale scale = pv_scale(2'445'407);
    PvClock clock = pv_clock({.guest_tsc = 0, .ns = 0}, scale, pv_clock_stable);
    std::uint64_t last = 0;
    for (std::uint64_t tsc = 0; tsc < 10'000'000'000; tsc += 777'777'777) {
        const std::uint64_t ns = guest_ns(clock, tsc);
        EXPECT_GE(ns, last);
        last = ns;
        clock =
            pv_clock({.guest_tsc = tsc, .ns = pv_ticks_to_ns(scale, tsc)}, scale, pv_clock_stable);
        EXPECT_GE(guest_ns(clock, tsc), last);
    }
}

TEST(PvWallClock, is_the_time_of_guest_zero) {
    const auto wall = pv_wall_clock(1'700'000'123'000'000'789, 123'000'000'000);
    EXPECT_EQ(wall.seconds, 1'700'000'000u);
    EXPECT_EQ(wall.nanoseconds, 789u);
    EXPECT_EQ(pv_wall_clock(5, 10).seconds, 0u);
}

struct Memory {
    static constexpr std::uint64_t base = 0x1000;
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(256, 0xee);
    std::vector<std::uint32_t> versions; // as seen after each write
    std::size_t version_offset = 0;
    unsigned fail_at = ~0u, writes = 0;

    bool operator()(std::uint64_t gpa, const void *from, std::size_t n) {
        if (writes++ == fail_at) return false;
        std::memcpy(&bytes.at(gpa - base), from, n);
        std::uint32_t version;
        std::memcpy(&version, &bytes[version_offset], 4);
        versions.push_back(version);
        return true;
    }
};

TEST(PvPublish, version_is_odd_while_writing) {
    Memory memory;
    PvClock clock = pv_clock({.guest_tsc = 5, .ns = 6}, pv_scale(1'000'000), 1);
    EXPECT_TRUE(pv_publish(Memory::base, clock, 8, memory));
    EXPECT_EQ(memory.versions, (std::vector<std::uint32_t>{9, 9, 10}));
    PvClock back;
    std::memcpy(&back, memory.bytes.data(), sizeof(back));
    EXPECT_EQ(back.version, 10u);
    EXPECT_EQ(back.tsc_timestamp, 5u);
    EXPECT_EQ(memory.bytes[sizeof(PvClock)], 0xee) << "not a byte more";
    EXPECT_TRUE(pv_publish(Memory::base, clock, clock.version, memory));
    EXPECT_EQ(memory.versions.back(), 12u);

    Memory steal;
    steal.version_offset = offsetof(PvSteal, version);
    PvSteal record{};
    record.steal = 123;
    EXPECT_TRUE(pv_publish(Memory::base, record, 0, steal));
    EXPECT_EQ(steal.versions, (std::vector<std::uint32_t>{1, 1, 2}));
}

TEST(PvPublish, stops_at_the_first_failure) {
    for (unsigned at = 0; at < 3; ++at) {
        Memory memory;
        memory.fail_at = at;
        PvClock clock{};
        EXPECT_FALSE(pv_publish(Memory::base, clock, 0, memory));
        EXPECT_EQ(memory.writes, at + 1);
    }
}

class PvEoiTest : public testing::Test {
  protected:
    using Seen = PvEoi::Seen;
    bool before(bool may_skip) {
        eoi.before_entry(msr, may_skip, [&](std::uint64_t gpa, const void *from, std::size_t n) {
            return store(gpa, from, n);
        });
        return eoi.armed();
    }
    Seen after() {
        return eoi.after_exit(
            msr,
            [&](std::uint64_t gpa, void *to, std::size_t n) {
                EXPECT_EQ(gpa, 0x2004u);
                std::memcpy(to, &byte, n);
                return reads;
            },
            [&](std::uint64_t gpa, const void *from, std::size_t n) {
                return store(gpa, from, n);
            });
    }
    bool store(std::uint64_t gpa, const void *from, std::size_t n) {
        EXPECT_EQ(gpa, 0x2004u);
        if (writes) std::memcpy(&byte, from, n);
        return writes;
    }
    PvEoi eoi;
    std::uint64_t msr = 0x2005;
    std::uint8_t byte = 0;
    bool reads = true, writes = true;
};

TEST_F(PvEoiTest, a_cleared_bit_is_an_end_of_interrupt) {
    EXPECT_TRUE(before(true));
    EXPECT_EQ(byte, 1);
    byte = 0; // the guest's BTR
    EXPECT_EQ(after(), Seen::ended);
    EXPECT_FALSE(eoi.armed());
    EXPECT_EQ(after(), Seen::nothing) << "once";
}

TEST_F(PvEoiTest, a_standing_bit_is_taken_back) {
    before(true);
    EXPECT_EQ(after(), Seen::nothing);
    EXPECT_EQ(byte, 0) << "from now on the guest writes EOI";
    EXPECT_FALSE(eoi.armed());
}

TEST_F(PvEoiTest, not_armed_where_it_must_not_be) {
    EXPECT_FALSE(before(false));
    msr = 0x2004;
    EXPECT_FALSE(before(true)) << "not enabled";
    msr = 0x2005;
    writes = false;
    EXPECT_FALSE(before(true)) << "no memory there";
    EXPECT_EQ(after(), Seen::nothing);
}

TEST_F(PvEoiTest, an_end_of_interrupt_is_not_lost_with_its_page) {
    before(true);
    byte = 0;
    reads = false;
    EXPECT_EQ(after(), Seen::unreadable);
    EXPECT_TRUE(eoi.armed());
    reads = true;
    EXPECT_EQ(after(), Seen::ended);
    before(true);
    writes = false;
    EXPECT_EQ(after(), Seen::unreadable) << "the bit stands and cannot be taken back";
    byte = 0;
    EXPECT_EQ(after(), Seen::ended) << "the guest used it";
}

} // namespace
