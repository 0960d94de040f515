// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "boot/bytes.hpp"

namespace boot {

// What the screen shows when the kernel starts, as firmware would have left it.
struct Screen {
    unsigned columns = 80, rows = 25, character_height = 16; // of the VGA's text
    // A linear picture instead, if there is an address.
    std::uint64_t address = 0;
    unsigned width = 0, height = 0;
    unsigned bits = 0; // for each pixel: 16, 24 or 32
    std::uint32_t pitch = 0;
};

// Of a picture's pixels: size and lowest bit of red, green, blue and the rest.
std::array<std::uint8_t, 8> components(const Screen &screen);

// Into a Linux zero page ("The Zero Page": screen_info).
void put_screen_info(std::span<std::byte> zero_page, const Screen &screen);

} // namespace boot
