// SPDX-License-Identifier: GPL-2.0-only
#include "boot/screen.hpp"

namespace boot {
namespace {

// Offsets in struct screen_info, include/uapi/linux/screen_info.h.
constexpr std::uint64_t at_video_mode = 0x06;
constexpr std::uint64_t at_columns = 0x07;
constexpr std::uint64_t at_ega_bx = 0x0a;
constexpr std::uint64_t at_rows = 0x0e;
constexpr std::uint64_t at_is_vga = 0x0f;
constexpr std::uint64_t at_points = 0x10;
constexpr std::uint64_t at_width = 0x12;
constexpr std::uint64_t at_height = 0x14;
constexpr std::uint64_t at_depth = 0x16;
constexpr std::uint64_t at_base = 0x18;
constexpr std::uint64_t at_size = 0x1c;
constexpr std::uint64_t at_pitch = 0x24;
constexpr std::uint64_t at_components = 0x26; // size and position of red, green, blue, the rest

constexpr std::uint8_t colour_text = 3; // the BIOS's number of the mode
constexpr std::uint16_t ega_256k = 3;
constexpr std::uint8_t is_vga = 0x01, is_linear = 0x23;
constexpr std::uint64_t size_unit = 64 << 10;

void put_linear(std::span<std::byte> page, const Screen &screen) {
    put(page, at_is_vga, is_linear);
    put(page, at_width, static_cast<std::uint16_t>(screen.width));
    put(page, at_height, static_cast<std::uint16_t>(screen.height));
    put(page, at_depth, static_cast<std::uint16_t>(screen.bits));
    put(page, at_base, static_cast<std::uint32_t>(screen.address));
    const std::uint64_t size = std::uint64_t{screen.pitch} * screen.height;
    put(page, at_size, static_cast<std::uint32_t>(align_up(size, size_unit) / size_unit));
    put(page, at_pitch, static_cast<std::uint16_t>(screen.pitch));
    put(page, at_components, components(screen));
}

} // namespace

std::array<std::uint8_t, 8> components(const Screen &screen) {
    if (screen.bits == 32) return {8, 16, 8, 8, 8, 0, 8, 24};
    if (screen.bits == 16) return {5, 11, 6, 5, 5, 0, 0, 0};
    return {8, 16, 8, 8, 8, 0, 0, 0};
}

void put_screen_info(std::span<std::byte> zero_page, const Screen &screen) {
    put(zero_page, at_video_mode, colour_text);
    put(zero_page, at_columns, static_cast<std::uint8_t>(screen.columns));
    put(zero_page, at_rows, static_cast<std::uint8_t>(screen.rows));
    put(zero_page, at_points, static_cast<std::uint16_t>(screen.character_height));
    put(zero_page, at_ega_bx, ega_256k);
    put(zero_page, at_is_vga, is_vga);
    if (screen.address != 0) put_linear(zero_page, screen);
}

} // namespace boot
