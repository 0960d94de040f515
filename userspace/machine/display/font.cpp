// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/font.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace machine {

namespace {

constexpr std::size_t glyph_bytes = 16;

bool glyph_is(std::span<const std::uint8_t> font, unsigned character, std::uint8_t line) {
    const auto glyph = font.subspan(character * glyph_bytes, glyph_bytes);
    return std::all_of(glyph.begin(), glyph.end(), [line](std::uint8_t b) { return b == line; });
}

// Blanks and the blocks of code page 437 look the same in every font.
bool is_font(std::span<const std::uint8_t> font) {
    return glyph_is(font, 0xdb, 0xff) && glyph_is(font, 0xdd, 0xf0) && glyph_is(font, 0xde, 0x0f) &&
           glyph_is(font, 0x00, 0x00) && glyph_is(font, 0x20, 0x00);
}

std::vector<std::uint8_t> boxes() {
    std::vector<std::uint8_t> font(font_bytes);
    for (unsigned character = 0x21; character < 256; ++character) {
        std::uint8_t *glyph = &font[character * glyph_bytes];
        glyph[2] = glyph[13] = 0x7e;
        for (unsigned line = 4; line < 12; ++line) {
            const bool set = (character >> (11 - line) & 1) != 0;
            glyph[line] = set ? 0x5a : 0x42;
        }
    }
    return font;
}

} // namespace

std::vector<std::uint8_t> find_font(std::span<const std::uint8_t> rom) {
    for (std::size_t at = 0; at + font_bytes <= rom.size(); ++at)
        if (const auto font = rom.subspan(at, font_bytes); is_font(font))
            return {font.begin(), font.end()};
    return {};
}

std::vector<std::uint8_t> host_font() {
    for (const char *path :
         {"/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/vgabios/vgabios.bin"}) {
        std::ifstream file(path, std::ios::binary);
        const std::vector<std::uint8_t> rom{std::istreambuf_iterator<char>(file), {}};
        if (auto font = find_font(rom); !font.empty()) return font;
    }
    return boxes();
}

} // namespace machine
