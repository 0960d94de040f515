// SPDX-License-Identifier: GPL-2.0-only
// Table: changes of single entries, mapping and removal. Included by table.hpp.
#pragma once

#include "npt/table.hpp"

namespace hwv::npt {

template <Format F, Memory M>
Leaf Table<F, M>::decode(const Slot &slot, std::uint64_t entry) const {
    return {slot.gfn,
            format_.address(entry) >> page_shift,
            static_cast<Level>(slot.level),
            format_.perms(entry),
            format_.accessed(entry),
            format_.dirty(entry)};
}

template <Format F, Memory M>
bool Table<F, M>::acceptable(const Leaf &leaf) const {
    const unsigned level = number(leaf.level);
    return level >= number(Level::page_4k) && level <= number(Level::page_1g) &&
           aligned(leaf.gfn, leaf.level) && leaf.gfn < gfn_end() && format_.encodable(leaf);
}

template <Format F, Memory M>
template <typename Edit>
std::uint64_t Table<F, M>::modify(std::uint64_t *entry, Edit edit) {
    std::uint64_t old = memory_.load(entry);
    while (!memory_.compare_exchange(entry, old, edit(old))) {}
    return old;
}

template <Format F, Memory M>
template <PageSource S>
std::optional<TablePage> Table<F, M>::take(S &source) {
    const auto page = source.take();
    if (page) ++stats_.table_pages;
    return page;
}

template <Format F, Memory M>
template <PageSource S>
bool Table<F, M>::init(S &source) {
    const auto page = take(source);
    if (page) root_ = page->pa;
    return page.has_value();
}

// Replaces a large leaf by a table of leaves that say the same. The accessed and dirty bits go to
// each of them; if the hardware sets one meanwhile, the compare-exchange fails and the table is
// refilled.
template <Format F, Memory M>
template <PageSource S>
bool Table<F, M>::split(const Slot &slot, S &source, Gather<M> &gather) {
    const auto page = take(source);
    if (!page) return false;
    const unsigned below = slot.level - 1;
    std::uint64_t old = memory_.load(slot.entry);
    do {
        for (std::size_t i = 0; i < entries_per_table; ++i)
            memory_.store(page->va + i, format_.part(old, below, i));
    } while (!memory_.compare_exchange(slot.entry, old, format_.make_table(page->pa)));
    --leaf_count(slot.level);
    leaf_count(below) += entries_per_table;
    // Translations of two sizes for one address must not stay.
    gather.flush_needed = true;
    return true;
}

// Makes the entry point to a table.
template <Format F, Memory M>
template <PageSource S>
bool Table<F, M>::open(const Slot &slot, S &source, Gather<M> &gather) {
    const std::uint64_t entry = memory_.load(slot.entry);
    if (!format_.present(entry)) {
        const auto page = take(source);
        if (page) memory_.store(slot.entry, format_.make_table(page->pa));
        return page.has_value();
    }
    return !is_leaf(slot, entry) || split(slot, source, gather);
}

template <Format F, Memory M>
template <PageSource S, LeafVisitor V>
MapResult Table<F, M>::map(const Leaf &leaf, S &source, Gather<M> &gather, V &&removed) {
    if (!acceptable(leaf)) return MapResult::bad_argument;
    std::uint64_t *table = memory_.at(root_);
    for (unsigned level = depth_;; --level) {
        const Slot slot{table + index(leaf.gfn, level), level, leaf.gfn & ~(pages(level) - 1)};
        if (level == number(leaf.level)) return install(slot, leaf, gather, removed);
        if (level <= number(Level::page_1g)) {
            const std::uint64_t entry = memory_.load(slot.entry);
            if (format_.present(entry) && is_leaf(slot, entry)) {
                const std::uint64_t pfn =
                    (format_.address(entry) >> page_shift) + (leaf.gfn - slot.gfn);
                if (pfn == leaf.pfn && format_.perms(entry) == leaf.perms)
                    return MapResult::unchanged;
            }
        }
        if (!open(slot, source, gather)) return MapResult::no_pages;
        table = child(memory_.load(slot.entry));
    }
}

template <Format F, Memory M>
template <PageSource S, LeafVisitor V>
MapResult Table<F, M>::map_block(const Leaf &leaf, S &source, Gather<M> &gather, V &&removed) {
    if (leaf.level != Level::page_4k || !acceptable(leaf)) return MapResult::bad_argument;
    constexpr unsigned block = number(Level::page_2m);
    std::uint64_t *table = memory_.at(root_);
    for (unsigned level = depth_;; --level) {
        const Slot slot{table + index(leaf.gfn, level), level, leaf.gfn & ~(pages(level) - 1)};
        const std::uint64_t entry = memory_.load(slot.entry);
        if (level == block && (!format_.present(entry) || is_leaf(slot, entry)))
            return fill(slot, leaf, source, gather, removed);
        if (level == block) return map(leaf, source, gather, removed);
        if (!open(slot, source, gather)) return MapResult::no_pages;
        table = child(memory_.load(slot.entry));
    }
}

// Makes the entry, not present or a leaf of 2 MiB, point to a table without a gap. A leaf that has
// these frames already hands on its bits, as in split().
template <Format F, Memory M>
template <PageSource S, LeafVisitor V>
MapResult Table<F, M>::fill(const Slot &slot, const Leaf &leaf, S &source, Gather<M> &gather,
                            V &removed) {
    const Leaf first{slot.gfn, leaf.pfn - (leaf.gfn - slot.gfn), Level::page_4k, leaf.perms};
    if (!format_.encodable({first.gfn, first.pfn, Level::page_2m, first.perms}))
        return MapResult::bad_argument;
    const auto page = take(source);
    if (!page) return MapResult::no_pages;
    std::uint64_t old = memory_.load(slot.entry);
    const bool same = format_.present(old) && decode(slot, old).pfn == first.pfn;
    do {
        const std::uint64_t entry =
            same ? format_.with_perms(old, leaf.perms) : format_.make_leaf(first);
        for (std::size_t i = 0; i < entries_per_table; ++i)
            memory_.store(page->va + i, format_.part(entry, 1, i));
    } while (!memory_.compare_exchange(slot.entry, old, format_.make_table(page->pa)));
    leaf_count(1) += entries_per_table;
    if (same) {
        --leaf_count(slot.level);
        gather.flush_needed = true; // of translations of two sizes, as in split()
    } else if (format_.present(old)) {
        drop(slot, old, gather, removed);
    }
    return MapResult::mapped;
}

// Same frame, other permissions. Fewer need a flush; more do not, because a CPU that still holds
// the old translation faults once more and drops it.
template <Format F, Memory M>
MapResult Table<F, M>::repermit(const Slot &slot, Perms perms, Gather<M> &gather) {
    const std::uint64_t old =
        modify(slot.entry, [&](std::uint64_t entry) { return format_.with_perms(entry, perms); });
    if (format_.perms(old) == perms) return MapResult::unchanged;
    gather.flush_needed |= !format_.perms(old).within(perms);
    return MapResult::mapped;
}

template <Format F, Memory M>
template <LeafVisitor V>
MapResult Table<F, M>::install(const Slot &slot, const Leaf &leaf, Gather<M> &gather, V &removed) {
    const std::uint64_t entry = memory_.load(slot.entry);
    if (format_.present(entry) && is_leaf(slot, entry) && decode(slot, entry).pfn == leaf.pfn)
        return repermit(slot, leaf.perms, gather);
    const std::uint64_t old = memory_.exchange(slot.entry, format_.make_leaf(leaf));
    ++leaf_count(slot.level);
    if (format_.present(old)) drop(slot, old, gather, removed);
    return MapResult::mapped;
}

// Accounts for a present entry that was just taken out of its place: a leaf, or a table with all
// that is in it.
template <Format F, Memory M>
template <LeafVisitor V>
void Table<F, M>::drop(const Slot &slot, std::uint64_t old, Gather<M> &gather, V &removed) {
    gather.flush_needed = true;
    if (!is_leaf(slot, old)) {
        drop_table(format_.address(old), slot.level - 1, slot.gfn, gather, removed);
        return;
    }
    --leaf_count(slot.level);
    const Leaf leaf = decode(slot, old);
    removed(leaf);
}

// Empties a detached table. A CPU may still reach it by its caches until the flush and set bits in
// present entries: the exchange takes each entry with its last bits, after it there is none to set.
template <Format F, Memory M>
template <LeafVisitor V>
void Table<F, M>::drop_table(std::uint64_t pa, unsigned level, std::uint64_t base,
                             Gather<M> &gather, V &removed) {
    std::uint64_t *table = memory_.at(pa);
    for (std::size_t i = 0; i < entries_per_table; ++i) {
        const Slot slot{table + i, level, base + i * pages(level)};
        if (memory_.load(slot.entry) == 0) continue;
        const std::uint64_t old = memory_.exchange(slot.entry, 0);
        if (format_.present(old)) drop(slot, old, gather, removed);
    }
    gather.freed.push(pa);
    --stats_.table_pages;
}

template <Format F, Memory M>
template <LeafVisitor V>
void Table<F, M>::destroy(Gather<M> &gather, V &&removed) {
    if (!root_) return;
    gather.flush_needed = true;
    drop_table(std::exchange(root_, 0), depth_, 0, gather, removed);
}

} // namespace hwv::npt
