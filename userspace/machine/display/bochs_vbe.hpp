// SPDX-License-Identifier: GPL-2.0-only
// The "Bochs VBE" registers, by which a linear picture replaces the VGA's. Source: Bochs, "VBE
// Display API"; QEMU, "docs/specs/standard-vga".
#pragma once

#include <array>
#include <cstdint>

namespace machine {

// What is shown: always inside the frame buffer, whatever the guest has set.
struct LinearMode {
    unsigned width = 0;
    unsigned height = 0;
    unsigned bits = 0;       // for each pixel: 4 (in the VGA's planes), 8, 15, 16, 24, 32
    std::uint32_t pitch = 0; // bytes from a line to the next one
    std::uint32_t start = 0;
    bool wide_palette = false; // 8 bits for each component of the DAC
};

class BochsVbe {
  public:
    static constexpr std::uint16_t identity = 0xb0c5;
    static constexpr std::uint16_t registers = 11;
    static constexpr unsigned widest = 4096;
    static constexpr unsigned highest = 4096;
    enum Index : std::uint16_t {
        id,
        x_resolution,
        y_resolution,
        bits_per_pixel,
        enable,
        bank,
        virtual_width,
        virtual_height,
        x_offset,
        y_offset,
        memory_64k,
    };
    enum Enable : std::uint16_t {
        enabled_bit = 0x01,
        ask_limits = 0x02,
        wide_palette_bit = 0x20,
        linear_bit = 0x40,
        keep_memory = 0x80,
    };

    explicit BochsVbe(std::uint32_t memory_bytes) : memory_(memory_bytes) {}
    std::uint16_t read(unsigned index) const noexcept;
    // True if the frame buffer is to be cleared.
    bool write(unsigned index, std::uint16_t value) noexcept;

    bool enabled() const { return (values_[enable] & enabled_bit) != 0; }
    LinearMode mode() const noexcept;
    // Where the bank that is seen at 0xa0000 begins.
    std::uint32_t bank_start() const { return std::uint32_t{values_[bank]} << 16; }

  private:
    std::uint32_t memory_;
    std::array<std::uint16_t, registers> values_{identity};
};

} // namespace machine
