// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/memory_slots.hpp"
#include "hwv/error.hpp"

namespace hwvctl {

VmMemory::VmMemory(hwv::Vm &vm, std::span<const machine::RamRegion> ram) : vm_{vm} {
    for (const machine::RamRegion &region : ram) {
        const Ram piece{next_++, region.bytes};
        set(piece, region.gpa);
        ram_.emplace(region.gpa, piece);
    }
}

void VmMemory::set(const Ram &ram, std::uint64_t gpa) {
    vm_.set_memory(ram.slot, ram.read_only ? HWV_MEMORY_READONLY : 0, gpa, ram.bytes.size(),
                   ram.bytes.data());
}

bool VmMemory::replace(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept {
    const auto place = ram_.find(gpa);
    if (place == ram_.end() || place->second.bytes.size() != bytes.size()) return false;
    const Ram old = place->second, wanted{old.slot, bytes, read_only};
    const bool moves = old.bytes.data() != bytes.data();
    try {
        if (moves) vm_.delete_memory(old.slot);
        set(wanted, gpa);
        place->second = wanted;
        return true;
    } catch (const std::exception &) {}
    try {
        if (moves) set(old, gpa);
    } catch (const std::exception &) { // the VM is gone
    }
    return false;
}

bool VmMemory::map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept {
    if (used_.contains(gpa)) return false;
    try {
        const std::uint32_t slot = free_.empty() ? next_ : free_.back();
        const auto place = used_.emplace(gpa, slot).first;
        try {
            vm_.set_memory(slot, read_only ? HWV_MEMORY_READONLY : 0, gpa, bytes.size(),
                           bytes.data());
        } catch (const hwv::Error &) {
            used_.erase(place);
            return false;
        }
        free_.empty() ? void(++next_) : free_.pop_back();
        return true;
    } catch (const std::bad_alloc &) {
        return false;
    }
}

void VmMemory::unmap(std::uint64_t gpa) noexcept {
    const auto place = used_.find(gpa);
    if (place == used_.end()) return;
    try {
        free_.reserve(free_.size() + 1); // no slot is lost for want of memory
        vm_.delete_memory(place->second);
        free_.push_back(place->second);
        used_.erase(place);
    } catch (const std::exception &) { // the VM is gone
    }
}

} // namespace hwvctl
