// SPDX-License-Identifier: GPL-2.0-only
// The table's operations one by one, in every format and depth.
#include "fake_machine.hpp"

namespace npt_test {
namespace {

template <typename Kind>
class TableTest : public testing::Test, protected Fixture<Kind> {};

using Kinds = testing::Types<NptKind, NptSmeKind, EptKind, EptOldKind, EptDeepKind>;
TYPED_TEST_SUITE(TableTest, Kinds);

constexpr std::uint64_t pages_2m = 512;
constexpr std::uint64_t pages_1g = 512 * 512;

Leaf leaf_4k(std::uint64_t gfn, std::uint64_t pfn, Perms perms = perms_all) {
    return {gfn, pfn, Level::page_4k, perms};
}
Leaf leaf_2m(std::uint64_t gfn, std::uint64_t pfn, Perms perms = perms_all) {
    return {gfn, pfn, Level::page_2m, perms};
}

TYPED_TEST(TableTest, MapsEachSizeWhereTheHardwareFindsIt) {
    EXPECT_EQ(this->map(leaf_4k(5, 0x777)), MapResult::mapped);
    EXPECT_EQ(this->map(leaf_2m(pages_2m, 0x1000)), MapResult::mapped);
    EXPECT_EQ(this->map({pages_1g, 4 * pages_1g, Level::page_1g, perms_no_write}),
              MapResult::mapped);
    EXPECT_EQ(this->hw(5)->pfn, 0x777u);
    EXPECT_EQ(this->hw(pages_2m + 17)->pfn, 0x1011u);
    EXPECT_EQ(this->hw(pages_1g + 12345)->pfn, 4 * pages_1g + 12345);
    EXPECT_EQ(this->hw(pages_1g)->perms, perms_no_write);
    EXPECT_FALSE(this->hw(4));
    EXPECT_FALSE(this->hw(2 * pages_2m));
    EXPECT_FALSE(this->gather.flush_needed);
    EXPECT_EQ(this->table.stats().leaves, (std::array<std::uint64_t, 3>{1, 1, 1}));
    EXPECT_EQ(this->table.stats().table_pages, this->machine.used());
}

TYPED_TEST(TableTest, WalkTellsWhatWasMapped) {
    const Leaf leaf = leaf_2m(pages_2m, 0x1000, perms_no_write);
    this->map(leaf);
    auto seen = this->table.walk(pages_2m + 3);
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->gfn, leaf.gfn);
    EXPECT_EQ(seen->pfn, leaf.pfn);
    EXPECT_EQ(seen->level, leaf.level);
    EXPECT_EQ(seen->perms, leaf.perms);
    EXPECT_EQ(seen->accessed, !TypeParam::tracks);
    EXPECT_FALSE(seen->dirty);
    this->touch(pages_2m + 9, false);
    EXPECT_TRUE(this->table.walk(pages_2m)->accessed);
    EXPECT_FALSE(this->table.walk(0));
    EXPECT_FALSE(this->table.walk(this->table.gfn_end()));
    EXPECT_FALSE(this->table.walk(~0ull));
}

TYPED_TEST(TableTest, ReachesTheLastFrame) {
    const std::uint64_t last = (1ull << (9 * TypeParam::depth)) - 1;
    EXPECT_EQ(this->table.gfn_end(), last + 1);
    EXPECT_EQ(this->map(leaf_4k(last, 1)), MapResult::mapped);
    EXPECT_EQ(this->hw(last)->pfn, 1u);
    EXPECT_EQ(this->map(leaf_4k(last + 1, 1)), MapResult::bad_argument);
    this->unmap({last, ~0ull});
    EXPECT_FALSE(this->hw(last));
}

TYPED_TEST(TableTest, RefusesWhatTheFormatCannotSay) {
    EXPECT_EQ(this->map(leaf_2m(1, pages_2m)), MapResult::bad_argument);
    EXPECT_EQ(this->map(leaf_2m(pages_2m, 1)), MapResult::bad_argument);
    EXPECT_EQ(this->map(leaf_4k(0, 1ull << 40)), MapResult::bad_argument);
    EXPECT_EQ(this->map(leaf_4k(0, 1, {})), MapResult::bad_argument);
    EXPECT_EQ(this->map(leaf_4k(0, 1, {false, true, true})), MapResult::bad_argument);
    EXPECT_EQ(this->map({0, 0, static_cast<Level>(0), perms_all}), MapResult::bad_argument);
    EXPECT_EQ(this->map({0, 0, static_cast<Level>(4), perms_all}), MapResult::bad_argument);
    if (TypeParam::mask) {
        EXPECT_EQ(this->map(leaf_4k(0, TypeParam::mask >> 12)), MapResult::bad_argument);
    }
    EXPECT_EQ(this->machine.used(), 1u);
}

TYPED_TEST(TableTest, NeedsNoMorePagesThanItSays) {
    for (const std::uint64_t gfn : {std::uint64_t{0}, this->table.gfn_end() - 1}) {
        FakeSource source{&this->machine, this->table.max_pages_per_map};
        EXPECT_EQ(this->table.map(leaf_4k(gfn, 7), source, this->gather, this->collect()),
                  MapResult::mapped);
        EXPECT_LE(source.taken, TypeParam::depth - 1);
    }
}

TYPED_TEST(TableTest, DrySourceLeavesTheMapping) {
    this->map({0, 0, Level::page_1g, perms_no_write});
    for (unsigned budget = 0; budget < 2; ++budget) {
        FakeSource dry{&this->machine, budget};
        EXPECT_EQ(this->table.map(leaf_4k(3, 3), dry, this->gather, this->collect()),
                  MapResult::no_pages);
        EXPECT_EQ(this->hw(3)->perms, perms_no_write);
        EXPECT_EQ(this->hw(3)->pfn, 3u);
    }
    FakeSource one{&this->machine, 1};
    EXPECT_EQ(this->table.map(leaf_4k(3, 3), one, this->gather, this->collect()),
              MapResult::mapped);
    EXPECT_EQ(this->hw(3)->perms, perms_all);
}

TYPED_TEST(TableTest, MappingTheSameAgainChangesNothing) {
    this->map(leaf_2m(0, 0));
    const auto writes = this->machine.writes;
    EXPECT_EQ(this->map(leaf_4k(7, 7)), MapResult::unchanged);
    EXPECT_EQ(this->machine.writes, writes);
    EXPECT_EQ(this->map(leaf_2m(0, 0)), MapResult::unchanged);
    EXPECT_TRUE(this->removed.empty());
    EXPECT_FALSE(this->gather.flush_needed);
}

TYPED_TEST(TableTest, MorePermissionsNeedNoFlushFewerDo) {
    this->map(leaf_4k(1, 1, perms_no_write));
    this->touch(1, false);
    EXPECT_EQ(this->map(leaf_4k(1, 1)), MapResult::mapped);
    EXPECT_FALSE(this->gather.flush_needed);
    EXPECT_TRUE(this->table.walk(1)->accessed);
    this->touch(1, true);
    EXPECT_EQ(this->map(leaf_4k(1, 1, perms_no_write)), MapResult::mapped);
    EXPECT_TRUE(this->gather.flush_needed);
    EXPECT_TRUE(this->table.walk(1)->dirty);
    EXPECT_TRUE(this->removed.empty());
}

TYPED_TEST(TableTest, AnotherFrameReportsTheOldOne) {
    this->map(leaf_4k(1, 0x10));
    this->touch(1, true);
    EXPECT_EQ(this->map(leaf_4k(1, 0x20)), MapResult::mapped);
    ASSERT_EQ(this->removed.size(), 1u);
    EXPECT_EQ(this->removed[0], (Leaf{1, 0x10, Level::page_4k, perms_all, true, true}));
    EXPECT_TRUE(this->gather.flush_needed);
    EXPECT_EQ(this->table.walk(1)->dirty, !TypeParam::tracks);
}

TYPED_TEST(TableTest, SmallerLeafSplitsALargeOneAndKeepsTheRest) {
    this->map({0, pages_1g, Level::page_1g, perms_no_write});
    this->touch(9, false);
    EXPECT_EQ(this->map(leaf_4k(3, pages_1g + 3)), MapResult::mapped);
    EXPECT_TRUE(this->gather.flush_needed);
    EXPECT_EQ(this->hw(3)->perms, perms_all);
    for (const std::uint64_t gfn : {0ull, 2ull, 4ull, 511ull, 512ull, 262143ull}) {
        EXPECT_EQ(this->hw(gfn)->perms, perms_no_write);
        EXPECT_EQ(this->hw(gfn)->pfn, pages_1g + gfn);
        EXPECT_TRUE(this->table.walk(gfn)->accessed);
    }
    EXPECT_EQ(this->table.stats().leaves, (std::array<std::uint64_t, 3>{512, 511, 0}));
    EXPECT_TRUE(this->removed.empty());
}

TYPED_TEST(TableTest, LargerLeafCollapsesATable) {
    this->map(leaf_4k(pages_2m + 3, 0x803));
    this->map(leaf_4k(pages_2m + 4, 0x999));
    this->touch(pages_2m + 4, true);
    EXPECT_EQ(this->map(leaf_2m(pages_2m, 0x800)), MapResult::mapped);
    ASSERT_EQ(this->removed.size(), 2u);
    EXPECT_EQ(this->removed[1].pfn, 0x999u);
    EXPECT_TRUE(this->removed[1].dirty);
    EXPECT_EQ(this->removed[0].dirty, !TypeParam::tracks);
    EXPECT_TRUE(this->gather.flush_needed);
    EXPECT_EQ(this->gather.freed.size(), 1u);
    EXPECT_EQ(this->hw(pages_2m + 3)->pfn, 0x803u);
    EXPECT_EQ(this->table.stats().leaves, (std::array<std::uint64_t, 3>{0, 1, 0}));
    EXPECT_EQ(this->table.stats().table_pages + this->flush(), TypeParam::depth);
    EXPECT_EQ(this->table.stats().table_pages, this->machine.used());
}

TYPED_TEST(TableTest, UnmapReportsEachLeafOnceWithItsBits) {
    this->map(leaf_4k(0, 10));
    this->map(leaf_4k(1, 11));
    this->map(leaf_4k(2, 12));
    this->touch(1, true);
    this->unmap({1, 3});
    ASSERT_EQ(this->removed.size(), 2u);
    EXPECT_EQ(this->removed[0], (Leaf{1, 11, Level::page_4k, perms_all, true, true}));
    EXPECT_EQ(this->removed[1].pfn, 12u);
    EXPECT_EQ(this->removed[1].accessed, !TypeParam::tracks);
    EXPECT_TRUE(this->hw(0));
    EXPECT_FALSE(this->hw(1));
    EXPECT_FALSE(this->hw(2));
    EXPECT_TRUE(this->gather.flush_needed);
}

TYPED_TEST(TableTest, UnmapOfNothingNeedsNoFlush) {
    this->map(leaf_4k(0, 10));
    this->unmap({1, 1ull << 30});
    this->unmap({5, 5});
    this->unmap({7, 3});
    this->unmap({~0ull - 1, ~0ull});
    EXPECT_FALSE(this->gather.flush_needed);
    EXPECT_TRUE(this->removed.empty());
    EXPECT_TRUE(this->hw(0));
}

TYPED_TEST(TableTest, UnmapOfAPartSplits) {
    this->map(leaf_2m(0, pages_2m));
    this->touch(300, true);
    this->unmap({100, 200});
    EXPECT_EQ(this->removed.size(), 100u);
    EXPECT_TRUE(this->removed.front().dirty) << "one of the 512 was written";
    EXPECT_EQ(this->hw(99)->pfn, pages_2m + 99);
    EXPECT_FALSE(this->hw(100));
    EXPECT_FALSE(this->hw(199));
    EXPECT_TRUE(this->hw(200));
}

TYPED_TEST(TableTest, UnmapOfAPartWithoutPagesTakesTheWholeLeaf) {
    this->map(leaf_2m(0, pages_2m));
    NoPages none;
    this->table.unmap({100, 200}, none, this->gather, this->collect());
    ASSERT_EQ(this->removed.size(), 1u);
    EXPECT_EQ(this->removed[0].level, Level::page_2m);
    EXPECT_FALSE(this->hw(0));
    EXPECT_FALSE(this->hw(511));
}

TYPED_TEST(TableTest, WholeTablesAreFreedAfterTheFlush) {
    for (std::uint64_t i = 0; i < 4; ++i)
        this->map(leaf_4k(i * pages_2m, i));
    const std::size_t before = this->machine.used();
    this->unmap({0, 4 * pages_2m});
    EXPECT_EQ(this->machine.used(), before) << "not before the flush";
    EXPECT_EQ(this->flush(), 4u);
    EXPECT_EQ(this->table.stats().table_pages, this->machine.used());
}

TYPED_TEST(TableTest, PruneGivesBackEmptyTablesAtTheEdges) {
    this->map(leaf_4k(5, 5));
    this->unmap({5, 6});
    EXPECT_EQ(this->flush(), 0u);
    EXPECT_EQ(this->machine.used(), TypeParam::depth);
    this->unmap({5, 6}, Empty::prune);
    EXPECT_TRUE(this->gather.flush_needed);
    EXPECT_EQ(this->flush(), TypeParam::depth - 1);
    EXPECT_EQ(this->machine.used(), 1u);
    this->map(leaf_4k(5, 5));
    this->map(leaf_4k(6, 6));
    this->unmap({5, 6}, Empty::prune);
    EXPECT_EQ(this->flush(), 0u);
    EXPECT_TRUE(this->hw(6));
}

TYPED_TEST(TableTest, WriteProtectSplitsToTheLevelAsked) {
    this->map({0, 0, Level::page_1g, perms_all});
    EXPECT_TRUE(this->table.write_protect({10, 20}, Level::page_4k, this->source, this->gather));
    EXPECT_EQ(this->hw(9)->perms, perms_all);
    EXPECT_EQ(this->hw(10)->perms, perms_no_write);
    EXPECT_EQ(this->hw(19)->perms, perms_no_write);
    EXPECT_EQ(this->hw(20)->perms, perms_all);
    EXPECT_EQ(this->table.stats().leaves, (std::array<std::uint64_t, 3>{512, 511, 0}));
    EXPECT_TRUE(this->gather.flush_needed);
    this->gather.flush_needed = false;
    EXPECT_FALSE(this->table.write_protect({10, 20}, Level::page_4k, this->source, this->gather));
    EXPECT_FALSE(this->gather.flush_needed);
}

TYPED_TEST(TableTest, LazyWriteProtectKeepsLargeLeavesUntilTheyAreWritten) {
    this->map(leaf_2m(0, 0));
    this->table.write_protect({10, 20}, Level::page_2m, this->source, this->gather);
    EXPECT_EQ(this->hw(0)->perms, perms_no_write);
    EXPECT_EQ(this->hw(0)->level, 2u);
    this->map(leaf_4k(12, 12));
    EXPECT_EQ(this->hw(12)->perms, perms_all);
    EXPECT_EQ(this->hw(13)->perms, perms_no_write);
}

TYPED_TEST(TableTest, WriteProtectWithoutPagesProtectsTheWholeLeaf) {
    this->map(leaf_2m(0, 0));
    NoPages none;
    this->table.write_protect({10, 20}, Level::page_4k, none, this->gather);
    EXPECT_EQ(this->hw(0)->perms, perms_no_write);
    EXPECT_EQ(this->hw(0)->level, 2u);
}

TYPED_TEST(TableTest, ProtectRemovesWhatCannotBeExpressed) {
    this->map(leaf_4k(1, 1, {true, true, false}));
    this->touch(1, true);
    this->table.protect({0, 8}, {false, false, true}, Level::page_4k, this->source, this->gather,
                        this->collect());
    ASSERT_EQ(this->removed.size(), 1u);
    EXPECT_TRUE(this->removed[0].dirty);
    EXPECT_EQ(this->table.stats().leaves[0], 0u);
}

TYPED_TEST(TableTest, ProtectionKeepsThatThePageWasWritten) {
    this->map(leaf_4k(1, 1));
    this->touch(1, true);
    this->table.write_protect({1, 2}, Level::page_4k, this->source, this->gather);
    this->unmap({1, 2});
    ASSERT_EQ(this->removed.size(), 1u);
    EXPECT_TRUE(this->removed[0].dirty);
}

TYPED_TEST(TableTest, YoungIsSeenAndCleared) {
    this->map(leaf_4k(1, 1));
    this->map(leaf_2m(pages_2m, pages_2m));
    this->touch(pages_2m + 8, false);
    EXPECT_EQ(this->table.test_young({0, pages_2m}), !TypeParam::tracks);
    EXPECT_TRUE(this->table.test_young({pages_2m + 100, pages_2m + 101}));
    EXPECT_TRUE(this->table.clear_young({0, 2 * pages_2m}, this->gather, this->collect()));
    EXPECT_FALSE(this->table.test_young({0, 2 * pages_2m}));
    EXPECT_FALSE(this->table.clear_young({0, 2 * pages_2m}, this->gather, this->collect()));
    EXPECT_EQ(this->removed.size(), TypeParam::tracks ? 0u : 2u);
    EXPECT_EQ(bool(this->hw(1)), TypeParam::tracks);
    EXPECT_EQ(this->gather.flush_needed, !TypeParam::tracks);
}

TYPED_TEST(TableTest, ClearYoungKeepsDirty) {
    this->map(leaf_4k(1, 1));
    this->touch(1, true);
    this->table.clear_young({1, 2}, this->gather, this->collect());
    this->unmap({1, 2});
    ASSERT_EQ(this->removed.size(), 1u);
    EXPECT_TRUE(this->removed[0].dirty);
}

TYPED_TEST(TableTest, HarvestByDirtyBits) {
    for (std::uint64_t gfn = 60; gfn < 70; ++gfn)
        this->map(leaf_4k(gfn, gfn, gfn == 65 ? perms_all : perms_no_write));
    this->touch(65, true);
    std::array<std::uint64_t, 1> bits{};
    EXPECT_TRUE(this->table.harvest_dirty({60, 70}, bits, DirtyBy::dirty_bit, this->gather));
    EXPECT_EQ(bits[0], 1ull << 5);
    EXPECT_TRUE(this->gather.flush_needed);
    bits = {};
    this->gather.flush_needed = false;
    EXPECT_TRUE(this->table.harvest_dirty({60, 70}, bits, DirtyBy::dirty_bit, this->gather));
    EXPECT_EQ(bits[0], 0u);
    EXPECT_FALSE(this->gather.flush_needed);
    this->unmap({65, 66});
    EXPECT_TRUE(this->removed[0].dirty) << "the host's page stays dirty";
}

TYPED_TEST(TableTest, HarvestByWriteProtection) {
    this->map(leaf_4k(130, 1));
    this->map(leaf_4k(131, 2, perms_no_write));
    std::array<std::uint64_t, 3> bits{};
    EXPECT_TRUE(this->table.harvest_dirty({0, 192}, bits, DirtyBy::write_protection, this->gather));
    EXPECT_EQ(bits[2], 1ull << 2);
    EXPECT_EQ(this->hw(130)->perms, perms_no_write);
    bits = {};
    this->table.harvest_dirty({0, 192}, bits, DirtyBy::write_protection, this->gather);
    EXPECT_EQ(bits[2], 0u);
}

TYPED_TEST(TableTest, HarvestOfAPartOfALargeLeafForgetsNothing) {
    this->map(leaf_2m(0, 0));
    this->touch(0, true);
    std::array<std::uint64_t, 8> bits{};
    this->table.harvest_dirty({256, 512}, bits, DirtyBy::dirty_bit, this->gather);
    for (std::size_t i = 0; i < 8; ++i)
        EXPECT_EQ(bits[i], i < 4 ? ~0ull : 0u);
    bits = {};
    this->table.harvest_dirty({0, 512}, bits, DirtyBy::dirty_bit, this->gather);
    EXPECT_EQ(bits[0], ~0ull);
    EXPECT_EQ(bits[7], ~0ull);
    bits = {};
    this->table.harvest_dirty({0, 512}, bits, DirtyBy::dirty_bit, this->gather);
    EXPECT_EQ(bits[0], 0u);
}

TYPED_TEST(TableTest, HarvestChecksTheBitmap) {
    this->map(leaf_4k(64, 1));
    std::array<std::uint64_t, 1> bits{};
    EXPECT_FALSE(this->table.harvest_dirty({0, 65}, bits, DirtyBy::write_protection, this->gather));
    EXPECT_EQ(this->hw(64)->perms, perms_all);
    EXPECT_TRUE(this->table.harvest_dirty({0, 0}, {}, DirtyBy::dirty_bit, this->gather));
}

TYPED_TEST(TableTest, DestroyReturnsEveryPageAndLeaf) {
    this->map(leaf_4k(1, 1));
    this->map(leaf_2m(pages_2m, 0));
    this->map({pages_1g, 0, Level::page_1g, perms_all});
    this->map(leaf_4k(this->table.gfn_end() - 1, 9));
    this->table.destroy(this->gather, this->collect());
    EXPECT_EQ(this->removed.size(), 4u);
    EXPECT_FALSE(this->table.initialised());
    EXPECT_EQ(this->table.stats(), Stats{});
    this->flush();
    EXPECT_EQ(this->machine.used(), 0u);
    this->table.destroy(this->gather, this->collect());
    EXPECT_EQ(this->removed.size(), 4u);
}

TYPED_TEST(TableTest, MapCanStartWithBitsSet) {
    Leaf leaf = leaf_4k(1, 1, {true, false, false});
    leaf.accessed = leaf.dirty = true;
    this->map(leaf);
    EXPECT_EQ(*this->table.walk(1), leaf);
}

TEST(TableRoot, IsWhatTheRegisterTakes) {
    Fixture<NptSmeKind> npt;
    EXPECT_EQ(npt.table.root_pointer(), FakeMachine::base | NptSmeKind::mask);
    Fixture<EptKind> ept;
    EXPECT_EQ(ept.table.root_pointer(), FakeMachine::base | 0x5e);
    Fixture<EptDeepKind> deep;
    EXPECT_EQ(deep.table.root_pointer(), FakeMachine::base | 0x66);
}

TEST(TableInit, FailsWithoutAPage) {
    FakeMachine machine;
    Table<NptFormat, FakeMemory> table{NptFormat{}, FakeMemory{&machine}};
    NoPages none;
    EXPECT_FALSE(table.init(none));
    EXPECT_FALSE(table.initialised());
}

TEST(PageListTest, LinksReadAsNotPresentAndPagesComeOutZeroed) {
    FakeMachine machine;
    PageList<FakeMemory> list{FakeMemory{&machine}};
    EXPECT_FALSE(list.pop());
    const TablePage first = machine.allocate();
    const TablePage second = machine.allocate();
    list.push(first.pa);
    list.push(second.pa);
    for (const std::uint64_t link : {*first.va, *second.va}) {
        EXPECT_FALSE(NptFormat{}.present(link));
        EXPECT_FALSE(EptFormat{}.present(link));
    }
    EXPECT_EQ(list.take()->pa, second.pa);
    EXPECT_EQ(list.take()->pa, first.pa);
    EXPECT_FALSE(list.take());
    machine.release(first);
    machine.release(second);
}

} // namespace
} // namespace npt_test
