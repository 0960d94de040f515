// SPDX-License-Identifier: GPL-2.0-only
// The engine changes a table while a processor uses it: between any two of the engine's accesses it
// may walk, from the root or a table it has cached, set bits, and keep the translation. Promises:
//   - at each write, every probed frame is mapped as before the operation or as after it;
//   - no accessed or dirty bit gets lost;
//   - without a flush request no cached translation or table is stale; no page is freed before;
//   - the statistics are true and no page is lost.
#pragma once

#include "fake_machine.hpp"

#include <map>
#include <random>
#include <set>

namespace npt_test {

struct Seen {
    bool present = false;
    std::uint64_t pfn = 0;
    Perms perms{};

    friend bool operator==(const Seen &, const Seen &) = default;
};

template <typename Kind>
class Simulation {
  public:
    explicit Simulation(std::uint32_t seed) : random(seed) {
        for (const std::uint64_t last : {std::uint64_t{1} << 27, f.table.gfn_end() - 512})
            probes.insert(probes.end(), {last, last + 511});
        f.machine.after_write = [this](std::uint64_t pa) { record(pa); };
        f.machine.before_access = [this](std::uint64_t *entry) {
            if (!running) return;
            if (pick(activity) == 0) processor_acts();
            if (pick(activity) == 0) processor_strikes(entry);
        };
    }

    std::uint64_t pick(std::uint64_t below) { return random() % below; }
    std::uint64_t probe() { return probes[pick(probes.size())]; }
    using Picture = std::vector<Seen>;
    Picture picture() {
        Picture out;
        on_paths = {f.root()};
        const auto note = [this](std::uint64_t pa, unsigned) { on_paths.insert(pa); };
        for (const std::uint64_t gfn : probes) {
            const auto leaf = hardware_walk<Kind>(f.machine, f.root(), Kind::depth, gfn, note);
            out.push_back(leaf ? Seen{true, leaf->pfn, leaf->perms} : Seen{});
        }
        return out;
    }

    // Runs one operation on this range under observation.
    template <typename Operation>
    void observe(GfnRange range, Operation operation) {
        focus.clear();
        for (const std::uint64_t gfn : probes) {
            if (range.covers(gfn, 1)) focus.push_back(gfn);
        }
        activity = 1u << pick(6);
        reads = 1u << pick(5);
        before = picture();
        states.clear();
        written_meanwhile.clear();
        running = true;
        operation();
        running = false;
        after = picture();
        check_states();
        check_caches();
        if (pick(4) == 0) check_table();
    }

    void flush() {
        f.flush();
        translations.clear();
        cached_tables.clear();
    }

    auto removed() {
        return [this](const Leaf &leaf) {
            running = false; // the checks are no part of what is watched
            check_removed(leaf);
            running = true;
        };
    }

    // Each page that was written, or accessed, and not reported must still say so.
    void check_nothing_lost() {
        for (const auto &[gfn, pfn] : dirty_truth)
            EXPECT_TRUE(carries(gfn, pfn, &Leaf::dirty)) << "dirty bit lost at " << gfn;
        for (const auto &[gfn, pfn] : young_truth)
            EXPECT_TRUE(carries(gfn, pfn, &Leaf::accessed)) << "accessed bit lost at " << gfn;
    }

    using Pages = std::set<std::pair<std::uint64_t, std::uint64_t>>; // gfn, pfn

    Fixture<Kind> f;
    std::mt19937 random;
    std::vector<std::uint64_t> probes{0,     1,      100,    511,    512,    513,    1023,   1024,
                                      51200, 262143, 262144, 262145, 262655, 262656, 1 << 20};
    Picture before, after;
    std::vector<Picture> states;       // in between
    Pages dirty_truth;                 // written and not reported
    Pages young_truth;                 // accessed since the last clearing, and not reported
    std::set<std::uint64_t> log_truth; // gfns written since the last harvest
    std::set<std::uint64_t> written_meanwhile;

  private:
    // A write to a page on none of the paths changes no picture.
    void record(std::uint64_t pa) {
        if (!running || !on_paths.contains(pa)) return;
        Picture now = picture();
        if (states.empty() || states.back() != now) states.push_back(std::move(now));
    }

    void processor_acts() {
        const bool near = !focus.empty() && pick(4);
        const std::uint64_t gfn = near ? focus[pick(focus.size())] : probe();
        CachedTable start{Kind::depth, 0, f.root()};
        std::vector<CachedTable> cached;
        for (const CachedTable &table : cached_tables) {
            if (table.region == region(gfn, table.level)) cached.push_back(table);
        }
        if (!cached.empty() && pick(2)) start = cached[pick(cached.size())];
        const auto leaf = hardware_walk<Kind>(
            f.machine, start.pa, start.level, gfn, [&](std::uint64_t pa, unsigned level) {
                cached_tables.insert({level, region(gfn, level), pa});
            });
        if (leaf) access(gfn, *leaf, leaf->perms.write && pick(reads) == 0);
    }

    // Uses the very entry that the engine is about to read or write, if it has the table cached.
    void processor_strikes(std::uint64_t *entry) {
        const std::uint64_t pa = f.machine.page_of(entry);
        const auto index = static_cast<std::uint64_t>(entry - f.machine.at(pa));
        for (const CachedTable &table : cached_tables) {
            if (table.pa != pa) continue;
            const std::uint64_t gfn = ((table.region << 9) + index) << (9 * (table.level - 1));
            const HwEntry seen = Kind::decode(f.machine.read(entry), table.level);
            if (seen.present && seen.leaf)
                access(gfn, {entry, table.level, seen.pa >> 12, seen.perms},
                       seen.perms.write && pick(reads) == 0);
            return;
        }
    }

    void access(std::uint64_t gfn, const HwLeaf &leaf, bool write) {
        const std::uint64_t bits = Kind::accessed | (write ? Kind::dirty : 0);
        if (Kind::tracks) f.machine.write(leaf.entry, f.machine.read(leaf.entry) | bits);
        translations[gfn] = {leaf.pfn, leaf.level, leaf.perms, write};
        young_truth.insert({gfn, leaf.pfn});
        if (!write) return;
        dirty_truth.insert({gfn, leaf.pfn});
        log_truth.insert(gfn);
        written_meanwhile.insert(gfn);
    }

    void check_states() {
        for (const Picture &state : states) {
            for (std::size_t i = 0; i < probes.size(); ++i)
                EXPECT_TRUE(state[i] == before[i] || state[i] == after[i])
                    << "neither old nor new at " << probes[i];
        }
    }

    void check_caches() {
        if (f.gather.flush_needed) return;
        EXPECT_EQ(f.gather.freed.size(), 0u);
        for (const auto &[gfn, cached] : translations) {
            const auto leaf = f.hw(gfn);
            ASSERT_TRUE(leaf) << "stale translation of " << gfn;
            EXPECT_EQ(leaf->pfn, cached.pfn);
            EXPECT_EQ(leaf->level, cached.level) << "two sizes for one address";
            EXPECT_TRUE(cached.perms.within(leaf->perms));
            if (Kind::tracks && cached.dirty) {
                EXPECT_TRUE(*leaf->entry & Kind::dirty) << "its next write would not be seen";
            }
        }
    }

    void check_removed(const Leaf &leaf) {
        const std::uint64_t end = leaf.gfn + pages(leaf.level);
        settle(dirty_truth, leaf, &Leaf::dirty);
        settle(young_truth, leaf, &Leaf::accessed);
        if (leaf.dirty) // the caller logs what it is told of
            log_truth.erase(log_truth.lower_bound(leaf.gfn), log_truth.lower_bound(end));
    }

    // What is true of its pages must be in a leaf's report, or in a leaf that maps them still.
    void settle(Pages &truth, const Leaf &leaf, bool Leaf::*bit) {
        for (auto it = truth.lower_bound({leaf.gfn, 0});
             it != truth.end() && it->first < leaf.gfn + pages(leaf.level);) {
            const auto [gfn, pfn] = *it;
            const bool same = pfn == leaf.pfn + (gfn - leaf.gfn);
            if (same && !(leaf.*bit)) {
                EXPECT_TRUE(carries(gfn, pfn, bit)) << "bit lost at " << gfn;
            }
            it = same && leaf.*bit ? truth.erase(it) : std::next(it);
        }
    }

    bool carries(std::uint64_t gfn, std::uint64_t pfn, bool Leaf::*bit) {
        const auto leaf = f.table.walk(gfn);
        return leaf && (*leaf).*bit && leaf->pfn + (gfn - leaf->gfn) == pfn;
    }

    void count(std::uint64_t pa, unsigned level, Stats &stats) {
        ++stats.table_pages;
        std::uint64_t *table = f.machine.at(pa);
        for (unsigned i = 0; i < 512; ++i) {
            const HwEntry entry = Kind::decode(table[i], level);
            if (entry.present && entry.leaf) ++stats.leaves[level - 1];
            if (entry.present && !entry.leaf) count(entry.pa, level - 1, stats);
            EXPECT_TRUE(entry.present || table[i] == 0);
        }
    }

    void check_table() {
        Stats stats;
        count(f.root(), Kind::depth, stats);
        EXPECT_EQ(f.table.stats(), stats);
        EXPECT_EQ(stats.table_pages + f.gather.freed.size(), f.machine.used());
        f.machine.expect_only_policy_writes();
    }

    struct Translation {
        std::uint64_t pfn;
        unsigned level;
        Perms perms;
        bool dirty;
    };
    struct CachedTable {
        unsigned level;
        std::uint64_t region; // of frames, that the table maps
        std::uint64_t pa;
        friend auto operator<=>(const CachedTable &, const CachedTable &) = default;
    };
    static std::uint64_t region(std::uint64_t gfn, unsigned level) { return gfn >> (9 * level); }
    bool running = false;
    unsigned activity = 1;            // the processor acts before one in so many accesses
    unsigned reads = 1;               // one access in so many is a write
    std::vector<std::uint64_t> focus; // and mostly there
    std::set<std::uint64_t> on_paths; // table pages that the last picture's walks went through
    std::map<std::uint64_t, Translation> translations;
    std::set<CachedTable> cached_tables; // its paging-structure caches
};

} // namespace npt_test
