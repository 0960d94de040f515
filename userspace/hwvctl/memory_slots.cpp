// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/memory_slots.hpp"
#include "hwv/error.hpp"

namespace hwvctl {

bool DeviceMemory::map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept {
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

void DeviceMemory::unmap(std::uint64_t gpa) noexcept {
    const auto place = used_.find(gpa);
    if (place == used_.end()) return;
    try {
        free_.push_back(place->second);
        vm_.delete_memory(place->second);
        used_.erase(place);
    } catch (const std::exception &) { // the VM is gone
    }
}

} // namespace hwvctl
