// SPDX-License-Identifier: GPL-2.0-only
#include "machine/bus.hpp"

#include <gtest/gtest.h>
#include <tuple>
#include <vector>

namespace machine {
namespace {

struct RecordingDevice final : Device {
    using Access = std::tuple<std::uint64_t, unsigned, std::uint64_t>;
    std::vector<Access> writes;
    std::vector<std::pair<std::uint64_t, unsigned>> reads;
    std::uint64_t answer = ~std::uint64_t{0};
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override {
        reads.emplace_back(offset, size);
        return answer;
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override {
        writes.emplace_back(offset, size, value);
    }
};

TEST(PortBus, NobodyHomeReadsAsOnesAndIsCounted) {
    PortBus bus;
    EXPECT_EQ(bus.read(0x1234, 1), 0xffu);
    EXPECT_EQ(bus.read(0x1234, 2), 0xffffu);
    EXPECT_EQ(bus.read(0x1234, 4), 0xffffffffu);
    bus.write(0x4321, 1, 0);
    EXPECT_EQ(bus.unclaimed().reads, 3u);
    EXPECT_EQ(bus.unclaimed().writes, 1u);
    EXPECT_EQ(bus.unclaimed().last_address, 0x4321u);
}

TEST(PortBus, RefusesOverlapsAndImpossibleRanges) {
    PortBus bus;
    RecordingDevice device;
    EXPECT_TRUE(bus.claim({.first = 0x100, .count = 8}, device));
    EXPECT_FALSE(bus.claim({.first = 0x107, .count = 1}, device));
    EXPECT_FALSE(bus.claim({.first = 0xf8, .count = 9}, device));
    EXPECT_FALSE(bus.claim({.first = 0x200, .count = 0}, device));
    EXPECT_FALSE(bus.claim({.first = 0x200, .count = 4, .width = 3}, device));
    EXPECT_FALSE(bus.claim({.first = 0xffff, .count = 2}, device));
    EXPECT_FALSE(bus.claim({.first = 2, .count = 0xffffffff}, device));
    EXPECT_TRUE(bus.claim({.first = 0xf8, .count = 8}, device));
    EXPECT_TRUE(bus.claim({.first = 0xffff, .count = 1}, device));
}

TEST(PortBus, CutsWideAccessesForNarrowDevices) {
    PortBus bus;
    RecordingDevice device;
    ASSERT_TRUE(bus.claim({.first = 0x40, .count = 4}, device, 16));
    bus.write(0x40, 4, 0x44332211);
    const std::vector<RecordingDevice::Access> bytes{
        {16, 1, 0x11}, {17, 1, 0x22}, {18, 1, 0x33}, {19, 1, 0x44}};
    EXPECT_EQ(device.writes, bytes);
    device.answer = 0x5a5;
    EXPECT_EQ(bus.read(0x41, 2), 0xa5a5u);
    EXPECT_EQ(bus.unclaimed().reads, 0u);
}

TEST(PortBus, WidthIsRespectedAcrossTheEndOfARange) {
    PortBus bus;
    RecordingDevice device;
    device.answer = 0;
    ASSERT_TRUE(bus.claim({.first = 0x10, .count = 4, .width = 4}, device));
    EXPECT_EQ(bus.read(0x10, 4), 0u);
    EXPECT_EQ(device.reads.back(), (std::pair<std::uint64_t, unsigned>{0, 4}));
    // Two bytes inside, two outside: nobody drives the upper half.
    EXPECT_EQ(bus.read(0x12, 4), 0xffff0000u);
    EXPECT_EQ(bus.unclaimed().reads, 1u);
    EXPECT_EQ(bus.read(0xfffe, 4), 0xffffffffu);
}

TEST(PortBus, WholeOnlyDevicesNeverSeeAPartOfAWiderAccess) {
    PortBus bus;
    RecordingDevice device;
    ASSERT_TRUE(bus.claim({.first = 0xcf9, .count = 1, .whole_only = true}, device));
    bus.write(0xcf8, 4, 0x80000600);
    bus.write(0xcf8, 2, 0x0600);
    EXPECT_TRUE(device.writes.empty());
    EXPECT_EQ(bus.read(0xcf8, 4), 0xffffffffu);
    EXPECT_TRUE(device.reads.empty());
    bus.write(0xcf9, 1, 6);
    EXPECT_EQ(device.writes.size(), 1u);
}

TEST(MmioBus, FindsRangesInAnyOrderOfClaiming) {
    MmioBus bus;
    RecordingDevice low;
    RecordingDevice high;
    RecordingDevice top;
    low.answer = 1;
    high.answer = 2;
    top.answer = 3;
    ASSERT_TRUE(bus.claim(0xfee00000, 0x1000, high));
    ASSERT_TRUE(bus.claim(0xfec00000, 0x1000, low));
    ASSERT_TRUE(bus.claim(~std::uint64_t{0} - 7, 8, top));
    EXPECT_EQ(bus.read(0xfec00ffc, 4), 1u);
    EXPECT_EQ(low.reads.back().first, 0xffcu);
    EXPECT_EQ(bus.read(0xfee00000, 4), 2u);
    EXPECT_EQ(bus.read(~std::uint64_t{0} - 7, 8), 3u);
}

TEST(MmioBus, RefusesOverlapsAndWrapping) {
    MmioBus bus;
    RecordingDevice device;
    ASSERT_TRUE(bus.claim(0x1000, 0x1000, device));
    EXPECT_FALSE(bus.claim(0x1fff, 1, device));
    EXPECT_FALSE(bus.claim(0x0, 0x1001, device));
    EXPECT_FALSE(bus.claim(0x0, 0x10000, device));
    EXPECT_FALSE(bus.claim(0x5000, 0, device));
    EXPECT_FALSE(bus.claim(~std::uint64_t{0}, 2, device));
    EXPECT_TRUE(bus.claim(0x2000, 0x1000, device));
    EXPECT_TRUE(bus.claim(0x0, 0x1000, device));
}

TEST(MmioBus, StraddlingAndOddAccessesBelongToNobody) {
    MmioBus bus;
    RecordingDevice device;
    ASSERT_TRUE(bus.claim(0x1000, 0x10, device));
    EXPECT_EQ(bus.read(0x100e, 4), 0xffffffffu);
    EXPECT_EQ(bus.read(0xfff, 2), 0xffffu);
    bus.write(~std::uint64_t{0}, 8, 1);
    EXPECT_EQ(bus.read(0x1000, 3), 0xffffffu);
    EXPECT_TRUE(device.reads.empty());
    EXPECT_EQ(bus.unclaimed().reads, 3u);
    EXPECT_EQ(bus.unclaimed().writes, 1u);
}

} // namespace
} // namespace machine
