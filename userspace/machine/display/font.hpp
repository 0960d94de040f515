// SPDX-License-Identifier: GPL-2.0-only
// A font for text modes that no firmware has set up: of the machine hwvctl runs on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace machine {

inline constexpr std::size_t font_bytes = 256 * 16;

// The 8 x 16 font inside a VGA BIOS; empty if there is none.
std::vector<std::uint8_t> find_font(std::span<const std::uint8_t> rom);
// From Debian's packages seabios or vgabios; where neither is, boxes that have the character's code
// in dots.
std::vector<std::uint8_t> host_font();

} // namespace machine
