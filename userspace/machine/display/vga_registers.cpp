// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/vga_registers.hpp"

#include <algorithm>

namespace machine {

namespace {

enum Port : std::uint16_t {
    attribute_port = 0x3c0,
    attribute_data = 0x3c1,
    misc_write_status0 = 0x3c2,
    sequencer_port = 0x3c4,
    sequencer_data = 0x3c5,
    dac_mask_port = 0x3c6,
    dac_read_port = 0x3c7,
    dac_write_port = 0x3c8,
    dac_data = 0x3c9,
    feature_read = 0x3ca,
    misc_read = 0x3cc,
    graphics_port = 0x3ce,
    graphics_data = 0x3cf,
    colour_crtc = 0x3d4,
    colour_status = 0x3da,
    colour_offset = 0x20, // from the monochrome ports to those of colour
};

constexpr std::uint8_t palette_source = 0x20;
constexpr std::uint8_t crtc_last = 0x18;

// 640 x 480 at 60 Hz or 720 x 400 at 70: to the guest a steady 449 lines of 31.8 us, the last 49
// of them dark.
constexpr std::uint64_t line_ns = 31'778;
constexpr std::uint64_t shown_ns = 25'422;
constexpr std::uint64_t lines = 449, lines_shown = 400, retrace_first = 412, retrace_lines = 2;

} // namespace

std::uint8_t VgaRegisters::read_status(std::uint64_t now) noexcept {
    // "Input Status Register 1": reading it makes 0x3c0 expect an index.
    attribute_data_next_ = false;
    const std::uint64_t line = now / line_ns % lines;
    const bool dark = line >= lines_shown || now % line_ns >= shown_ns;
    const bool retrace = line >= retrace_first && line < retrace_first + retrace_lines;
    return static_cast<std::uint8_t>((dark ? 0x01 : 0) | (retrace ? 0x08 : 0));
}

std::uint8_t VgaRegisters::read_attribute(std::uint16_t port) const {
    if (port == attribute_data) return attribute[attribute_index_];
    return static_cast<std::uint8_t>(attribute_index_ | (palette_in_use ? palette_source : 0));
}

std::uint8_t VgaRegisters::read_dac(std::uint16_t port) noexcept {
    switch (port) {
    case dac_mask_port: return dac_mask;
    case dac_read_port: return dac_reads_ ? 3 : 0;
    case dac_write_port: return dac_write_index_;
    default: break;
    }
    const std::uint8_t value = palette[dac_read_index_][dac_component_];
    if (++dac_component_ == 3) {
        dac_component_ = 0;
        ++dac_read_index_;
    }
    return value;
}

std::uint8_t VgaRegisters::read(std::uint16_t port, std::uint64_t now) noexcept {
    // The CRT controller answers at 0x3d0 or 0x3b0, as the miscellaneous output register says.
    if (port < 0x3c0 || port >= 0x3d0) {
        if ((port >= 0x3d0) != colour()) return 0xff;
        port = static_cast<std::uint16_t>(0x3d0 | (port & 0x0f));
    }
    switch (port) {
    case attribute_port:
    case attribute_data: return read_attribute(port);
    case misc_write_status0: return 0x10; // "Switch Sense": a display is there
    case sequencer_port: return sequencer_index_;
    case sequencer_data: return sequencer[sequencer_index_];
    case dac_mask_port:
    case dac_read_port:
    case dac_write_port:
    case dac_data: return read_dac(port);
    case feature_read: return feature_;
    case misc_read: return misc;
    case graphics_port: return graphics_index_;
    case graphics_data: return graphics_controller[graphics_index_];
    case colour_crtc: return crtc_index_;
    case colour_crtc + 1: return crtc_index_ <= crtc_last ? crtc[crtc_index_] : 0;
    case colour_status: return read_status(now);
    default: return 0xff;
    }
}

void VgaRegisters::write_attribute(std::uint8_t value) noexcept {
    if (attribute_data_next_) {
        attribute[attribute_index_] = value;
    } else {
        attribute_index_ = value & 0x1f;
        palette_in_use = (value & palette_source) != 0;
    }
    attribute_data_next_ = !attribute_data_next_;
}

void VgaRegisters::write_dac(std::uint16_t port, std::uint8_t value) noexcept {
    switch (port) {
    case dac_mask_port: dac_mask = value; return;
    case dac_read_port:
        dac_read_index_ = value;
        dac_reads_ = true;
        dac_component_ = 0;
        return;
    case dac_write_port:
        dac_write_index_ = value;
        dac_reads_ = false;
        dac_component_ = 0;
        return;
    default: break;
    }
    dac_written_[dac_component_] = value;
    if (++dac_component_ < 3) return;
    dac_component_ = 0;
    palette[dac_write_index_++] = dac_written_;
}

void VgaRegisters::write_crtc(std::uint8_t value) noexcept {
    if (crtc_index_ > crtc_last) return;
    // "Vertical Retrace End", bit 7 protects registers 0 to 7 but for the line compare's ninth bit.
    const bool is_protected = (crtc[0x11] & 0x80) != 0 && crtc_index_ < 8;
    if (!is_protected)
        crtc[crtc_index_] = value;
    else if (crtc_index_ == 7)
        crtc[7] = static_cast<std::uint8_t>((crtc[7] & ~0x10) | (value & 0x10));
}

void VgaRegisters::write(std::uint16_t port, std::uint8_t value) noexcept {
    if (port < 0x3c0 || port >= 0x3d0) {
        if ((port >= 0x3d0) != colour()) return;
        port = static_cast<std::uint16_t>(0x3d0 | (port & 0x0f));
    }
    switch (port) {
    case attribute_port: write_attribute(value); break;
    case misc_write_status0: misc = value; break;
    case sequencer_port: sequencer_index_ = value & 7; break;
    case sequencer_data: sequencer[sequencer_index_] = value; break;
    case dac_mask_port:
    case dac_read_port:
    case dac_write_port:
    case dac_data: write_dac(port, value); break;
    case graphics_port: graphics_index_ = value & 0x0f; break;
    case graphics_data: graphics_controller[graphics_index_] = value; break;
    case colour_crtc: crtc_index_ = value & 0x1f; break;
    case colour_crtc + 1: write_crtc(value); break;
    case colour_status: feature_ = value; break;
    default: break;
    }
}

void VgaRegisters::set_text_mode() noexcept {
    *this = {};
    misc = 0x67;
    sequencer = {3, 0, 3, 0, 2};
    crtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0,
            0,    0,    0,    0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
    graphics_controller = {0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff};
    for (std::uint8_t index = 0; index < 16; ++index)
        attribute[index] = static_cast<std::uint8_t>(index < 8 ? index : index + 0x30);
    attribute[6] = 0x14; // brown
    attribute[0x10] = 0x0c;
    attribute[0x12] = 0x0f;
    attribute[0x13] = 0x08;
    palette_in_use = true;
    // EGA's 64 colours: two bits for each of red, green, blue.
    for (unsigned index = 0; index < 64; ++index) {
        const auto level = [index](unsigned strong, unsigned weak) {
            return static_cast<std::uint8_t>((index >> strong & 1) * 0x2a +
                                             (index >> weak & 1) * 0x15);
        };
        palette[index] = {level(2, 5), level(1, 4), level(0, 3)};
    }
}

} // namespace machine
