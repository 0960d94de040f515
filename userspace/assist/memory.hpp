// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace assist {

enum class Access : std::uint8_t { read, write, execute };

// The guest-physical address space, as the launcher sees it.
class PhysicalMemory {
  public:
    virtual ~PhysicalMemory() = default;
    // Host address of guest RAM, null where [gpa, gpa + size) is not RAM or, for a write, is
    // read-only. Never asked for a range that crosses a 4 KiB boundary.
    virtual std::byte *ram(std::uint64_t gpa, std::size_t size, bool write) = 0;
    // A device's register; size is 1, 2, 4 or 8.
    virtual std::uint64_t mmio_read(std::uint64_t gpa, unsigned size) = 0;
    virtual void mmio_write(std::uint64_t gpa, unsigned size, std::uint64_t value) = 0;
};

// A linear range after translation: it touches at most two pages. Once it exists, no access through
// it can fault, so an instruction translates all it needs before it changes anything.
struct Place {
    struct Piece {
        std::uint64_t gpa = 0;
        unsigned size = 0;
    };
    std::array<Piece, 2> pieces{};
    unsigned count = 0;
};

inline constexpr std::uint64_t page_size = 4096;

// Plain copies between `place` and host memory; MMIO in pieces of 8, 4, 2, 1 bytes.
void read_place(PhysicalMemory &memory, const Place &place, std::span<std::byte> to);
void write_place(PhysicalMemory &memory, const Place &place, std::span<const std::byte> from);

} // namespace assist
