// SPDX-License-Identifier: GPL-2.0-only
// memory.hpp - a VM's physical memory: slots over the owner's memory, paged in on demand into one
// nested page table.
#pragma once
#include <atomic>
#include "core/exit.hpp"
#include "core/host.hpp"
#include "npt/level.hpp"
#include "npt/slots.hpp"
#include "npt/table.hpp"

namespace hwv {

class Vm;

// A vCPU's own copy of the slot it used last, good while the VM's generation is the same:
// guest-memory reads of the exit path take no lock.
struct SlotCache {
    std::uint64_t generation = 0;
    npt::MemorySlot slot{};
    std::uint64_t hole_generation = 0, hole = 0; // a frame that is no memory: a device's registers
};

// The vendor-neutral half: slots, dirty bitmaps, lock.
class Memory {
  public:
    using Pages = npt::PageList<HostMemory>;
    using Gather = npt::Gather<HostMemory>;

    Memory(Vm &vm, std::uint64_t gpa_limit);
    ~Memory();
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    hwv_host_lock &lock() { return lock_; }
    const npt::MemorySlots &slots() const { return slots_; } // under the lock

    // The slot of a guest frame; nullptr: not the caller's memory. Any context of the vCPU's
    // thread.
    const npt::MemorySlot *find(std::uint64_t gfn, SlotCache &cache) {
        const npt::MemorySlot &slot = cache.slot;
        const bool hit =
            current(cache.generation) && gfn - slot.gfn() < slot.size >> npt::page_shift;
        return hit ? &slot : find_slowly(gfn, cache);
    }

    // Bytes of guest memory, by the owner's mapping. Process context, or (atomic) only what is
    // present.
    Status read(std::uint64_t gpa, void *to, std::uint32_t bytes, SlotCache &cache,
                bool atomic = false);
    // Sixteen bytes inside one page, only what is present.
    bool read_code(std::uint64_t gpa, std::uint8_t (&to)[16], SlotCache &cache) {
        const npt::MemorySlot *slot = find(gpa >> npt::page_shift, cache);
        return slot && !hwv_host_user_read16_atomic(to, slot->hva + (gpa - slot->gpa));
    }
    Status write(std::uint64_t gpa, const void *from, std::uint32_t bytes, SlotCache &cache,
                 bool atomic = false);

    // One byte, where the slot that has it is known already, logs nothing, and the page is present:
    // takes no lock. The vCPU's thread, irqs off or not.
    bool poke(std::uint64_t gpa, std::uint8_t value, const SlotCache &cache) const;
    // One byte for another; process context.
    Status exchange(std::uint64_t gpa, std::uint8_t &value, SlotCache &cache);

    // The owner's address of gpa, and how many bytes of the same slot follow. Not from inside the
    // lock.
    Status locate(std::uint64_t gpa, std::uint64_t &hva, std::uint64_t &bytes);

    // Remembers that a page was written, where its slot keeps a log. Under the lock.
    void mark_dirty(std::uint64_t gfn, std::uint64_t pages);

  protected:
    bool current(std::uint64_t generation) const {
        return generation_.load(std::memory_order_acquire) == generation;
    }
    void changed() { generation_.fetch_add(1, std::memory_order_release); }

    // A slot's dirty log: readied before the lock, exchanged under it (returns what is to be
    // freed), read and cleared.
    static Status new_log(const hwv_memory &request, std::uint64_t **log);
    std::uint64_t *replace_log(const hwv_memory &request, const npt::MemorySlot &before,
                               std::uint64_t *log);
    void take_log(const npt::MemorySlot &slot, std::uint64_t first_word, std::uint64_t count,
                  std::uint64_t *words);

    // A leaf left the table: its dirty bit goes to the host's page and to the log.
    void retire(const npt::Leaf &leaf);
    // Flushes every vCPU where asked, then frees detached table pages. Under the lock.
    void settle(Gather &gather);

    const npt::MemorySlot *find_slowly(std::uint64_t gfn, SlotCache &cache);

    Vm &vm_;
    npt::MemorySlots slots_;

  private:
    hwv_host_lock lock_{};
    std::atomic<std::uint64_t> generation_{1};
    std::uint64_t *log_[HWV_MAX_SLOTS] = {};
};

// A cache of table pages, filled where sleeping is allowed and used under the lock.
class SparePages {
  public:
    ~SparePages();
    Status top_up(unsigned count);
    std::optional<npt::TablePage> take() { return pages_.take(); }

  private:
    Memory::Pages pages_;
};

Error to_error(npt::SlotError error);

} // namespace hwv
