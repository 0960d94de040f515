// SPDX-License-Identifier: GPL-2.0-only
// What a display shows, for people and programs: as a picture, and in text modes as characters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "machine/display/vga.hpp"

namespace machine {

// 0x00rrggbb, line after line.
struct Picture {
    unsigned width = 0;
    unsigned height = 0;
    std::vector<std::uint32_t> pixels;
    bool operator==(const Picture &) const = default;
};

// Never empty: a screen that is off is black. No larger than 4096 x 4096.
Picture render(const Screen &screen);

struct TextScreen {
    unsigned columns = 0;
    unsigned rows = 0;
    std::vector<std::uint8_t> characters; // of code page 437, row after row
    std::optional<unsigned> cursor;       // an index of `characters`, where it is shown
};

// Nothing in graphics modes.
std::optional<TextScreen> read_text(const Screen &screen);
// As UTF-8 with a newline after each row, blanks at the ends of rows left out.
std::string utf8(const TextScreen &screen);

} // namespace machine
