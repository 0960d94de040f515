// SPDX-License-Identifier: GPL-2.0-only
// Table::map_block: a block of 2 MiB by small leaves at once.
#include "fake_machine.hpp"

namespace npt_test {
namespace {

template <typename Kind>
class TableBlock : public testing::Test, protected Fixture<Kind> {};

using Kinds = testing::Types<NptKind, NptSmeKind, EptKind, EptOldKind, EptDeepKind>;
TYPED_TEST_SUITE(TableBlock, Kinds);

constexpr std::uint64_t pages_2m = 512;
constexpr std::uint64_t pages_1g = 512 * 512;
constexpr Perms no_exec{true, true, false};

Leaf leaf_4k(std::uint64_t gfn, std::uint64_t pfn, Perms perms = perms_all) {
    return {gfn, pfn, Level::page_4k, perms};
}
Leaf leaf_2m(std::uint64_t gfn, std::uint64_t pfn) { return {gfn, pfn, Level::page_2m, perms_all}; }

TYPED_TEST(TableBlock, FillsWhatWasEmpty) {
    EXPECT_EQ(this->map_block(leaf_4k(pages_2m + 5, 0x805)), MapResult::mapped);
    for (std::uint64_t i = 0; i < pages_2m; ++i) {
        const auto seen = this->hw(pages_2m + i);
        ASSERT_TRUE(seen);
        EXPECT_EQ(seen->level, 1u);
        EXPECT_EQ(seen->pfn, 0x800 + i);
        EXPECT_EQ(seen->perms, perms_all);
    }
    EXPECT_FALSE(this->hw(pages_2m - 1));
    EXPECT_FALSE(this->hw(2 * pages_2m));
    EXPECT_FALSE(this->gather.flush_needed);
    EXPECT_EQ(this->table.walk(pages_2m)->dirty, !TypeParam::tracks);
    EXPECT_EQ(this->table.stats().leaves, (std::array<std::uint64_t, 3>{512, 0, 0}));
}

TYPED_TEST(TableBlock, MakesALargeLeafExecutableAndSmall) {
    for (const Level level : {Level::page_2m, Level::page_1g}) {
        this->map({pages_1g, 4 * pages_1g, level, no_exec});
        this->touch(pages_1g + 9, true);
        EXPECT_EQ(this->map_block(leaf_4k(pages_1g + 3, 4 * pages_1g + 3)), MapResult::mapped);
        EXPECT_TRUE(this->gather.flush_needed);
        for (const std::uint64_t gfn : {pages_1g, pages_1g + 3, pages_1g + 511}) {
            EXPECT_EQ(this->hw(gfn)->level, 1u);
            EXPECT_EQ(this->hw(gfn)->pfn, gfn + 3 * pages_1g);
            EXPECT_EQ(this->hw(gfn)->perms, perms_all);
            EXPECT_TRUE(this->table.walk(gfn)->dirty) << "one of the 512 was written";
        }
        if (level == Level::page_1g) {
            EXPECT_EQ(this->hw(pages_1g + 512)->perms, no_exec);
            EXPECT_EQ(this->hw(pages_1g + 512)->level, 2u);
        }
        EXPECT_TRUE(this->removed.empty());
        this->table.unmap({0, 2 * pages_1g}, this->source, this->gather, this->collect());
        this->removed.clear();
        this->flush();
    }
}

TYPED_TEST(TableBlock, LeavesSmallLeavesAlone) {
    this->map(leaf_4k(7, 0x999, perms_no_write));
    EXPECT_EQ(this->map_block(leaf_4k(3, 0x803)), MapResult::mapped);
    EXPECT_EQ(this->hw(3)->pfn, 0x803u);
    EXPECT_EQ(this->hw(7)->pfn, 0x999u);
    EXPECT_EQ(this->hw(7)->perms, perms_no_write);
    EXPECT_FALSE(this->hw(4));
    EXPECT_EQ(this->map_block(leaf_4k(3, 0x803)), MapResult::unchanged);
}

TYPED_TEST(TableBlock, ReportsALeafOfOtherFrames) {
    this->map(leaf_2m(0, pages_2m));
    this->touch(1, true);
    EXPECT_EQ(this->map_block(leaf_4k(3, 0x803)), MapResult::mapped);
    ASSERT_EQ(this->removed.size(), 1u);
    EXPECT_EQ(this->removed[0], (Leaf{0, pages_2m, Level::page_2m, perms_all, true, true}));
    EXPECT_TRUE(this->gather.flush_needed);
    EXPECT_EQ(this->hw(511)->pfn, 0x800u + 511);
    EXPECT_EQ(this->table.stats().leaves, (std::array<std::uint64_t, 3>{512, 0, 0}));
}

TYPED_TEST(TableBlock, RefusesWhatIsNoBlock) {
    EXPECT_EQ(this->map_block(leaf_4k(3, 0x804)), MapResult::bad_argument);
    EXPECT_EQ(this->map_block(leaf_4k(3, 2)), MapResult::bad_argument);
    EXPECT_EQ(this->map_block(leaf_2m(0, 0x800)), MapResult::bad_argument);
    this->map(leaf_2m(0, 0x800));
    FakeSource dry{&this->machine, 0};
    EXPECT_EQ(this->table.map_block(leaf_4k(3, 0x803), dry, this->gather, this->collect()),
              MapResult::no_pages);
    EXPECT_EQ(this->hw(3)->level, 2u);
}

} // namespace
} // namespace npt_test
