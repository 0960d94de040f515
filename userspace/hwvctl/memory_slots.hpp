// SPDX-License-Identifier: GPL-2.0-only
#pragma once
#include <map>
#include "hwv/vm.hpp"
#include "machine/memory_slots.hpp"

namespace hwvctl {

// Devices' memory in the slots that RAM leaves. Under the machine's lock.
class DeviceMemory final : public machine::MemorySlots {
  public:
    DeviceMemory(hwv::Vm &vm, std::uint32_t first_slot) : vm_{vm}, next_{first_slot} {}
    bool map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept override;
    void unmap(std::uint64_t gpa) noexcept override;

  private:
    hwv::Vm &vm_;
    std::uint32_t next_;                          // never used so far
    std::vector<std::uint32_t> free_;             // used and given back
    std::map<std::uint64_t, std::uint32_t> used_; // slots by address
};

} // namespace hwvctl
