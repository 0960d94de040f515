// SPDX-License-Identifier: GPL-2.0-only
#include "npt/slots.hpp"

namespace hwv::npt {

SlotError MemorySlots::check(const MemorySlot &slot) const {
    if (slot.id >= max_slots) return SlotError::bad_id;
    if (slot.flags & ~MemorySlot::known_flags) return SlotError::bad_flags;
    if ((slot.gpa | slot.size | slot.hva) & (page_size - 1)) return SlotError::misaligned;
    if (!slot.size) return SlotError::none;
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

SlotError MemorySlots::check_set(const MemorySlot &slot) const {
    if (const SlotError error = check(slot); error != SlotError::none) return error;
    const MemorySlot *old = find_id(slot.id);
    if (!slot.size) return old ? SlotError::none : SlotError::not_found;
    if (old && (old->size != slot.size || old->hva != slot.hva)) return SlotError::resized;
    return overlaps(slot) ? SlotError::overlap : SlotError::none;
}

SlotError MemorySlots::set(const MemorySlot &slot) {
    if (const SlotError error = check_set(slot); error != SlotError::none) return error;
    if (const auto old = index_of(slot.id)) erase(*old);
    if (slot.size) insert(slot);
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
