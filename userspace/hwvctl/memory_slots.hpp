// SPDX-License-Identifier: GPL-2.0-only
#pragma once
#include <map>
#include <span>
#include <vector>
#include "hwv/vm.hpp"
#include "machine/guest_memory.hpp"
#include "machine/memory_slots.hpp"

namespace hwvctl {

// RAM, and devices' memory in the slots that it leaves. Under the machine's lock.
class VmMemory final : public machine::MemorySlots, public machine::RamSlots {
  public:
    // A slot for each region. Throws hwv::Error.
    VmMemory(hwv::Vm &vm, std::span<const machine::RamRegion> ram);
    bool map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept override;
    void unmap(std::uint64_t gpa) noexcept override;
    bool replace(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept override;

  private:
    struct Ram {
        std::uint32_t slot = 0;
        std::span<std::byte> bytes;
        bool read_only = false;
    };
    void set(const Ram &ram, std::uint64_t gpa);

    hwv::Vm &vm_;
    std::uint32_t next_ = 0;                      // never used so far
    std::vector<std::uint32_t> free_;             // used and given back
    std::map<std::uint64_t, std::uint32_t> used_; // devices' slots by address
    std::map<std::uint64_t, Ram> ram_;
};

} // namespace hwvctl
