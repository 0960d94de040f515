// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "machine/bytes.hpp"

namespace machine {

struct RamRegion {
    std::uint64_t gpa = 0;
    std::span<std::byte> bytes;
    std::uint64_t end() const { return gpa + bytes.size(); }
};

struct GpaRange {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    std::uint64_t end() const { return start + size; }
    bool overlaps(const GpaRange &other) const {
        return start < other.end() && other.start < end();
    }
};

// A bounded view of the guest's RAM. It owns nothing and knows nothing of how the memory came into
// the guest.
class GuestMemory {
  public:
    // Throws std::invalid_argument for empty, wrapping or overlapping regions.
    explicit GuestMemory(std::vector<RamRegion> regions);

    // Both throw std::out_of_range when any byte is not RAM, and then transfer nothing.
    void write(std::uint64_t gpa, ByteView from);
    void read(std::uint64_t gpa, std::span<std::byte> to) const;

    // The bytes themselves, when all of them lie in RAM without a gap in the host; otherwise
    // nothing.
    std::optional<std::span<std::byte>> span(std::uint64_t gpa, std::uint64_t size) const;

    bool is_ram(std::uint64_t gpa, std::uint64_t size) const;
    void zero(std::uint64_t gpa, std::uint64_t size);

    template <typename T>
    void put(std::uint64_t gpa, const T &value) {
        write(gpa, std::as_bytes(std::span{&value, 1}));
    }
    template <typename T>
    T get(std::uint64_t gpa) const {
        T value;
        read(gpa, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }

    // Sorted by address.
    const std::vector<RamRegion> &regions() const { return regions_; }
    std::uint64_t size() const;

    // First address past the RAM that starts at or covers `gpa` without a hole; `gpa` itself when
    // there is none.
    std::uint64_t contiguous_end(std::uint64_t gpa) const;

  private:
    template <typename Visit>
    void for_each_piece(std::uint64_t gpa, std::uint64_t size, Visit visit) const;

    std::vector<RamRegion> regions_;
};

// Where a PC has its RAM: up to 2.75 GiB from 0, the rest from 4 GiB, so that PCI configuration and
// devices keep the gap below 4 GiB.
std::vector<GpaRange> pc_ram_layout(std::uint64_t ram_bytes);

// Without the bytes of `hole`, behind which there is something else.
std::vector<RamRegion> without(const std::vector<RamRegion> &regions, const GpaRange &hole);

inline constexpr std::uint64_t pci_hole_start = 0xb000'0000;
inline constexpr std::uint64_t four_gib = 0x1'0000'0000;

} // namespace machine
