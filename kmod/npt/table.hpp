// SPDX-License-Identifier: GPL-2.0-only
// One nested page table: a format, and a way to reach its pages.
//
// The caller serialises all calls of one table by a lock; none sleeps or allocates. The hardware
// walks and sets accessed and dirty bits concurrently, so that an entry that may be present is only
// changed by exchange or compare-exchange, and a child table is complete before it is published:
// at every moment each address is mapped as before the call or as after it.
#pragma once

#include "npt/memory.hpp"

#include <span>
#include <utility>

namespace hwv::npt {

enum class MapResult : std::uint8_t {
    mapped,
    unchanged,    // this very mapping was there
    no_pages,     // the source ran dry: top it up and try again
    bad_argument, // misaligned, beyond the table's reach or not expressible in the format
};

// Whether unmapping gives back tables that became empty at the edges of the range.
enum class Empty : std::uint8_t { keep, prune };

enum class DirtyBy : std::uint8_t { dirty_bit, write_protection };

struct Stats {
    std::array<std::uint64_t, 3> leaves{}; // by level: 4 KiB, 2 MiB, 1 GiB
    std::uint64_t table_pages = 0;

    friend constexpr bool operator==(const Stats &, const Stats &) = default;
};

// A visitor is called with each leaf that leaves the table, with its last accessed and dirty bits:
// there the caller hands them on to the host's page.
template <typename V>
concept LeafVisitor = requires(V &v, const Leaf &leaf) {
    v(leaf);
};

template <Format F, Memory M>
class Table {
  public:
    static constexpr unsigned max_pages_per_map = max_depth - 1;

    // depth: 4 or 5
    explicit Table(F format = F{}, M memory = {}, unsigned depth = 4)
        : format_(format), memory_(memory), depth_(depth) {}
    Table(const Table &) = delete;
    Table &operator=(const Table &) = delete;

    // Takes the root page; false if the source has none. Nothing else may be called before.
    template <PageSource S>
    bool init(S &source);

    // What nCR3 or EPTP is loaded with.
    std::uint64_t root_pointer() const { return format_.root_pointer(root_, depth_); }
    bool tracks_access() const { return format_.tracks_access(); }
    bool initialised() const { return root_ != 0; }
    const Stats &stats() const { return stats_; }
    std::uint64_t gfn_end() const { return pages(depth_) << index_bits; }

    // Afterwards these frames are mapped as asked. What was there and mapped otherwise goes to the
    // visitor; a larger leaf that says the same of them stays, another is split; a table under the
    // leaf is collapsed. An entry that only changes its permissions keeps its accessed and dirty
    // bits.
    template <PageSource S, LeafVisitor V>
    MapResult map(const Leaf &leaf, S &source, Gather<M> &gather, V &&removed);

    // Maps this frame, by a leaf of 4 KiB, and all others of the 2 MiB block around it likewise, to
    // the frames beside it and with its permissions; but where smaller leaves are there already,
    // this frame alone. Never leaves a large leaf. The hardware sets accessed and dirty bits: those
    // of `leaf` do not count, those of a large leaf that is split do.
    template <PageSource S, LeafVisitor V>
    MapResult map_block(const Leaf &leaf, S &source, Gather<M> &gather, V &&removed);

    // Never fails: a large leaf that sticks out of the range is split, or removed whole if the
    // source is dry, and comes back by demand.
    template <PageSource S, LeafVisitor V>
    void unmap(GfnRange range, S &source, Gather<M> &gather, V &&removed,
               Empty empty = Empty::keep);

    // Takes away all permissions not in `keep`; a leaf whose rest the format cannot express is
    // removed. Leaves above `split_to` are split while the source lasts; a large leaf that is not
    // split is restricted as a whole, and the next map of a smaller leaf splits it. True if
    // anything changed.
    template <PageSource S, LeafVisitor V>
    bool protect(GfnRange range, Perms keep, Level split_to, S &source, Gather<M> &gather,
                 V &&removed);

    template <PageSource S>
    bool write_protect(GfnRange range, Level split_to, S &source, Gather<M> &gather) {
        return protect(range, perms_no_write, split_to, source, gather, [](const Leaf &) {});
    }

    bool test_young(GfnRange range) const;

    // Clears accessed bits; true if one was set. In a format without them the leaves are removed,
    // and the next access shows itself by a fault. A flush is asked for only then: a bit that a CPU
    // does not set again, because it holds the translation, only ages too fast.
    template <LeafVisitor V>
    bool clear_young(GfnRange range, Gather<M> &gather, V &&removed);

    // Sets bit gfn - range.first for every page written since the last call, and starts anew. A
    // large leaf counts as written whole, and stays so while only a part of it is asked for. By
    // write protection, written is what is writable: map without write permission until a write
    // comes. That a leaf is dirty for the host, Leaf::dirty, outlasts this. False: the bitmap is
    // too small, nothing was done.
    bool harvest_dirty(GfnRange range, std::span<std::uint64_t> bitmap, DirtyBy by,
                       Gather<M> &gather);

    std::optional<Leaf> walk(std::uint64_t gfn) const;

    // Removes everything, the root too, in one go: of a big table, unmap the parts before.
    template <LeafVisitor V>
    void destroy(Gather<M> &gather, V &&removed);

  private:
    // One entry in place: where it is, which frames it spans.
    struct Slot {
        std::uint64_t *entry;
        unsigned level;
        std::uint64_t gfn;
    };

    static std::size_t index(std::uint64_t gfn, unsigned level) {
        return (gfn / pages(level)) % entries_per_table;
    }
    std::uint64_t *child(std::uint64_t entry) const { return memory_.at(format_.address(entry)); }
    bool is_leaf(const Slot &slot, std::uint64_t entry) const {
        return slot.level <= number(Level::page_1g) && format_.is_leaf(entry, slot.level);
    }
    GfnRange clipped(GfnRange range) const {
        return {range.first, range.end < gfn_end() ? range.end : gfn_end()};
    }
    std::uint64_t &leaf_count(unsigned level) { return stats_.leaves[level - 1]; }
    Leaf decode(const Slot &slot, std::uint64_t entry) const;
    bool acceptable(const Leaf &leaf) const;
    // Applies a pure function to an entry; returns the value that it replaced. Only the hardware
    // competes, and it only sets two bits, so the loop ends.
    template <typename Edit>
    std::uint64_t modify(std::uint64_t *entry, Edit edit);
    template <typename Visit>
    void each_entry(std::uint64_t *table, unsigned level, std::uint64_t base, GfnRange range,
                    Visit visit) const;
    template <typename Visit>
    void each_leaf(std::uint64_t *table, unsigned level, std::uint64_t base, GfnRange range,
                   Visit &visit) const;

    template <PageSource S>
    std::optional<TablePage> take(S &source);
    template <PageSource S>
    bool split(const Slot &slot, S &source, Gather<M> &gather);
    template <PageSource S>
    bool open(const Slot &slot, S &source, Gather<M> &gather);
    template <LeafVisitor V>
    MapResult install(const Slot &slot, const Leaf &leaf, Gather<M> &gather, V &removed);
    template <PageSource S, LeafVisitor V>
    MapResult fill(const Slot &slot, const Leaf &leaf, S &source, Gather<M> &gather, V &removed);
    MapResult repermit(const Slot &slot, Perms perms, Gather<M> &gather);
    template <LeafVisitor V>
    void drop(const Slot &slot, std::uint64_t old, Gather<M> &gather, V &removed);
    template <LeafVisitor V>
    void drop_table(std::uint64_t pa, unsigned level, std::uint64_t base, Gather<M> &gather,
                    V &removed);
    template <PageSource S, LeafVisitor V>
    void unmap_in(std::uint64_t *table, unsigned level, std::uint64_t base, GfnRange range,
                  S &source, Gather<M> &gather, V &removed, Empty empty);
    void prune(const Slot &slot, Gather<M> &gather);
    bool harvest_leaf(const Slot &slot, bool clear, DirtyBy by, Gather<M> &gather);

    F format_;
    [[no_unique_address]] M memory_;
    unsigned depth_;
    std::uint64_t root_ = 0;
    Stats stats_{};
};

} // namespace hwv::npt

#include "npt/table_map.hpp"
#include "npt/table_range.hpp"
