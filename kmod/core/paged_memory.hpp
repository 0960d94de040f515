// SPDX-License-Identifier: GPL-2.0-only
// paged_memory.hpp - the half of a VM's memory that knows the table's format: faults, slots'
// changes, host invalidations.
#pragma once
#include "core/memory.hpp"

namespace hwv {

// again: the owner's mapping or the slots changed meanwhile, and the guest has to try once more.
enum class FaultResult : std::uint8_t { mapped, again, mmio };

template <npt::Format Format>
class PagedMemory : public Memory {
  public:
    using Table = npt::Table<Format, HostMemory>;

    PagedMemory(Vm &vm, const npt::TableShape<Format> &shape)
        : Memory{vm, gpa_limit(shape.depth)},
          largest_{shape.format.largest()},
          table_{shape.format, {}, shape.depth} {}
    ~PagedMemory() {
        Gather gather;
        table_.destroy(gather, [](const npt::Leaf &) {});
        while (const auto page = gather.freed.pop())
            free_table_page(*page);
    }

    Status init() {
        SparePages spare;
        TRY(spare.top_up(1));
        return table_.init(spare) ? Status{} : Status{Error::no_memory};
    }

    std::uint64_t root_pointer() const { return table_.root_pointer(); }

    // Process context. Maps the page a guest access missed. mmio: no memory there, or a write to a
    // read-only slot. again: not repeated here, because who changes the mapping may wait for this
    // CPU, which it gets before the guest enters again.
    Result<FaultResult> fault(const FaultAccess &access, hwv_host_vm *host, SlotCache &cache,
                              SparePages &spare);

    // One caller at a time.
    Status set_memory(const hwv_memory &request);
    Status harvest(const hwv_dirty_log &request, std::uint64_t *words);
    void unmap_hva(std::uint64_t start, std::uint64_t end, bool may_sleep);
    bool age_hva(std::uint64_t start, std::uint64_t end, bool clear);

  private:
    // Frames that leave the table under one hold of the lock, at most: 32 MiB, some two
    // million instructions where all were written.
    static constexpr std::uint64_t stretch = 8192;
    static constexpr std::uint64_t nothing_left = ~0ull;

    void map(const FaultAccess &access, const npt::MemorySlot &slot, const hwv_host_fault &host,
             SparePages &spare, Gather &gather);
    bool executed(std::uint64_t gfn) const {
        const auto leaf = table_.walk(gfn);
        return leaf && leaf->level == npt::Level::page_4k && leaf->perms.exec;
    }
    void leave(npt::GfnRange range) {
        LockGuard guard{lock()};
        leaving_ = range;
    }
    void drop_leaving();
    std::uint64_t unmap_some(std::uint64_t start, std::uint64_t end, std::uint64_t from);
    auto retirer() {
        return [this](const npt::Leaf &leaf) { retire(leaf); };
    }

    // What the guest's addresses may reach, and the tables can.
    static std::uint64_t gpa_limit(unsigned depth) {
        const unsigned reach = npt::page_shift + npt::index_bits * depth;
        return 1ull << (hwv_host_facts()->phys_bits < reach ? hwv_host_facts()->phys_bits : reach);
    }

    npt::Level largest_;
    npt::GfnRange leaving_{}; // of the slot that set_memory() changes: no fault maps there
    Table table_;
};

template <npt::Format Format>
void PagedMemory<Format>::map(const FaultAccess &access, const npt::MemorySlot &slot,
                              const hwv_host_fault &host, SparePages &spare, Gather &gather) {
    const std::uint64_t gfn = access.gpa >> npt::page_shift;
    const bool nx_large = hwv_host_facts()->nx_huge_pages;
    const npt::Mapping mapping =
        npt::mapping_for({.gpa = access.gpa,
                          .slot_gpa = slot.gpa,
                          .slot_size = slot.size,
                          .slot_hva = slot.hva,
                          .host_level = static_cast<npt::Level>(host.level),
                          .cpu_level = largest_,
                          .dirty_log = slot.logs_dirty(),
                          .nx_large = nx_large,
                          .fetch = access.fetch || (nx_large && executed(gfn))});
    const std::uint64_t mask = npt::pages(mapping.level) - 1;
    // Without dirty bits a log counts as written what could be: only a write makes it so.
    const bool unseen = slot.logs_dirty() && !table_.tracks_access() && !access.write;
    const bool write = slot.writable() && host.writable && !unseen;
    // The access comes right after: with its bits set, the CPU need not come back to set them.
    const npt::Leaf leaf{gfn & ~mask, host.pfn & ~mask, mapping.level, {true, write, mapping.exec},
                         true,        access.write};
    if (mapping.block)
        (void)table_.map_block(leaf, spare, gather, retirer());
    else
        (void)table_.map(leaf, spare, gather, retirer());
}

template <npt::Format Format>
Result<FaultResult> PagedMemory<Format>::fault(const FaultAccess &access, hwv_host_vm *host_vm,
                                               SlotCache &cache, SparePages &spare) {
    const std::uint64_t gfn = access.gpa >> npt::page_shift;
    const npt::MemorySlot *found = find(gfn, cache);
    if (!found || (access.write && !found->writable())) return FaultResult::mmio;
    const std::uint64_t generation = cache.generation, hva = found->hva_of(gfn);
    hwv_host_fault host{};
    TRY(spare.top_up(Table::max_pages_per_map));
    TRY(from_errno(hwv_host_fault_in(host_vm, hva, access.write, &host)));
    bool stale;
    {
        LockGuard guard{lock()};
        stale = hwv_host_fault_stale(host_vm, host.sequence, hva) || !current(generation) ||
                leaving_.covers(gfn, 1);
        if (!stale) {
            Gather gather;
            map(access, cache.slot, host, spare, gather);
            settle(gather);
        }
    }
    hwv_host_fault_done(&host, access.write && !stale);
    return stale ? FaultResult::again : FaultResult::mapped;
}

// A stretch at a time, between which others get the lock and the CPU. Faults bring nothing back
// meanwhile.
template <npt::Format Format>
void PagedMemory<Format>::drop_leaving() {
    for (std::uint64_t first = leaving_.first; first < leaving_.end; hwv_host_give_way()) {
        const std::uint64_t border = (first | (stretch - 1)) + 1;
        const std::uint64_t end = border < leaving_.end ? border : leaving_.end;
        LockGuard guard{lock()};
        Gather gather;
        npt::NoPages none;
        table_.unmap({first, end}, none, gather, retirer(), npt::Empty::prune);
        settle(gather);
        first = end;
    }
}

// Creates, moves, re-flags or deletes. A slot's leaves go whenever anything about it changes: they
// come back by demand. They go first, so that dirty bits still find their slot.
template <npt::Format Format>
Status PagedMemory<Format>::set_memory(const hwv_memory &request) {
    const npt::MemorySlot wanted{request.slot, request.flags, request.gpa, request.size,
                                 request.hva};
    if (const npt::SlotError error = slots_.check_set(wanted); error != npt::SlotError::none)
        return to_error(error);
    const npt::MemorySlot *old = slots_.find_id(request.slot);
    const npt::MemorySlot before = old ? *old : npt::MemorySlot{};
    if (wanted == before) return {};
    std::uint64_t *log = nullptr;
    TRY(new_log(request, &log));
    if (before.size) {
        leave(before.frames());
        drop_leaving();
    }
    {
        LockGuard guard{lock()};
        (void)slots_.set(wanted);
        leaving_ = {};
        changed();
        log = replace_log(request, before, log);
    }
    hwv_host_free(log);
    return {};
}

template <npt::Format Format>
Status PagedMemory<Format>::harvest(const hwv_dirty_log &request, std::uint64_t *words) {
    LockGuard guard{lock()};
    const npt::MemorySlot *slot = slots_.find_id(request.slot);
    if (request.flags) return Error::invalid;
    if (!slot || !slot->logs_dirty()) return Error::not_found;
    const std::uint64_t pages = slot->size >> npt::page_shift, count = request.pages;
    if (request.first > pages || count > pages - request.first || request.first % 64)
        return Error::invalid;
    if (count % 64 && request.first + count != pages) return Error::invalid;
    const std::uint64_t n = (count + 63) / 64, first = slot->gfn() + request.first;
    Gather gather;
    for (std::uint64_t i = 0; i < n; ++i)
        words[i] = 0;
    table_.harvest_dirty({first, first + count}, {words, n}, npt::DirtyBy::dirty_bit, gather);
    settle(gather);
    take_log(*slot, request.first / 64, n, words);
    return {};
}

// One stretch of what the caller's addresses back, from this guest frame on. Where to go on, or
// `nothing_left`.
template <npt::Format Format>
std::uint64_t PagedMemory<Format>::unmap_some(std::uint64_t start, std::uint64_t end,
                                              std::uint64_t from) {
    LockGuard guard{lock()};
    Gather gather;
    npt::NoPages none;
    std::uint64_t left = stretch, next = nothing_left;
    slots_.each_by_hva(start, end, [&](const npt::MemorySlot &, npt::GfnRange range) {
        if (next != nothing_left || range.end <= from) return;
        if (range.first < from) range.first = from;
        if (range.size() >= left) next = range.end = range.first + left;
        left -= range.size();
        table_.unmap(range, none, gather, retirer());
    });
    settle(gather);
    return next;
}

// Until the notifier's owner says that it is over, no fault brings any of it back.
template <npt::Format Format>
void PagedMemory<Format>::unmap_hva(std::uint64_t start, std::uint64_t end, bool may_sleep) {
    std::uint64_t from = unmap_some(start, end, 0);
    while (from != nothing_left) {
        if (may_sleep) hwv_host_give_way();
        from = unmap_some(start, end, from);
    }
}

// An accessed bit that a CPU still holds in its TLB only ages too fast: no flush for that.
template <npt::Format Format>
bool PagedMemory<Format>::age_hva(std::uint64_t start, std::uint64_t end, bool clear) {
    LockGuard guard{lock()};
    Gather gather;
    bool young = false;
    slots_.each_by_hva(start, end, [&](const npt::MemorySlot &, npt::GfnRange range) {
        young |= clear ? table_.clear_young(range, gather, retirer()) : table_.test_young(range);
    });
    settle(gather);
    return young;
}

} // namespace hwv
