// SPDX-License-Identifier: GPL-2.0-only
#include "core/memory.hpp"
#include "core/vm.hpp"

namespace hwv {

namespace {
constexpr std::uint64_t user_limit = 1ull << 47;

std::uint64_t words_for(std::uint64_t pages) { return (pages + 63) / 64; }
} // namespace

Error to_error(npt::SlotError error) {
    switch (error) {
    case npt::SlotError::none: return Error::none;
    case npt::SlotError::overlap: return Error::exists;
    case npt::SlotError::not_found: return Error::not_found;
    default: return Error::invalid;
    }
}

Memory::Memory(Vm &vm, std::uint64_t gpa_limit) : vm_{vm}, slots_{gpa_limit, user_limit} {
    hwv_host_lock_init(&lock_);
}

Memory::~Memory() {
    for (std::uint64_t *bits : log_)
        hwv_host_free(bits);
}

const npt::MemorySlot *Memory::find_slowly(std::uint64_t gfn, SlotCache &cache) {
    if (gfn == cache.hole && current(cache.hole_generation)) return nullptr;
    LockGuard guard{lock_};
    const npt::MemorySlot *found = slots_.find(gfn);
    const std::uint64_t generation = generation_.load(std::memory_order_relaxed);
    if (!found) {
        cache.hole = gfn;
        cache.hole_generation = generation;
        return nullptr;
    }
    cache.slot = *found;
    cache.generation = generation;
    return &cache.slot;
}

Status Memory::read(std::uint64_t gpa, void *to, std::uint32_t bytes, SlotCache &cache,
                    bool atomic) {
    auto *at = static_cast<std::uint8_t *>(to);
    while (bytes) {
        const npt::MemorySlot *slot = find(gpa >> npt::page_shift, cache);
        if (!slot) return Error::fault;
        const std::uint64_t offset = gpa - slot->gpa, left = slot->size - offset;
        const std::uint32_t part = left < bytes ? static_cast<std::uint32_t>(left) : bytes;
        TRY(from_errno(atomic ? hwv_host_user_read_atomic(at, slot->hva + offset, part)
                              : hwv_host_user_read(at, slot->hva + offset, part)));
        gpa += part;
        at += part;
        bytes -= part;
    }
    return {};
}

Status Memory::write(std::uint64_t gpa, const void *from, std::uint32_t bytes, SlotCache &cache,
                     bool atomic) {
    auto *at = static_cast<const std::uint8_t *>(from);
    while (bytes) {
        const npt::MemorySlot *slot = find(gpa >> npt::page_shift, cache);
        if (!slot || !slot->writable()) return Error::fault;
        const std::uint64_t offset = gpa - slot->gpa, left = slot->size - offset;
        const std::uint32_t part = left < bytes ? static_cast<std::uint32_t>(left) : bytes;
        TRY(from_errno(atomic ? hwv_host_user_write_atomic(slot->hva + offset, at, part)
                              : hwv_host_user_write(slot->hva + offset, at, part)));
        if (slot->logs_dirty()) {
            LockGuard guard{lock_};
            mark_dirty(gpa >> npt::page_shift,
                       ((gpa + part - 1) >> npt::page_shift) - (gpa >> npt::page_shift) + 1);
        }
        gpa += part;
        at += part;
        bytes -= part;
    }
    return {};
}

bool Memory::poke(std::uint64_t gpa, std::uint8_t value, const SlotCache &cache) const {
    const npt::MemorySlot &slot = cache.slot;
    const bool known = current(cache.generation) &&
                       (gpa >> npt::page_shift) - slot.gfn() < slot.size >> npt::page_shift;
    return known && slot.writable() && !slot.logs_dirty() &&
           !hwv_host_user_write_atomic(slot.hva + (gpa - slot.gpa), &value, sizeof value);
}

Status Memory::exchange(std::uint64_t gpa, std::uint8_t &value, SlotCache &cache) {
    const npt::MemorySlot *slot = find(gpa >> npt::page_shift, cache);
    if (!slot || !slot->writable()) return Error::fault;
    return from_errno(hwv_host_user_exchange8(slot->hva + (gpa - slot->gpa), &value));
}

void Memory::mark_dirty(std::uint64_t gfn, std::uint64_t pages) {
    for (std::uint64_t end = gfn + pages; gfn < end; ++gfn) {
        const npt::MemorySlot *slot = slots_.find(gfn);
        if (!slot || !log_[slot->id]) continue;
        const std::uint64_t page = gfn - slot->gfn();
        log_[slot->id][page / 64] |= 1ull << (page % 64);
    }
}

void Memory::retire(const npt::Leaf &leaf) {
    if (!leaf.dirty) return;
    hwv_host_page_set_dirty(leaf.pfn);
    mark_dirty(leaf.gfn, npt::pages(leaf.level));
}

void Memory::settle(Gather &gather) {
    if (gather.flush_needed) vm_.flush_translations();
    while (const auto page = gather.freed.pop())
        free_table_page(*page);
}

Status Memory::new_log(const hwv_memory &request, std::uint64_t **log) {
    if (!(request.flags & HWV_MEMORY_LOG_DIRTY) || !request.size) return {};
    *log = static_cast<std::uint64_t *>(
        hwv_host_alloc(words_for(request.size >> npt::page_shift) * 8));
    return *log ? Status{} : Status{Error::no_memory};
}

// A slot that already logs keeps its log; one that stops or goes away loses it.
std::uint64_t *Memory::replace_log(const hwv_memory &request, const npt::MemorySlot &before,
                                   std::uint64_t *log) {
    std::uint64_t *&mine = log_[request.slot];
    if (log && before.size && before.logs_dirty()) return log;
    std::uint64_t *old = mine;
    mine = log;
    return old;
}

void Memory::take_log(const npt::MemorySlot &slot, std::uint64_t first_word, std::uint64_t count,
                      std::uint64_t *words) {
    std::uint64_t *log = log_[slot.id] + first_word;
    for (std::uint64_t i = 0; i < count; ++i) {
        words[i] |= log[i];
        log[i] = 0;
    }
}

SparePages::~SparePages() {
    while (const auto page = pages_.pop())
        free_table_page(*page);
}

Status SparePages::top_up(unsigned count) {
    while (pages_.size() < count) {
        hwv_host_page page;
        TRY(from_errno(hwv_host_pages_alloc(0, &page)));
        pages_.push(page.pa);
    }
    return {};
}

Status Memory::locate(std::uint64_t gpa, std::uint64_t &hva, std::uint64_t &bytes) {
    const LockGuard guard{lock_};
    const npt::MemorySlot *slot = slots_.find(gpa >> npt::page_shift);
    if (!slot) return Error::fault;
    hva = slot->hva + (gpa - slot->gpa);
    bytes = slot->gpa + slot->size - gpa;
    return {};
}

} // namespace hwv
