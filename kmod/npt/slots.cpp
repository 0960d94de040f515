// SPDX-License-Identifier: GPL-2.0-only
#include "npt/slots.hpp"

namespace hwv::npt {

SlotError MemorySlots::check(const MemorySlot &slot) const {
    if (slot.id >= max_slots) return SlotError::bad_id;
    if (slot.flags & ~MemorySlot::known_flags) return SlotError::bad_flags;
    if ((slot.gpa | slot.size | slot.hva) & (page_size - 1)) return SlotError::misaligned;
    if (!slot.size) return SlotError::empty;
    if (slot.size > gpa_limit_ || slot.gpa > gpa_limit_ - slot.size) return SlotError::gpa_range;
    if (slot.size > hva_limit_ || slot.hva > hva_limit_ - slot.size) return SlotError::hva_range;
    return SlotError::none;
}

std::size_t MemorySlots::position(std::uint64_t gpa) const {
    std::size_t low = 0;
    std::size_t high = count_;
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        if (slots_[middle].gpa + slots_[middle].size > gpa)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// With any slot but the one of the same id.
bool MemorySlots::overlaps(const MemorySlot &slot) const {
    for (std::size_t i = position(slot.gpa); i < count_; ++i) {
        if (slots_[i].gpa >= slot.gpa + slot.size) return false;
        if (slots_[i].id != slot.id) return true;
    }
    return false;
}

std::optional<std::size_t> MemorySlots::index_of(std::uint32_t id) const {
    for (std::size_t i = 0; i < count_; ++i) {
        if (slots_[i].id == id) return i;
    }
    return std::nullopt;
}

void MemorySlots::insert(const MemorySlot &slot) {
    const std::size_t at = position(slot.gpa);
    for (std::size_t i = count_; i > at; --i)
        slots_[i] = slots_[i - 1];
    slots_[at] = slot;
    ++count_;
}

void MemorySlots::erase(std::size_t index) {
    --count_;
    for (std::size_t i = index; i < count_; ++i)
        slots_[i] = slots_[i + 1];
}

SlotError MemorySlots::create(const MemorySlot &slot) {
    if (const SlotError error = check(slot); error != SlotError::none) return error;
    if (index_of(slot.id)) return SlotError::exists;
    if (overlaps(slot)) return SlotError::overlap;
    insert(slot);
    return SlotError::none;
}

SlotError MemorySlots::remove(std::uint32_t id) {
    const auto index = index_of(id);
    if (!index) return SlotError::not_found;
    erase(*index);
    return SlotError::none;
}

SlotError MemorySlots::move(std::uint32_t id, std::uint64_t gpa) {
    const auto index = index_of(id);
    if (!index) return SlotError::not_found;
    MemorySlot moved = slots_[*index];
    moved.gpa = gpa;
    if (const SlotError error = check(moved); error != SlotError::none) return error;
    if (overlaps(moved)) return SlotError::overlap;
    erase(*index);
    insert(moved);
    return SlotError::none;
}

SlotError MemorySlots::set_flags(std::uint32_t id, std::uint32_t flags) {
    const auto index = index_of(id);
    if (!index) return SlotError::not_found;
    if (flags & ~MemorySlot::known_flags) return SlotError::bad_flags;
    slots_[*index].flags = flags;
    return SlotError::none;
}

const MemorySlot *MemorySlots::find(std::uint64_t gfn) const {
    if (gfn >= gpa_limit_ >> page_shift) return nullptr;
    const std::size_t at = position(gfn << page_shift);
    return at < count_ && slots_[at].gfn() <= gfn ? &slots_[at] : nullptr;
}

const MemorySlot *MemorySlots::find_id(std::uint32_t id) const {
    const auto index = index_of(id);
    return index ? &slots_[*index] : nullptr;
}

} // namespace hwv::npt
