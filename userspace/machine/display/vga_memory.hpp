// SPDX-License-Identifier: GPL-2.0-only
// The VGA's own 256 KiB: four planes, and the data path through the graphics controller. Source:
// IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", "Graphics Controller
// Registers", "Video Memory".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "machine/display/vga_registers.hpp"

namespace machine {

// A part of the window at 0xa0000 that behaves as plain memory as long as the registers stay as
// they are: bytes that alternate between two planes (text) or go round four of them (chain 4).
struct PlainWindow {
    std::uint32_t first = 0; // guest-physical address
    std::uint32_t size = 0;  // 0: there is none
    unsigned planes = 0;     // 2 or 4
    bool operator==(const PlainWindow &) const = default;
};
PlainWindow plain_window(const VgaRegisters &registers);

class VgaMemory {
  public:
    static constexpr std::uint32_t window_first = 0xa0000;
    static constexpr std::uint32_t window_size = 0x20000;
    static constexpr std::size_t plane_size = 0x10000;
    using Plane = std::span<std::uint8_t, plane_size>;
    using ConstPlane = std::span<const std::uint8_t, plane_size>;

    VgaMemory() : bytes_(4 * plane_size) {}

    // One byte at `address`, anywhere in the window.
    std::uint8_t read(const VgaRegisters &registers, std::uint32_t address) noexcept;
    void write(const VgaRegisters &registers, std::uint32_t address, std::uint8_t value) noexcept;

    Plane plane(unsigned number) { return Plane{bytes_.data() + number * plane_size, plane_size}; }
    ConstPlane plane(unsigned number) const {
        return ConstPlane{bytes_.data() + number * plane_size, plane_size};
    }
    // The planes' bytes as the guest finds them in the window, and back. `bytes` holds window.size.
    void gather(const PlainWindow &window, std::span<std::byte> bytes) const noexcept;
    void scatter(const PlainWindow &window, std::span<const std::byte> bytes) noexcept;

  private:
    std::vector<std::uint8_t> bytes_; // plane after plane
    std::array<std::uint8_t, 4> latches_{};
};

} // namespace machine
