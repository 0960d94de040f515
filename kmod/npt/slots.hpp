// SPDX-License-Identifier: GPL-2.0-only
// The memory slots of a VM: which guest-physical ranges are the caller's memory, and where.
//
// A fixed array, copyable, without allocation; about 20 KiB, so never on a kernel stack. The caller
// serialises changes against lookups, by its lock or by publishing a changed copy.
#pragma once

#include "npt/entry.hpp"

#include <optional>

namespace hwv::npt {

struct MemorySlot {
    static constexpr std::uint32_t read_only = 1u << 0;
    static constexpr std::uint32_t log_dirty = 1u << 1;
    static constexpr std::uint32_t known_flags = read_only | log_dirty;

    std::uint32_t id = 0;
    std::uint32_t flags = 0;
    std::uint64_t gpa = 0;
    std::uint64_t size = 0;
    std::uint64_t hva = 0;

    friend constexpr bool operator==(const MemorySlot &, const MemorySlot &) = default;

    constexpr std::uint64_t gfn() const { return gpa >> page_shift; }
    constexpr GfnRange frames() const { return {gfn(), gfn() + (size >> page_shift)}; }
    constexpr std::uint64_t hva_of(std::uint64_t frame) const {
        return hva + ((frame - gfn()) << page_shift);
    }
    constexpr bool writable() const { return !(flags & read_only); }
    constexpr bool logs_dirty() const { return flags & log_dirty; }
};

enum class SlotError : std::uint8_t {
    none,
    bad_id,     // id is not below max_slots
    bad_flags,  // unknown flag
    misaligned, // gpa, size or hva is not a multiple of 4 KiB
    resized,    // another size or hva than the slot of this id has
    gpa_range,  // the end lies beyond the guest-physical address width
    hva_range,  // the end lies beyond the caller's address space
    overlap,    // another slot has a part of these guest-physical addresses
    not_found,  // size 0: the id is not in use
};

class MemorySlots {
  public:
    static constexpr std::size_t max_slots = 512;

    // Addresses are below these; both at most 2^63.
    constexpr MemorySlots(std::uint64_t gpa_limit, std::uint64_t hva_limit)
        : gpa_limit_(gpa_limit), hva_limit_(hva_limit) {}

    // Creates the slot of this id, or moves it or changes its flags; with size 0 removes it.
    // Changes nothing unless it returns none. check_set() tells beforehand.
    SlotError set(const MemorySlot &slot);
    SlotError check_set(const MemorySlot &slot) const;

    // The slot of a guest frame or of an id, or null; valid until the next change.
    const MemorySlot *find(std::uint64_t gfn) const;
    const MemorySlot *find_id(std::uint32_t id) const;

    std::size_t size() const { return count_; }
    const MemorySlot *begin() const { return slots_.data(); } // in order of gpa
    const MemorySlot *end() const { return slots_.data() + count_; }

    // Calls visit(slot, GfnRange) for each slot that the addresses [first, end) reach into. One
    // page of the caller may back several slots.
    template <typename Visit>
    void each_by_hva(std::uint64_t first, std::uint64_t last_end, Visit visit) const {
        for (const MemorySlot &slot : *this) {
            const std::uint64_t from = first > slot.hva ? first : slot.hva;
            const std::uint64_t slot_end = slot.hva + slot.size;
            const std::uint64_t to = last_end < slot_end ? last_end : slot_end;
            if (from >= to) continue;
            const std::uint64_t last = (to - 1 - slot.hva) >> page_shift;
            visit(slot,
                  GfnRange{slot.gfn() + ((from - slot.hva) >> page_shift), slot.gfn() + last + 1});
        }
    }

  private:
    SlotError check(const MemorySlot &slot) const;
    bool overlaps(const MemorySlot &slot) const;
    std::size_t position(std::uint64_t gpa) const; // of the first slot that ends above gpa
    std::optional<std::size_t> index_of(std::uint32_t id) const;
    void insert(const MemorySlot &slot);
    void erase(std::size_t index);

    std::array<MemorySlot, max_slots> slots_{};
    std::size_t count_ = 0;
    std::uint64_t gpa_limit_;
    std::uint64_t hva_limit_;
};

} // namespace hwv::npt
