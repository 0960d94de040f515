// SPDX-License-Identifier: GPL-2.0-only
// RAM below 2 MiB as processors find it on a machine with a BIOS. Devices' own accesses do not pass
// here.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <vector>

#include "machine/guest_memory.hpp"
#include "machine/memory_slots.hpp"

namespace machine {

// Two switches of a PC's board: the host bridge's PAM registers make RAM below 1 MiB read-only, as
// a BIOS leaves it ("Programmable Attribute Map"), and the gate on address line 20 has accesses to
// the second megabyte land in the first. Of that, the first 640 KiB do here; other odd megabytes
// are always themselves.
class LowMemory {
  public:
    // Without `slots` all RAM stays writable, without `gate` A20 open: as more than one processor
    // could not be kept from running meanwhile, and newer ones have no such pin.
    LowMemory(GuestMemory ram, RamSlots *slots, bool gate);

    // RAM cut into what `slots` has to know one by one.
    static std::vector<RamRegion> pieces(const std::vector<RamRegion> &ram);

    bool a20_open() const { return a20_open_; }
    // Stays open where it cannot be closed, which a guest sees as it reads back.
    void set_a20(bool open) noexcept;

    static constexpr std::size_t pam_registers = 7;
    using Pam = std::array<std::uint8_t, pam_registers>;
    void protect(const Pam &pam) noexcept;

    // From here on every access lands where it says.
    static constexpr std::uint64_t end = 2u << 20;
    // Where in RAM an access lands; nothing for a write to what is read-only.
    std::optional<std::uint64_t> find(std::uint64_t gpa, bool write) const noexcept;

  private:
    static constexpr unsigned segments = 13; // twelve of 16 KiB, one of 64 KiB
    GuestMemory ram_;
    RamSlots *slots_;
    bool gate_;
    bool a20_open_ = true;
    std::bitset<segments> read_only_;
};

} // namespace machine
