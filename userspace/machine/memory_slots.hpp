// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace machine {

// Memory of devices that the guest reaches without an exit: ROMs, a frame buffer. The kernel maps
// it where the device says; guest writes to what is read-only leave as MMIO.
struct MemorySlots {
    virtual ~MemorySlots() = default;
    // `bytes` stays where it is, page-aligned, as long as it is mapped. True if it is there now;
    // false if it cannot be, as when it overlaps something: then nothing has changed.
    virtual bool map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept = 0;
    // Of a mapping that begins at `gpa`; none there is no error.
    virtual void unmap(std::uint64_t gpa) noexcept = 0;
};

// The guest's RAM, for who changes how it shows itself.
struct RamSlots {
    virtual ~RamSlots() = default;
    // What begins at `gpa` becomes `bytes`, of the same size. False: nothing has changed. Where
    // other bytes come, a processor that runs meanwhile may find nothing there.
    virtual bool replace(std::uint64_t gpa, std::span<std::byte> bytes,
                         bool read_only) noexcept = 0;
};

} // namespace machine
