// SPDX-License-Identifier: GPL-2.0-only
#include "boot/guest_memory.hpp"

#include "fixture.hpp"

namespace boot_test {
namespace {

using boot::MapEntry;
using boot::MapType;

TEST(GuestMemory, WritesAcrossTouchingRegionsAndNotAcrossAHole) {
    Ram ram({{0, 0x1000}, {0x1000, 0x1000}, {0x3000, 0x1000}});
    const auto bytes = pattern(0x20, 1);
    ram->write(0xff0, bytes);
    Bytes back(0x20);
    ram->read(0xff0, back);
    EXPECT_EQ(back, bytes);
    EXPECT_THROW(ram->write(0x1ff0, bytes), std::out_of_range);
    EXPECT_EQ(ram->get<std::uint8_t>(0x1ff0), 0xee) << "a refused write transferred bytes";
    EXPECT_FALSE(ram->span(0xff0, 0x20).has_value());
    EXPECT_TRUE(ram->span(0x1ff0, 0x10).has_value());
}

TEST(GuestMemory, RefusesWrappingLengths) {
    Ram ram({{0, 0x1000}});
    EXPECT_FALSE(ram->is_ram(0x800, ~std::uint64_t{0}));
    EXPECT_FALSE(ram->span(0x800, ~std::uint64_t{0}).has_value());
    EXPECT_FALSE(ram->is_ram(~std::uint64_t{0}, 1));
    EXPECT_TRUE(ram->is_ram(0xfff, 1));
    EXPECT_FALSE(ram->is_ram(0xfff, 2));
}

TEST(GuestMemory, RefusesBadRegions) {
    Bytes backing(0x2000);
    const std::span all{backing};
    using Regions = std::vector<boot::RamRegion>;
    EXPECT_THROW(boot::GuestMemory(Regions{{0, {}}}), std::invalid_argument);
    EXPECT_THROW(boot::GuestMemory(Regions{{0, all}, {0x1fff, all}}), std::invalid_argument);
    EXPECT_THROW(boot::GuestMemory(Regions{{~std::uint64_t{0xfff}, all}}), std::invalid_argument);
    EXPECT_EQ(boot::GuestMemory(Regions{{0x2000, all}, {0, all}}).regions()[0].gpa, 0U);
}

TEST(MemoryMap, HasTheLegacyHoleAndThePciHole) {
    EXPECT_EQ(boot::pc_ram_layout(512 * mib).size(), 1U);
    const auto split = boot::pc_ram_layout(5120 * mib);
    ASSERT_EQ(split.size(), 2U);
    EXPECT_EQ(split[0].end(), 0xb000'0000U);
    EXPECT_EQ(split[1].start, 0x1'0000'0000U);
    EXPECT_EQ(split[0].size + split[1].size, 5120 * mib);

    Ram ram({{0, 16 * mib}, {0x1'0000'0000, 2 * mib}});
    const std::vector<MapEntry> expected{
        {0, 0x9'fc00, MapType::usable},
        {0x9'fc00, 0x400, MapType::reserved},
        {0xe'0000, 0x2'0000, MapType::reserved},
        {0x10'0000, 15 * mib, MapType::usable},
        {0x1'0000'0000, 2 * mib, MapType::usable},
    };
    EXPECT_EQ(boot::memory_map(*ram), expected);
    EXPECT_EQ(boot::low_ram_end(*ram), 16 * mib);
}

TEST(MemoryMap, HoleIsCutOutOfTheRegionThatHasIt) {
    std::vector<std::byte> backing(0x4000);
    const std::span all{backing};
    const std::vector<boot::RamRegion> regions{{0x1000, all}, {0x10000, all}};
    const auto cut = machine::without(regions, {0x2000, 0x1000});
    ASSERT_EQ(cut.size(), 3U);
    EXPECT_EQ(cut[0].end(), 0x2000U);
    EXPECT_EQ(cut[1].gpa, 0x3000U);
    EXPECT_EQ(cut[1].bytes.data(), all.data() + 0x2000);
    EXPECT_EQ(cut[1].end(), 0x5000U);
    EXPECT_EQ(cut[2].bytes.size(), all.size());
    EXPECT_EQ(machine::without(regions, {0, 0x2000}).size(), 2U);
    EXPECT_EQ(machine::without(regions, {0, 0x8000}).size(), 1U);
}

TEST(MemoryMap, JoinsTouchingRegions) {
    Ram ram({{0, 2 * mib}, {2 * mib, 2 * mib}});
    EXPECT_EQ(boot::memory_map(*ram).back(), (MapEntry{mib, 3 * mib, MapType::usable}));
}

} // namespace
} // namespace boot_test
