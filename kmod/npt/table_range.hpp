// SPDX-License-Identifier: GPL-2.0-only
// Table: operations on ranges of guest frames. Included by table.hpp.
#pragma once

#include "npt/table.hpp"

namespace hwv::npt {

// The entries of one table that the range touches. The range touches the table.
template <Format F, Memory M>
template <typename Visit>
void Table<F, M>::each_entry(std::uint64_t *table, unsigned level, std::uint64_t base,
                             GfnRange range, Visit visit) const {
    const std::uint64_t span = pages(level);
    const std::uint64_t first = range.first > base ? (range.first - base) / span : 0;
    for (std::size_t i = first; i < entries_per_table && base + i * span < range.end; ++i)
        visit(Slot{table + i, level, base + i * span});
}

// The leaves that the range touches. The visitor returns true if it has made a table of the leaf.
template <Format F, Memory M>
template <typename Visit>
void Table<F, M>::each_leaf(std::uint64_t *table, unsigned level, std::uint64_t base,
                            GfnRange range, Visit &visit) const {
    each_entry(table, level, base, range, [&](const Slot &slot) {
        const std::uint64_t entry = memory_.load(slot.entry);
        if (!format_.present(entry) || (is_leaf(slot, entry) && !visit(slot, entry))) return;
        each_leaf(child(memory_.load(slot.entry)), level - 1, slot.gfn, range, visit);
    });
}

template <Format F, Memory M>
template <PageSource S, LeafVisitor V>
void Table<F, M>::unmap(GfnRange range, S &source, Gather<M> &gather, V &&removed, Empty empty) {
    if (clipped(range).size())
        unmap_in(memory_.at(root_), depth_, 0, clipped(range), source, gather, removed, empty);
}

template <Format F, Memory M>
template <PageSource S, LeafVisitor V>
void Table<F, M>::unmap_in(std::uint64_t *table, unsigned level, std::uint64_t base, GfnRange range,
                           S &source, Gather<M> &gather, V &removed, Empty empty) {
    each_entry(table, level, base, range, [&](const Slot &slot) {
        const std::uint64_t entry = memory_.load(slot.entry);
        if (!format_.present(entry)) return;
        const bool whole = range.covers(slot.gfn, pages(level));
        if (whole || (is_leaf(slot, entry) && !split(slot, source, gather))) {
            drop(slot, memory_.exchange(slot.entry, 0), gather, removed);
            return;
        }
        unmap_in(child(memory_.load(slot.entry)), level - 1, slot.gfn, range, source, gather,
                 removed, empty);
        if (empty == Empty::prune) prune(slot, gather);
    });
}

// Gives back the table under this entry if nothing is in it.
template <Format F, Memory M>
void Table<F, M>::prune(const Slot &slot, Gather<M> &gather) {
    const std::uint64_t pa = format_.address(memory_.load(slot.entry));
    std::uint64_t *table = memory_.at(pa);
    for (std::size_t i = 0; i < entries_per_table; ++i) {
        if (memory_.load(table + i)) return;
    }
    memory_.exchange(slot.entry, 0);
    gather.flush_needed = true;
    gather.freed.push(pa);
    --stats_.table_pages;
}

template <Format F, Memory M>
template <PageSource S, LeafVisitor V>
bool Table<F, M>::protect(GfnRange range, Perms keep, Level split_to, S &source, Gather<M> &gather,
                          V &&removed) {
    bool changed = false;
    auto visit = [&](const Slot &slot, std::uint64_t entry) {
        if (format_.perms(entry).within(keep)) return false;
        if (slot.level > number(split_to) && split(slot, source, gather)) return true;
        changed = true;
        const Perms left = format_.perms(entry) & keep;
        if (format_.expressible(left))
            modify(slot.entry, [&](std::uint64_t old) { return format_.with_perms(old, left); });
        else
            drop(slot, memory_.exchange(slot.entry, 0), gather, removed);
        return false;
    };
    if (clipped(range).size()) each_leaf(memory_.at(root_), depth_, 0, clipped(range), visit);
    gather.flush_needed |= changed;
    return changed;
}

template <Format F, Memory M>
bool Table<F, M>::test_young(GfnRange range) const {
    bool young = false;
    auto visit = [&](const Slot &, std::uint64_t entry) {
        young |= format_.accessed(entry);
        return false;
    };
    if (clipped(range).size()) each_leaf(memory_.at(root_), depth_, 0, clipped(range), visit);
    return young;
}

template <Format F, Memory M>
template <LeafVisitor V>
bool Table<F, M>::clear_young(GfnRange range, Gather<M> &gather, V &&removed) {
    bool young = false;
    auto visit = [&](const Slot &slot, std::uint64_t entry) {
        if (!format_.accessed(entry)) return false;
        young = true;
        if (format_.tracks_access())
            modify(slot.entry,
                   [&](std::uint64_t old) { return format_.with_accessed(old, false); });
        else
            drop(slot, memory_.exchange(slot.entry, 0), gather, removed);
        return false;
    };
    if (clipped(range).size()) each_leaf(memory_.at(root_), depth_, 0, clipped(range), visit);
    return young;
}

// Whether the leaf was written; if it is to start anew, it is made clean. Without dirty bits in
// hardware only write protection can tell.
template <Format F, Memory M>
bool Table<F, M>::harvest_leaf(const Slot &slot, bool clear, DirtyBy by, Gather<M> &gather) {
    const bool by_bit = by == DirtyBy::dirty_bit && format_.tracks_access();
    const auto written = [&](std::uint64_t entry) {
        return format_.written(entry) || (!by_bit && format_.perms(entry).write);
    };
    const auto clean = [&](std::uint64_t entry) {
        const Perms keep = by_bit ? perms_all : perms_no_write;
        return format_.cleaned(format_.with_perms(entry, format_.perms(entry) & keep));
    };
    if (!written(memory_.load(slot.entry))) return false;
    if (clear) {
        modify(slot.entry, clean);
        gather.flush_needed = true;
    }
    return true;
}

template <Format F, Memory M>
bool Table<F, M>::harvest_dirty(GfnRange range, std::span<std::uint64_t> bitmap, DirtyBy by,
                                Gather<M> &gather) {
    const GfnRange within = clipped(range);
    if (bitmap.size() < within.size() / 64 + (within.size() % 64 != 0)) return false;
    auto visit = [&](const Slot &slot, std::uint64_t) {
        const std::uint64_t count = pages(slot.level);
        if (!harvest_leaf(slot, within.covers(slot.gfn, count), by, gather)) return false;
        const std::uint64_t first = slot.gfn > within.first ? slot.gfn : within.first;
        for (std::uint64_t gfn = first; gfn < slot.gfn + count && gfn < within.end; ++gfn) {
            const std::uint64_t bit = gfn - within.first;
            bitmap[bit / 64] |= 1ull << (bit % 64);
        }
        return false;
    };
    if (within.size()) each_leaf(memory_.at(root_), depth_, 0, within, visit);
    return true;
}

template <Format F, Memory M>
std::optional<Leaf> Table<F, M>::walk(std::uint64_t gfn) const {
    if (gfn >= gfn_end()) return std::nullopt;
    std::uint64_t *table = memory_.at(root_);
    for (unsigned level = depth_;; --level) {
        const Slot slot{table + index(gfn, level), level, gfn & ~(pages(level) - 1)};
        const std::uint64_t entry = memory_.load(slot.entry);
        if (!format_.present(entry)) return std::nullopt;
        if (is_leaf(slot, entry)) return decode(slot, entry);
        table = child(entry);
    }
}

} // namespace hwv::npt
