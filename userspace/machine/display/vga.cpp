// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/vga.hpp"

#include <algorithm>

namespace machine {

namespace {

constexpr std::uint32_t bank_size = 0x10000;
constexpr std::uint16_t vbe_index_port = 0x1ce;
constexpr std::uint16_t vbe_ports = 3; // index, data, data once more at an even address

// Of the register BAR (QEMU, "docs/specs/standard-vga").
constexpr std::uint64_t bar_ports = 0x400;
constexpr std::uint64_t bar_ports_end = 0x420;
constexpr std::uint64_t bar_vbe = 0x500;
constexpr std::uint64_t bar_vbe_end = bar_vbe + 2 * BochsVbe::registers;
constexpr std::uint16_t first_bar_port = 0x3c0;

} // namespace

Vga::Vga(const Clock &clock, MemorySlots *slots)
    : clock_(clock),
      slots_(slots),
      vbe_(frame_buffer_size),
      frame_buffer_(frame_buffer_size),
      window_(VgaMemory::plane_size) {}

Vga::~Vga() { unmap(); }

bool Vga::attach(PortBus &ports, MmioBus &mmio) {
    const auto claim = [&](std::uint16_t first, std::uint16_t count, unsigned width) {
        return ports.claim({.first = first, .count = count, .width = width}, *this, first);
    };
    return claim(0x3b4, 2, 1) && claim(0x3ba, 1, 1) && claim(0x3c0, 16, 1) && claim(0x3d4, 2, 1) &&
           claim(0x3da, 1, 1) && claim(vbe_index_port, vbe_ports, 2) &&
           mmio.claim(VgaMemory::window_first, VgaMemory::window_size, *this,
                      VgaMemory::window_first);
}

std::uint8_t Vga::read_byte(std::uint32_t address) noexcept {
    if (!vbe_.enabled() || vbe_.mode().bits == 4) return memory_.read(registers_, address);
    const std::uint32_t offset = address - VgaMemory::window_first;
    if (offset >= bank_size) return 0xff;
    return std::to_integer<std::uint8_t>(frame_buffer_.bytes()[vbe_.bank_start() + offset]);
}

void Vga::write_byte(std::uint32_t address, std::uint8_t value) noexcept {
    if (!vbe_.enabled() || vbe_.mode().bits == 4) {
        memory_.write(registers_, address, value);
        return;
    }
    const std::uint32_t offset = address - VgaMemory::window_first;
    if (offset < bank_size) frame_buffer_.bytes()[vbe_.bank_start() + offset] = std::byte{value};
}

std::uint64_t Vga::read(std::uint64_t offset, unsigned size) noexcept {
    if (offset < vbe_index_port + vbe_ports) return read_vbe(offset, size);
    if (offset < VgaMemory::window_first)
        return registers_.read(static_cast<std::uint16_t>(offset), clock_.now());
    std::uint64_t value = 0;
    // An access may have come on its way out when the window was mapped: it finds what is there.
    for (unsigned index = 0; index < size; ++index) {
        const auto address = static_cast<std::uint32_t>(offset + index);
        const std::uint32_t at = address - wanted_.window.first;
        const bool in_window = mapped_ && !wanted_.banked && address >= wanted_.window.first &&
                               at < wanted_.window.size;
        const std::uint8_t byte =
            in_window ? std::to_integer<std::uint8_t>(window_.bytes()[at]) : read_byte(address);
        value |= std::uint64_t{byte} << (8 * index);
    }
    return value;
}

void Vga::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (offset < vbe_index_port + vbe_ports) {
        if (size == 2) write_vbe(offset, static_cast<std::uint16_t>(value));
        return;
    }
    if (offset < VgaMemory::window_first) {
        registers_.write(static_cast<std::uint16_t>(offset), static_cast<std::uint8_t>(value));
        update_mapping();
        return;
    }
    for (unsigned index = 0; index < size; ++index, value >>= 8) {
        const auto address = static_cast<std::uint32_t>(offset + index);
        const std::uint32_t at = address - wanted_.window.first;
        if (mapped_ && !wanted_.banked && address >= wanted_.window.first &&
            at < wanted_.window.size)
            window_.bytes()[at] = static_cast<std::byte>(value);
        else
            write_byte(address, static_cast<std::uint8_t>(value));
    }
}

std::uint64_t Vga::read_vbe(std::uint64_t port, unsigned size) noexcept {
    if (size != 2) return undriven(size);
    return port == vbe_index_port ? vbe_index_ : vbe_.read(vbe_index_);
}

void Vga::write_vbe(std::uint64_t port, std::uint16_t value) noexcept {
    if (port == vbe_index_port)
        vbe_index_ = value;
    else
        write_vbe_register(vbe_index_, value);
}

void Vga::write_vbe_register(unsigned index, std::uint16_t value) noexcept {
    if (vbe_.write(index, value)) frame_buffer_.clear();
    update_mapping();
}

std::uint64_t Vga::read_bar(std::uint64_t offset, unsigned size) noexcept {
    if (offset >= bar_ports && offset < bar_ports_end && size <= 4) {
        std::uint64_t value = 0;
        for (unsigned index = 0; index < size; ++index) {
            const auto port =
                static_cast<std::uint16_t>(offset - bar_ports + first_bar_port + index);
            value |= std::uint64_t{registers_.read(port, clock_.now())} << (8 * index);
        }
        return value;
    }
    if (offset >= bar_vbe && offset < bar_vbe_end && size == 2)
        return vbe_.read(static_cast<unsigned>(offset - bar_vbe) / 2);
    return undriven(size);
}

void Vga::write_bar(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (offset >= bar_ports && offset < bar_ports_end && size <= 4) {
        for (unsigned index = 0; index < size; ++index, value >>= 8)
            registers_.write(
                static_cast<std::uint16_t>(offset - bar_ports + first_bar_port + index),
                static_cast<std::uint8_t>(value));
        update_mapping();
    } else if (offset >= bar_vbe && offset < bar_vbe_end && size == 2) {
        write_vbe_register(static_cast<unsigned>(offset - bar_vbe) / 2,
                           static_cast<std::uint16_t>(value));
    }
}

Vga::Mapping Vga::wanted_mapping() const {
    if (!vbe_.enabled() || vbe_.mode().bits == 4) return {plain_window(registers_), 0, false};
    return {{VgaMemory::window_first, bank_size, 1}, vbe_.bank_start(), true};
}

void Vga::unmap() noexcept {
    if (!mapped_) return;
    slots_->unmap(wanted_.window.first);
    if (!wanted_.banked) memory_.scatter(wanted_.window, window_.bytes());
    mapped_ = false;
}

void Vga::update_mapping() noexcept {
    const Mapping wanted = wanted_mapping();
    if (wanted == wanted_) return;
    unmap();
    wanted_ = wanted;
    if (slots_ == nullptr || wanted.window.size == 0) return;
    std::span<std::byte> bytes = window_.bytes().first(wanted.window.size);
    if (wanted.banked)
        bytes = frame_buffer_.bytes().subspan(wanted.bank, wanted.window.size);
    else
        memory_.gather(wanted.window, bytes);
    mapped_ = slots_->map(wanted.window.first, bytes, false);
}

void Vga::start_text(std::span<const std::uint8_t> font) noexcept {
    unmap();
    registers_.set_text_mode();
    constexpr std::size_t glyph = 16, slot = 32;
    for (std::size_t at = 0; at + glyph <= font.size() && at < 256 * glyph; at += glyph)
        std::copy_n(font.begin() + static_cast<std::ptrdiff_t>(at), glyph,
                    memory_.plane(2).begin() + static_cast<std::ptrdiff_t>(at / glyph * slot));
    for (std::size_t at = 0; at < VgaMemory::plane_size / 2; at += 2) {
        memory_.plane(0)[at] = ' ';
        memory_.plane(1)[at] = 0x07;
    }
    wanted_ = {};
    update_mapping();
}

void Vga::start_linear(unsigned width, unsigned height, unsigned bits) noexcept {
    write_vbe_register(BochsVbe::enable, 0);
    write_vbe_register(BochsVbe::x_resolution, static_cast<std::uint16_t>(width));
    write_vbe_register(BochsVbe::y_resolution, static_cast<std::uint16_t>(height));
    write_vbe_register(BochsVbe::bits_per_pixel, static_cast<std::uint16_t>(bits));
    write_vbe_register(BochsVbe::enable, BochsVbe::enabled_bit | BochsVbe::linear_bit);
}

std::optional<LinearMode> Vga::linear_mode() const {
    if (!vbe_.enabled()) return std::nullopt;
    return vbe_.mode();
}

Screen Vga::screen() {
    if (mapped_ && !wanted_.banked) memory_.scatter(wanted_.window, window_.bytes());
    Screen screen{registers_, memory_, linear_mode(), {}};
    if (screen.linear) {
        const auto shown = frame_buffer_.bytes().subspan(
            screen.linear->start, std::size_t{screen.linear->height} * screen.linear->pitch);
        screen.pixels.assign(shown.begin(), shown.end());
    }
    return screen;
}

} // namespace machine
