// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/vga_function.hpp"

#include <algorithm>
#include <bit>

namespace machine {

namespace {

constexpr unsigned frame_buffer_bar = 0, register_bar = 2;
constexpr std::size_t page = 4096;

// Those of Bochs's display adapter, by which drivers know it.
constexpr pci::Identity stdvga{.vendor = 0x1234,
                               .device = 0x1111,
                               .class_code = 0x03'0000,
                               .revision = 2,
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100};

} // namespace

VgaFunction::VgaFunction(Vga &vga, std::span<const std::byte> rom) : Function(stdvga), vga_(vga) {
    add_bar(frame_buffer_bar, pci::BarKind::prefetchable32, vga.frame_buffer());
    add_bar(register_bar, pci::BarKind::memory32, Vga::register_bar_size);
    if (!rom.empty()) {
        rom_.emplace(std::bit_ceil(std::max(rom.size(), page)));
        std::copy(rom.begin(), rom.end(), rom_->bytes().begin());
        add_rom(rom_->bytes());
    }
    // A VGA has ports that no BAR tells of: firmware looks for their bit.
    config().set_writable<std::uint16_t>(
        pci::reg::command, pci::command::io | pci::command::memory | pci::command::master);
}

std::uint64_t VgaFunction::frame_buffer_address() {
    return config().get<std::uint32_t>(pci::reg::bar0 + 4 * frame_buffer_bar) & ~0x0fu;
}

std::uint64_t VgaFunction::read_bar(unsigned bar, std::uint64_t offset, unsigned size) noexcept {
    return bar == register_bar ? vga_.read_bar(offset, size) : undriven(size);
}

void VgaFunction::write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                            std::uint64_t value) noexcept {
    if (bar == register_bar) vga_.write_bar(offset, size, value);
}

} // namespace machine
