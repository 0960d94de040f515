// SPDX-License-Identifier: GPL-2.0-only
// Random operations against a model of what each probed frame is mapped to, with the processor at
// work in between. HWV_STEPS and HWV_SEED in the environment make longer and other runs.
#include "simulation.hpp"

#include <cstdlib>

namespace npt_test {
namespace {

template <typename Kind>
class TableModel : public testing::Test, protected Simulation<Kind> {
  protected:
    TableModel() : Simulation<Kind>(setting("HWV_SEED", 0x5eed)) {}

    static std::uint32_t setting(const char *name, std::uint32_t otherwise) {
        const char *text = std::getenv(name);
        return text ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 0)) : otherwise;
    }

    // A range between two probes, so that its ends meet the ends of leaves, or nearly.
    GfnRange range() {
        const std::uint64_t a = this->probe(), b = this->probe() + this->pick(2);
        return {std::min(a, b), std::max(a, b) + this->pick(2)};
    }

    // Mostly enough pages, sometimes too few.
    FakeSource source() {
        const bool short_of = this->pick(4) == 0;
        return {&this->f.machine, short_of ? unsigned(this->pick(3)) : 1000u};
    }

    Perms perms() {
        constexpr Perms choices[] = {perms_all,
                                     perms_no_write,
                                     {true, true, false},
                                     {true, false, false},
                                     {false, false, true}};
        for (;;) {
            const Perms perms = choices[this->pick(std::size(choices))];
            if (Kind::format().expressible(perms)) return perms;
        }
    }

    // Few places for the frames, so that a map often says the same or changes the permissions only.
    Leaf leaf() {
        Leaf leaf;
        leaf.level = static_cast<Level>(1 + this->pick(10) / 4);
        leaf.gfn = this->probe() & ~(pages(leaf.level) - 1);
        leaf.pfn = (1 + this->pick(3)) * pages(4) / 8 + leaf.gfn % pages(3);
        leaf.pfn &= ~(pages(leaf.level) - 1);
        leaf.perms = perms();
        leaf.accessed = this->pick(2);
        return leaf;
    }

    template <typename Expected>
    void expect_after(Expected expected) {
        for (std::size_t i = 0; i < this->probes.size(); ++i)
            EXPECT_TRUE(expected(this->probes[i], this->before[i], this->after[i]))
                << "probe " << this->probes[i];
    }

    void map() {
        const Leaf leaf = this->leaf();
        FakeSource source = this->source();
        MapResult result{};
        const GfnRange mapped{leaf.gfn, leaf.gfn + pages(leaf.level)};
        this->observe(mapped, [&] {
            result = this->f.table.map(leaf, source, this->f.gather, this->removed());
        });
        EXPECT_LE(source.taken, this->f.table.max_pages_per_map);
        EXPECT_NE(result, MapResult::bad_argument);
        if (source.budget > 3) {
            EXPECT_NE(result, MapResult::no_pages);
        }
        expect_after([&](std::uint64_t gfn, const Seen &old, const Seen &now) {
            const Seen wanted{true, leaf.pfn + (gfn - leaf.gfn), leaf.perms};
            const bool changes = result == MapResult::mapped || result == MapResult::unchanged;
            if (result == MapResult::unchanged && old != now) return false;
            return now == (changes && mapped.covers(gfn, 1) ? wanted : old);
        });
    }

    // Its own frame for certain; the others of the block all, or none of them.
    void map_block() {
        Leaf leaf = this->leaf();
        leaf.level = Level::page_4k;
        leaf.pfn = (leaf.pfn & ~(pages(2) - 1)) + leaf.gfn % pages(2);
        const std::uint64_t base = leaf.gfn & ~(pages(2) - 1);
        const GfnRange block{base, base + pages(2)};
        FakeSource source = this->source();
        MapResult result{};
        this->observe(block, [&] {
            result = this->f.table.map_block(leaf, source, this->f.gather, this->removed());
        });
        EXPECT_LE(source.taken, this->f.table.max_pages_per_map);
        if (source.budget > 3) {
            EXPECT_NE(result, MapResult::no_pages);
        }
        const bool done = result == MapResult::mapped || result == MapResult::unchanged;
        const auto is_leaf = [&](std::uint64_t gfn, const Seen &now) {
            return now == Seen{true, leaf.pfn + (gfn - leaf.gfn), leaf.perms};
        };
        bool all = true, none = true;
        expect_after([&](std::uint64_t gfn, const Seen &old, const Seen &now) {
            if (gfn == leaf.gfn && done) return is_leaf(gfn, now);
            const bool there = block.covers(gfn, 1) && is_leaf(gfn, now);
            all &= there || !block.covers(gfn, 1);
            none &= now == old;
            return now == old || (done && there);
        });
        EXPECT_TRUE(all || none);
        if (done) {
            EXPECT_EQ(this->f.table.walk(leaf.gfn)->level, Level::page_4k);
        }
    }

    // The leaf around each probe before an operation.
    std::map<std::uint64_t, GfnRange> extents() {
        std::map<std::uint64_t, GfnRange> out;
        for (const std::uint64_t gfn : this->probes) {
            if (const auto leaf = this->f.table.walk(gfn))
                out[gfn] = {leaf->gfn, leaf->gfn + pages(leaf->level)};
        }
        return out;
    }
    static bool meets(GfnRange a, GfnRange b) {
        return a.size() && b.size() && a.first < b.end && b.first < a.end;
    }

    void unmap() {
        const GfnRange range = this->range();
        const auto extent = extents();
        FakeSource source = this->source();
        const Empty empty = this->pick(2) ? Empty::keep : Empty::prune;
        this->observe(range, [&] {
            this->f.table.unmap(range, source, this->f.gather, this->removed(), empty);
        });
        const bool dry = source.taken == source.budget;
        expect_after([&](std::uint64_t gfn, const Seen &old, const Seen &now) {
            if (range.covers(gfn, 1)) return !now.present;
            const bool neighbour = old.present && meets(extent.at(gfn), range);
            return now == old || (dry && neighbour && !now.present);
        });
    }

    void protect() {
        const GfnRange range = this->range();
        const auto extent = extents();
        FakeSource source = this->source();
        if (range.size() > pages(2) * 4) source.budget = std::min(source.budget, 6u); // for speed
        const Perms keep{this->pick(8) != 0, this->pick(2) != 0, this->pick(2) != 0};
        const auto split_to = static_cast<Level>(1 + this->pick(3));
        this->observe(range, [&] {
            this->f.table.protect(range, keep, split_to, source, this->f.gather, this->removed());
        });
        const bool exact = split_to == Level::page_4k && source.taken < source.budget;
        expect_after([&](std::uint64_t gfn, const Seen &old, const Seen &now) {
            if (!old.present) return !now.present;
            Seen less = old;
            less.perms = old.perms & keep;
            if (!Kind::format().expressible(less.perms)) less = Seen{};
            if (range.covers(gfn, 1)) return now == less;
            return now == old || (!exact && meets(extent.at(gfn), range) && now == less);
        });
    }

    void age() {
        const GfnRange range = this->range();
        bool expected = false;
        for (const auto &[gfn, pfn] : this->young_truth)
            expected |= range.covers(gfn, 1);
        bool young = false;
        this->observe(range, [&] {
            young = this->f.table.clear_young(range, this->f.gather, this->removed());
        });
        if (expected) {
            EXPECT_TRUE(young);
        }
        this->young_truth.clear();
    }

    void harvest() {
        const GfnRange range = this->range();
        std::vector<std::uint64_t> bits(range.size() > (1 << 24) ? 0 : range.size() / 64 + 1);
        const auto by = this->pick(2) ? DirtyBy::dirty_bit : DirtyBy::write_protection;
        auto truth = this->log_truth;
        bool done = false;
        this->observe(range,
                      [&] { done = this->f.table.harvest_dirty(range, bits, by, this->f.gather); });
        EXPECT_EQ(done, range.size() <= bits.size() * 64);
        if (!done) return;
        for (const std::uint64_t gfn : this->log_truth) {
            if (!range.covers(gfn, 1)) continue;
            const std::uint64_t bit = gfn - range.first;
            const bool told = bits[bit / 64] >> (bit % 64) & 1;
            const bool kept = pending(gfn);
            EXPECT_TRUE(told || (kept && this->written_meanwhile.contains(gfn)) ||
                        !truth.contains(gfn))
                << "write to " << gfn << " not in the log";
            EXPECT_TRUE(told || kept);
        }
        std::erase_if(this->log_truth,
                      [&](std::uint64_t gfn) { return range.covers(gfn, 1) && !pending(gfn); });
    }

    // The frame's leaf will be in the next harvest.
    bool pending(std::uint64_t gfn) {
        const auto leaf = this->f.hw(gfn);
        return leaf && Kind::format().written(*leaf->entry);
    }

    void step() {
        const std::uint64_t what = this->pick(16);
        if (what < 5)
            map();
        else if (what < 7)
            map_block();
        else if (what < 10)
            unmap();
        else if (what < 12)
            protect();
        else if (what < 13)
            age();
        else if (what < 15)
            harvest();
        else
            this->flush();
        this->check_nothing_lost();
    }
};

using Kinds = testing::Types<NptKind, NptSmeKind, EptKind, EptOldKind, EptDeepKind>;
TYPED_TEST_SUITE(TableModel, Kinds);

TYPED_TEST(TableModel, RandomOperationsUnderAWorkingProcessor) {
    const unsigned steps = this->setting("HWV_STEPS", 800);
    for (unsigned i = 0; i < steps && !this->HasFailure(); ++i) {
        SCOPED_TRACE(testing::Message() << "step " << i);
        this->step();
    }
    this->observe({0, ~0ull}, [&] {
        this->f.table.unmap({0, ~0ull}, this->f.source, this->f.gather, this->removed());
    });
    EXPECT_TRUE(this->dirty_truth.empty());
    EXPECT_EQ(this->f.table.stats().leaves, Stats{}.leaves);
    this->flush();
    EXPECT_EQ(this->f.machine.used(), 1u);
}

} // namespace
} // namespace npt_test
