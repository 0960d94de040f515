// SPDX-License-Identifier: GPL-2.0-only
// The real atomic accesses against a real second processor: a thread that walks the table and sets
// accessed and dirty bits by locked instructions, as the hardware does. Every dirty bit that it
// sets is reported exactly once.
#include "hw_formats.hpp"
#include "npt/table.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace npt_test {
namespace {

// The fake physical address is the host's own.
struct OwnMemory : AtomicAccess {
    std::uint64_t *at(std::uint64_t pa) const { return reinterpret_cast<std::uint64_t *>(pa); }
};

struct alignas(4096) Frame {
    std::array<std::uint64_t, entries_per_table> entries{};
};

struct FrameSource {
    std::vector<std::unique_ptr<Frame>> frames;
    std::optional<TablePage> take() {
        frames.push_back(std::make_unique<Frame>());
        std::uint64_t *va = frames.back()->entries.data();
        return TablePage{va, reinterpret_cast<std::uint64_t>(va)};
    }
};

constexpr std::uint64_t frames = 48; // across the border of two tables
constexpr std::uint64_t first_gfn = 512 - frames / 2;

template <typename Kind>
class Processor {
  public:
    explicit Processor(std::uint64_t root) : thread_{[this, root] { run(root); }} {}
    // Goes on until it has done enough, on a machine of whatever load.
    template <typename Step>
    void work_against(Step step) {
        for (unsigned i = 0; dirty_bits_set_ < enough && i < 5'000'000; ++i) {
            step();
            if (i % 256 == 0) std::this_thread::yield();
        }
    }
    std::uint64_t stop() {
        stopping_ = true;
        thread_.join();
        EXPECT_GE(dirty_bits_set_, enough);
        return dirty_bits_set_;
    }

  private:
    static constexpr std::uint64_t enough = 3000;

    void run(std::uint64_t root) {
        std::minstd_rand random{1};
        while (!stopping_)
            write_to(root, first_gfn + random() % frames);
    }

    void write_to(std::uint64_t table, std::uint64_t gfn) {
        for (unsigned level = Kind::depth;; --level) {
            std::uint64_t *entry = OwnMemory{}.at(table) + ((gfn >> (9 * (level - 1))) & 511);
            const std::uint64_t seen = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
            const HwEntry decoded = Kind::decode(seen, level);
            if (!decoded.present) return;
            if (decoded.leaf) return set_bits(entry, seen, decoded.perms.write);
            table = decoded.pa;
        }
    }

    // Locked, and only if the entry is still what the walk has seen.
    void set_bits(std::uint64_t *entry, std::uint64_t seen, bool writable) {
        const std::uint64_t wanted = seen | Kind::accessed | (writable ? Kind::dirty : 0);
        std::uint64_t expected = seen;
        if (wanted != seen && __atomic_compare_exchange_n(entry, &expected, wanted, false,
                                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            dirty_bits_set_ += !(seen & Kind::dirty) && writable;
    }

    std::atomic<bool> stopping_ = false;
    std::atomic<std::uint64_t> dirty_bits_set_ = 0;
    std::thread thread_;
};

template <typename Kind>
struct Owner {
    FrameSource source;
    Table<typename Kind::Format, OwnMemory> table{Kind::format(), {}, Kind::depth};
    Gather<OwnMemory> gather;
    std::uint64_t reported = 0;
    std::minstd_rand random{2};

    auto removed() {
        return [this](const Leaf &leaf) { reported += leaf.dirty; };
    }

    void step() {
        const std::uint64_t gfn = first_gfn + random() % frames;
        switch (random() % 8) {
        case 0: table.unmap({gfn, gfn + 1}, source, gather, removed()); break;
        case 1: table.write_protect({gfn, gfn + 4}, Level::page_4k, source, gather); break;
        case 2: table.clear_young({gfn, gfn + 4}, gather, removed()); break;
        case 3:
            if (random() % 64 == 0) table.unmap({0, 1024}, source, gather, removed());
            break;
        default:
            table.map({gfn, 0x1000 + gfn + random() % 2, Level::page_4k, perms_all}, source, gather,
                      removed());
        }
    }
};

template <typename Kind>
class TableThreads : public testing::Test {};
using Kinds = testing::Types<NptKind, EptKind>;
TYPED_TEST_SUITE(TableThreads, Kinds);

TYPED_TEST(TableThreads, EveryDirtyBitIsReportedOnce) {
    Owner<TypeParam> owner;
    ASSERT_TRUE(owner.table.init(owner.source));
    Processor<TypeParam> processor{owner.table.root_pointer() & 0x000f'ffff'ffff'f000};
    processor.work_against([&] { owner.step(); });
    const std::uint64_t set = processor.stop();
    owner.table.unmap({0, 1024}, owner.source, owner.gather, owner.removed());
    EXPECT_EQ(owner.reported, set);
}

TYPED_TEST(TableThreads, EveryDirtyBitIsHarvestedOnce) {
    Owner<TypeParam> owner;
    ASSERT_TRUE(owner.table.init(owner.source));
    for (std::uint64_t gfn = first_gfn; gfn < first_gfn + frames; ++gfn)
        owner.table.map({gfn, gfn, Level::page_4k, perms_all}, owner.source, owner.gather,
                        owner.removed());
    Processor<TypeParam> processor{owner.table.root_pointer() & 0x000f'ffff'ffff'f000};
    std::uint64_t harvested = 0;
    const auto harvest = [&] {
        std::array<std::uint64_t, 1> bits{};
        owner.table.harvest_dirty({first_gfn, first_gfn + frames}, bits, DirtyBy::dirty_bit,
                                  owner.gather);
        harvested += static_cast<unsigned>(__builtin_popcountll(bits[0]));
    };
    processor.work_against(harvest);
    const std::uint64_t set = processor.stop();
    harvest();
    EXPECT_EQ(harvested, set);
}

} // namespace
} // namespace npt_test
