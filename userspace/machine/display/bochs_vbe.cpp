// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/bochs_vbe.hpp"

#include <algorithm>

namespace machine {

namespace {

// Bytes for `pixels` in a line.
std::uint32_t line_bytes(std::uint32_t pixels, unsigned bits) {
    return bits == 4 ? pixels / 8 : pixels * ((bits + 7) / 8);
}

unsigned known_bits(unsigned bits) {
    switch (bits) {
    case 4:
    case 15:
    case 16:
    case 24:
    case 32: return bits;
    default: return 8;
    }
}

} // namespace

LinearMode BochsVbe::mode() const noexcept {
    LinearMode mode;
    mode.bits = known_bits(values_[bits_per_pixel]);
    mode.width = std::clamp<unsigned>(values_[x_resolution] & ~7u, 8, widest);
    const unsigned stride = std::clamp<unsigned>(values_[virtual_width], mode.width, 2 * widest);
    mode.pitch = line_bytes(stride, mode.bits);
    mode.height = std::clamp<unsigned>(values_[y_resolution], 1,
                                       std::min<unsigned>(highest, memory_ / mode.pitch));
    const std::uint64_t start =
        std::uint64_t{values_[y_offset]} * mode.pitch + line_bytes(values_[x_offset], mode.bits);
    const std::uint64_t size = std::uint64_t{mode.height} * mode.pitch;
    mode.start = start + size <= memory_ ? static_cast<std::uint32_t>(start) : 0;
    mode.wide_palette = (values_[enable] & wide_palette_bit) != 0;
    return mode;
}

std::uint16_t BochsVbe::read(unsigned index) const noexcept {
    if (index >= registers) return 0;
    const bool limits = (values_[enable] & ask_limits) != 0;
    switch (index) {
    case x_resolution: return limits ? std::uint16_t{widest} : values_[index];
    case y_resolution: return limits ? std::uint16_t{highest} : values_[index];
    case bits_per_pixel: return limits ? std::uint16_t{32} : values_[index];
    case virtual_height:
        return static_cast<std::uint16_t>(std::min(0xffffu, memory_ / mode().pitch));
    case memory_64k: return static_cast<std::uint16_t>(memory_ >> 16);
    default: return values_[index];
    }
}

bool BochsVbe::write(unsigned index, std::uint16_t value) noexcept {
    if (index >= memory_64k) return false;
    // A guest writes the newest identity it knows and reads it back: ours, or an older one.
    if (index == id) {
        if (value >= 0xb0c0 && value <= identity) values_[id] = value;
        return false;
    }
    if (index == bank && std::uint64_t{value} << 16 >= memory_) return false;
    const bool was_enabled = enabled();
    values_[index] = value;
    if (index != enable || was_enabled || !enabled()) return false;
    values_[virtual_width] = values_[x_resolution];
    values_[x_offset] = values_[y_offset] = values_[bank] = 0;
    return (value & keep_memory) == 0;
}

} // namespace machine
