// SPDX-License-Identifier: GPL-2.0-only
// How the engine reaches table pages, where they come from, and where they go.
#pragma once

#include "npt/entry.hpp"

#include <atomic>
#include <optional>

namespace hwv::npt {

struct TablePage {
    std::uint64_t *va = nullptr;
    std::uint64_t pa = 0;
};

// Access to table pages. The hardware reads entries and sets bits in them at any time, so that
// every access is one atomic operation on 64 bits; `at` finds the page at a host-physical address.
template <typename M>
concept Memory = std::copy_constructible<M> &&
    requires(const M m, std::uint64_t *entry, std::uint64_t value, std::uint64_t &expected) {
    { m.at(value) } -> std::same_as<std::uint64_t *>;
    { m.load(entry) } -> std::same_as<std::uint64_t>;
    { m.store(entry, value) } -> std::same_as<void>;
    { m.exchange(entry, value) } -> std::same_as<std::uint64_t>;
    { m.compare_exchange(entry, expected, value) } -> std::same_as<bool>; // updates expected
};

static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free);

// The four accesses as the real thing does them; a Memory adds `at`.
struct AtomicAccess {
    std::uint64_t load(std::uint64_t *entry) const {
        return std::atomic_ref(*entry).load(std::memory_order_acquire);
    }
    // Release: a table's contents are visible before the entry that publishes it.
    void store(std::uint64_t *entry, std::uint64_t value) const {
        std::atomic_ref(*entry).store(value, std::memory_order_release);
    }
    std::uint64_t exchange(std::uint64_t *entry, std::uint64_t value) const {
        return std::atomic_ref(*entry).exchange(value, std::memory_order_acq_rel);
    }
    bool compare_exchange(std::uint64_t *entry, std::uint64_t &expected,
                          std::uint64_t value) const {
        return std::atomic_ref(*entry).compare_exchange_strong(expected, value,
                                                               std::memory_order_acq_rel);
    }
};

// Where new table pages come from: zeroed pages, taken under the VM's lock, so from a cache that
// was filled before (Table::max_pages_per_map of them suffice for one map).
template <typename S>
concept PageSource = requires(S &s) {
    { s.take() } -> std::same_as<std::optional<TablePage>>;
};

// For callers that cannot allocate, such as an MMU notifier: large leaves are then treated whole.
struct NoPages {
    std::optional<TablePage> take() { return std::nullopt; }
};

// Pages chained through their own first entry. The link is a page-aligned address without any
// permission bit, which both formats read as not present: a CPU that still holds the page in a
// paging-structure cache finds nothing in it. Pages come out zeroed.
template <Memory M>
class PageList {
  public:
    explicit PageList(M memory = {}) : memory_(memory) {}
    PageList(const PageList &) = delete;
    PageList &operator=(const PageList &) = delete;

    // The page's entries are all zero.
    void push(std::uint64_t pa) {
        memory_.store(memory_.at(pa), head_);
        head_ = pa;
        ++size_;
    }

    std::optional<TablePage> pop() {
        if (!size_) return std::nullopt;
        const TablePage page{memory_.at(head_), head_};
        head_ = memory_.exchange(page.va, 0);
        --size_;
        return page;
    }

    // So that a list of spare pages is a PageSource.
    std::optional<TablePage> take() { return pop(); }

    std::uint64_t size() const { return size_; }

  private:
    [[no_unique_address]] M memory_;
    std::uint64_t head_ = 0;
    std::uint64_t size_ = 0;
};

// What a series of changes leaves to do, after the lock or under it: flush the guest's translations
// on every CPU if asked to, and only then give the freed pages back.
template <Memory M>
struct Gather {
    explicit Gather(M memory = {}) : freed(memory) {}

    bool flush_needed = false;
    PageList<M> freed;
};

} // namespace hwv::npt
