// SPDX-License-Identifier: GPL-2.0-only
// The VGA's registers as its ports show them. Source: IBM PS/2 Hardware Interface Technical
// Reference, "Video Subsystem": sequencer, CRT controller, graphics controller, attribute
// controller, video DAC, general registers.
#pragma once

#include <array>
#include <cstdint>

namespace machine {

struct VgaRegisters {
    using Rgb = std::array<std::uint8_t, 3>;

    // Port 0x3b0 to 0x3df; `now` in nanoseconds says where the beam is.
    std::uint8_t read(std::uint16_t port, std::uint64_t now) noexcept;
    void write(std::uint16_t port, std::uint8_t value) noexcept;
    // What the BIOS leaves behind: mode 3, colour text of 80 columns and 25 lines of 16 dots.
    void set_text_mode() noexcept;

    bool graphics() const { return (graphics_controller[6] & 1) != 0; }
    // 0 addresses 128 KiB at 0xa0000, 1 64 KiB there, 2 32 KiB at 0xb0000, 3 at 0xb8000.
    unsigned memory_map() const { return graphics_controller[6] >> 2 & 3; }
    bool chain4() const { return (sequencer[4] & 0x08) != 0; }
    bool odd_even_writes() const { return (sequencer[4] & 0x04) == 0; }
    bool odd_even_reads() const { return (graphics_controller[5] & 0x10) != 0; }
    unsigned write_mode() const { return graphics_controller[5] & 3; }
    bool read_compares() const { return (graphics_controller[5] & 0x08) != 0; }
    bool memory_enabled() const { return (misc & 0x02) != 0; }
    unsigned start_address() const { return crtc[0x0c] << 8 | crtc[0x0d]; }
    unsigned cursor_address() const { return crtc[0x0e] << 8 | crtc[0x0f]; }
    unsigned characters_per_line() const { return crtc[0x01] + 1u; }
    unsigned scan_lines() const {
        return (crtc[0x12] | (crtc[0x07] & 0x02) << 7 | (crtc[0x07] & 0x40) << 3) + 1u;
    }
    unsigned line_compare() const {
        return crtc[0x18] | (crtc[0x07] & 0x10) << 4 | (crtc[0x09] & 0x40) << 3;
    }
    unsigned lines_per_row() const { return (crtc[0x09] & 0x1f) + 1u; }
    bool lines_doubled() const { return (crtc[0x09] & 0x80) != 0; }
    // By the sequencer's "Screen Off" or the attribute controller's "Palette Address Source".
    bool blank() const { return (sequencer[1] & 0x20) != 0 || !palette_in_use; }

    std::array<std::uint8_t, 8> sequencer{};
    std::array<std::uint8_t, 16> graphics_controller{};
    std::array<std::uint8_t, 32> crtc{};
    std::array<std::uint8_t, 32> attribute{};
    std::array<Rgb, 256> palette{}; // of 6 bits each, of 8 where the VBE says so
    std::uint8_t misc = 0;
    std::uint8_t dac_mask = 0xff;
    bool palette_in_use = false;

  private:
    bool colour() const { return (misc & 1) != 0; }
    std::uint8_t read_attribute(std::uint16_t port) const;
    std::uint8_t read_dac(std::uint16_t port) noexcept;
    std::uint8_t read_status(std::uint64_t now) noexcept;
    void write_attribute(std::uint8_t value) noexcept;
    void write_dac(std::uint16_t port, std::uint8_t value) noexcept;
    void write_crtc(std::uint8_t value) noexcept;

    std::uint8_t sequencer_index_ = 0;
    std::uint8_t graphics_index_ = 0;
    std::uint8_t crtc_index_ = 0;
    std::uint8_t attribute_index_ = 0;
    bool attribute_data_next_ = false;
    std::uint8_t feature_ = 0;
    std::uint8_t dac_read_index_ = 0;
    std::uint8_t dac_write_index_ = 0;
    std::uint8_t dac_component_ = 0;
    bool dac_reads_ = false;
    Rgb dac_written_{};
};

} // namespace machine
