// SPDX-License-Identifier: GPL-2.0-only
// Source: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem": how the CRT
// controller counts addresses, and how the attribute controller and the DAC make colours of bits.
#include "machine/display/picture.hpp"

#include <algorithm>
#include <array>

namespace machine {

namespace {

constexpr std::uint32_t plane_mask = VgaMemory::plane_size - 1;

// The CRT controller's "Address Counter" to an address in the planes.
class Addresses {
  public:
    explicit Addresses(const VgaRegisters &registers)
        : mode_(registers.crtc[0x17]), doubleword_((registers.crtc[0x14] & 0x40) != 0) {}
    std::uint32_t at(std::uint32_t counter, unsigned scan) const {
        std::uint32_t address = counter;
        if (doubleword_)
            address = counter << 2 | (counter >> 14 & 3);
        else if ((mode_ & 0x40) == 0)
            address = counter << 1 | (counter >> ((mode_ & 0x20) != 0 ? 15 : 13) & 1);
        // "CMS 0" and "CMS 1", when clear, put bits of the row scan counter in: CGA's and
        // Hercules's interleaved lines.
        if ((mode_ & 1) == 0) address = (address & ~0x2000u) | (scan & 1) << 13;
        if ((mode_ & 2) == 0) address = (address & ~0x4000u) | (scan >> 1 & 1) << 14;
        return address & plane_mask;
    }

  private:
    std::uint8_t mode_;
    bool doubleword_;
};

class Colours {
  public:
    Colours(const VgaRegisters &registers, bool wide) : registers_(registers), wide_(wide) {
        for (unsigned index = 0; index < sixteen_.size(); ++index)
            sixteen_[index] = dac(attribute(index & registers.attribute[0x12] & 0x0f));
        for (unsigned index = 0; index < all_.size(); ++index)
            all_[index] = dac(index);
    }
    // Four bits through the attribute controller, eight bits straight to the DAC.
    std::uint32_t of4(unsigned index) const { return sixteen_[index & 15]; }
    std::uint32_t of8(unsigned index) const { return all_[index & 255]; }

  private:
    unsigned attribute(unsigned index) const {
        const unsigned six = registers_.attribute[index] & 0x3f;
        const unsigned select = registers_.attribute[0x14];
        // "P4, P5 Select": these bits come from the colour select register as well.
        const bool four = (registers_.attribute[0x10] & 0x80) != 0;
        return (four ? (six & 0x0f) | (select & 3) << 4 : six) | (select & 0x0c) << 4;
    }
    std::uint32_t dac(unsigned index) const {
        std::uint32_t colour = 0;
        for (const std::uint8_t component : registers_.palette[index & registers_.dac_mask]) {
            const unsigned six = component & 0x3f;
            colour = colour << 8 | (wide_ ? component : six << 2 | six >> 4);
        }
        return colour;
    }

    const VgaRegisters &registers_;
    bool wide_;
    std::array<std::uint32_t, 16> sixteen_{};
    std::array<std::uint32_t, 256> all_{};
};

Picture black(unsigned width, unsigned height) {
    return {width, height, std::vector<std::uint32_t>(std::size_t{width} * height)};
}

// Which line of memory a scan line shows: the part behind the line compare begins at address 0.
struct Row {
    std::uint32_t counter; // of its first character
    unsigned scan;         // within the row
};

Row row_of(const VgaRegisters &registers, unsigned line) {
    const unsigned split = registers.line_compare() + 1;
    const bool below = line >= split;
    unsigned shown = below ? line - split : line + (registers.crtc[8] & 0x1f);
    if (registers.lines_doubled()) shown /= 2;
    const unsigned pitch = registers.crtc[0x13] * 2u;
    return {(below ? 0 : registers.start_address()) + shown / registers.lines_per_row() * pitch,
            shown % registers.lines_per_row()};
}

// Where the two character generators begin, from "Character Map Select": one for attribute bit 3
// set, one for clear.
std::uint32_t font_start(const VgaRegisters &registers, bool set) {
    const unsigned select = registers.sequencer[3];
    const unsigned map =
        set ? (select >> 2 & 3) | (select >> 3 & 4) : (select & 3) | (select >> 2 & 4);
    return (map & 3) << 14 | (map & 4) << 11;
}

class TextPainter {
  public:
    TextPainter(const Screen &screen, const Colours &colours)
        : registers_(screen.registers),
          memory_(screen.memory),
          colours_(colours),
          addresses_(registers_),
          dots_((registers_.sequencer[1] & 1) != 0 ? 8 : 9),
          fonts_{font_start(registers_, false), font_start(registers_, true)} {}

    Picture paint() const {
        Picture picture = black(registers_.characters_per_line() * dots_, registers_.scan_lines());
        for (unsigned line = 0; line < picture.height; ++line) {
            const Row row = row_of(registers_, line);
            auto *out = &picture.pixels[std::size_t{line} * picture.width];
            for (unsigned column = 0; column < registers_.characters_per_line(); ++column)
                character(out + column * dots_, row.counter + column, row.scan);
        }
        return picture;
    }

  private:
    bool has_cursor(std::uint32_t counter, unsigned scan) const {
        const unsigned first = registers_.crtc[0x0a], last = registers_.crtc[0x0b] & 0x1f;
        return (first & 0x20) == 0 && (counter & plane_mask) == registers_.cursor_address() &&
               scan >= (first & 0x1f) && scan <= last;
    }
    void character(std::uint32_t *out, std::uint32_t counter, unsigned scan) const {
        const std::uint32_t at = addresses_.at(counter, 0);
        const std::uint8_t code = memory_.plane(0)[at], attribute = memory_.plane(1)[at];
        const std::uint32_t glyph = fonts_[attribute >> 3 & 1] + code * 32u + scan;
        unsigned bits = memory_.plane(2)[glyph & plane_mask] << 1;
        // "Enable Line Graphics": the ninth dot of the line drawing characters is the eighth once
        // more.
        if ((registers_.attribute[0x10] & 4) != 0 && code >= 0xc0 && code < 0xe0)
            bits |= bits >> 1 & 1;
        const bool underlined = (attribute & 7) == 1 && scan == (registers_.crtc[0x14] & 0x1fu) &&
                                (registers_.attribute[0x10] & 2) != 0;
        if (underlined || has_cursor(counter, scan)) bits = 0x1ff;
        const bool blinks = (registers_.attribute[0x10] & 8) != 0;
        const std::uint32_t ink = colours_.of4(attribute & 15);
        const std::uint32_t paper = colours_.of4(attribute >> 4 & (blinks ? 7 : 15));
        for (unsigned dot = 0; dot < dots_; ++dot)
            out[dot] = (bits >> (8 - dot) & 1) != 0 ? ink : paper;
    }

    const VgaRegisters &registers_;
    const VgaMemory &memory_;
    const Colours &colours_;
    Addresses addresses_;
    unsigned dots_;
    std::array<std::uint32_t, 2> fonts_;
};

// Graphics of the VGA's own modes, each pixel once.
class GraphicsPainter {
  public:
    GraphicsPainter(const Screen &screen, const Colours &colours)
        : registers_(screen.registers),
          memory_(screen.memory),
          colours_(colours),
          addresses_(registers_),
          shift_(registers_.graphics_controller[5] >> 5 & 3) {}

    Picture paint() const {
        // "256 Color Mode": a character clock is four pixels wide.
        const unsigned wide = shift_ >= 2 ? 4 : 8;
        const unsigned repeats = line_repeats();
        Picture picture = black(registers_.characters_per_line() * wide,
                                std::max(1u, registers_.scan_lines() / repeats));
        const unsigned pan =
            (registers_.attribute[0x13] & 0x0f) < 8 ? registers_.attribute[0x13] & 7 : 0;
        for (unsigned line = 0; line < picture.height; ++line) {
            const Row row = row_of(registers_, line * repeats);
            for (unsigned x = 0; x < picture.width; ++x) {
                const unsigned from = x + (wide == 4 ? pan / 2 : pan);
                const std::uint32_t at = addresses_.at(row.counter + from / wide, row.scan);
                picture.pixels[std::size_t{line} * picture.width + x] = pixel(at, from % wide);
            }
        }
        return picture;
    }

  private:
    // Scan lines for each line of memory.
    unsigned line_repeats() const {
        const unsigned doubled = registers_.lines_doubled() ? 2 : 1;
        const bool interleaved = (registers_.crtc[0x17] & 3) != 3;
        return doubled * (interleaved ? 1 : registers_.lines_per_row());
    }
    std::uint32_t pixel(std::uint32_t at, unsigned x) const {
        if (shift_ >= 2) return colours_.of8(memory_.plane(x & 3)[at]);
        unsigned index = 0;
        if (shift_ == 1) { // CGA's: two bits each, first from planes 0 and 2, then from 1 and 3
            const unsigned from = x / 4, position = 6 - 2 * (x % 4);
            index = (memory_.plane(from)[at] >> position & 3) |
                    (memory_.plane(from + 2)[at] >> position & 3) << 2;
        } else {
            for (unsigned plane = 0; plane < 4; ++plane)
                index |= (memory_.plane(plane)[at] >> (7 - x) & 1u) << plane;
        }
        return colours_.of4(index);
    }

    const VgaRegisters &registers_;
    const VgaMemory &memory_;
    const Colours &colours_;
    Addresses addresses_;
    unsigned shift_;
};

// `bits` bits from `shift` on, as eight.
std::uint32_t component(std::uint32_t value, unsigned shift, unsigned bits) {
    const std::uint32_t part = value >> shift & ((1u << bits) - 1);
    return part << (8 - bits) | part >> (2 * bits - 8);
}

std::uint32_t linear_pixel(const std::byte *at, unsigned bits, const Colours &colours) {
    const auto byte = [at](unsigned index) { return std::to_integer<std::uint32_t>(at[index]); };
    if (bits == 8) return colours.of8(byte(0));
    const std::uint32_t value = byte(0) | byte(1) << 8;
    switch (bits) {
    case 15:
        return component(value, 10, 5) << 16 | component(value, 5, 5) << 8 | component(value, 0, 5);
    case 16:
        return component(value, 11, 5) << 16 | component(value, 5, 6) << 8 | component(value, 0, 5);
    default: return value | byte(2) << 16;
    }
}

Picture render_linear(const Screen &screen, const Colours &colours) {
    const LinearMode &mode = *screen.linear;
    Picture picture = black(mode.width, mode.height);
    auto out = picture.pixels.begin();
    for (unsigned y = 0; y < mode.height; ++y)
        for (unsigned x = 0; x < mode.width; ++x, ++out) {
            const std::size_t line = std::size_t{y} * mode.pitch;
            if (mode.bits != 4) {
                *out = linear_pixel(&screen.pixels[line + x * ((mode.bits + 7) / 8)], mode.bits,
                                    colours);
                continue;
            }
            unsigned index = 0;
            for (unsigned plane = 0; plane < 4; ++plane)
                index |=
                    (screen.memory.plane(plane)[(line + x / 8) & plane_mask] >> (7 - x % 8) & 1u)
                    << plane;
            *out = colours.of4(index);
        }
    return picture;
}

} // namespace

Picture render(const Screen &screen) {
    const Colours colours(screen.registers, screen.linear && screen.linear->wide_palette);
    if (screen.linear) return render_linear(screen, colours);
    const Picture picture = screen.registers.graphics() ? GraphicsPainter(screen, colours).paint()
                                                        : TextPainter(screen, colours).paint();
    return screen.registers.blank() ? black(picture.width, picture.height) : picture;
}

std::optional<TextScreen> read_text(const Screen &screen) {
    const VgaRegisters &registers = screen.registers;
    if (screen.linear || registers.graphics()) return std::nullopt;
    const Addresses addresses(registers);
    TextScreen text;
    text.columns = registers.characters_per_line();
    const unsigned height = registers.lines_per_row() * (registers.lines_doubled() ? 2 : 1);
    text.rows = std::max(1u, registers.scan_lines() / height);
    for (unsigned row = 0; row < text.rows; ++row) {
        const std::uint32_t first = row_of(registers, row * height).counter;
        for (unsigned column = 0; column < text.columns; ++column) {
            const std::uint32_t counter = (first + column) & plane_mask;
            if (counter == registers.cursor_address() && (registers.crtc[0x0a] & 0x20) == 0)
                text.cursor = static_cast<unsigned>(text.characters.size());
            text.characters.push_back(screen.memory.plane(0)[addresses.at(counter, 0)]);
        }
    }
    return text;
}

} // namespace machine
