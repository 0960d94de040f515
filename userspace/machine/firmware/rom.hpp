// SPDX-License-Identifier: GPL-2.0-only
// A firmware image below 4 GiB, where the processor's first instruction is fetched.
#pragma once

#include <cstdint>

#include "machine/display/host_pages.hpp"
#include "machine/guest_memory.hpp"
#include "machine/memory_slots.hpp"

namespace machine::firmware {

inline constexpr std::uint64_t rom_granule = 0x1000;
inline constexpr std::uint64_t largest_rom = 16u << 20;

// The image ends at 4 GiB and is read-only there. Of a BIOS the last 128 KiB are below 1 MiB as
// well, in RAM: what a chipset's shadowing would copy there, and the BIOS writes its variables to.
class Rom {
  public:
    // Throws std::invalid_argument if the size is not one of a ROM (a multiple of 4 KiB, at most
    // 16 MiB), std::runtime_error if the range is taken.
    Rom(ByteView image, MemorySlots &slots);
    void shadow(GuestMemory &ram) const;
    std::uint64_t gpa() const { return four_gib - pages_.bytes().size(); }

  private:
    HostPages pages_;
};

} // namespace machine::firmware
