// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/vga_memory.hpp"

#include <bit>

namespace machine {

namespace {

struct Window {
    std::uint32_t first;
    std::uint32_t size;
};

constexpr std::array<Window, 4> windows{{
    {0xa0000, 0x20000},
    {0xa0000, 0x10000},
    {0xb0000, 0x8000},
    {0xb8000, 0x8000},
}};

// Where in the planes an address leads: nowhere if the window is elsewhere.
std::optional<std::uint32_t> decode(const VgaRegisters &registers, std::uint32_t address) {
    const Window &window = windows[registers.memory_map()];
    if (!registers.memory_enabled() || address < window.first ||
        address - window.first >= window.size)
        return std::nullopt;
    return (address - window.first) % VgaMemory::plane_size;
}

// All bits of a byte, where a register has one bit for each plane.
std::uint8_t spread(std::uint8_t bits, unsigned plane) {
    return (bits >> plane & 1) != 0 ? 0xff : 0x00;
}

struct DataPath {
    explicit DataPath(const VgaRegisters &registers, std::uint8_t value)
        : gc(registers.graphics_controller), mode(registers.write_mode()), data(value) {
        if (mode == 0 || mode == 3) data = std::rotr(value, gc[3] & 7);
        mask = mode == 3 ? static_cast<std::uint8_t>(gc[8] & data) : gc[8];
    }
    std::uint8_t source(unsigned plane) const {
        if (mode == 2) return spread(data, plane);
        const bool by_register = mode == 3 || (gc[1] >> plane & 1) != 0;
        return by_register ? spread(gc[0], plane) : data;
    }
    std::uint8_t result(unsigned plane, std::uint8_t latch) const {
        if (mode == 1) return latch;
        std::uint8_t value = source(plane);
        switch (gc[3] >> 3 & 3) {
        case 1: value &= latch; break;
        case 2: value |= latch; break;
        case 3: value ^= latch; break;
        default: break;
        }
        return static_cast<std::uint8_t>((value & mask) | (latch & ~mask));
    }

    const std::array<std::uint8_t, 16> &gc;
    unsigned mode;
    std::uint8_t data;
    std::uint8_t mask;
};

// Does a written byte arrive as it is, and is it what a read brings.
bool plain_data(const VgaRegisters &registers) {
    const auto &gc = registers.graphics_controller;
    return registers.write_mode() == 0 && !registers.read_compares() && (gc[1] & 0x0f) == 0 &&
           (gc[3] & 0x1f) == 0 && gc[8] == 0xff;
}

} // namespace

PlainWindow plain_window(const VgaRegisters &registers) {
    const Window &window = windows[registers.memory_map()];
    if (!registers.memory_enabled() || window.size > VgaMemory::plane_size ||
        !plain_data(registers))
        return {};
    const unsigned map_mask = registers.sequencer[2] & 0x0f;
    if (registers.chain4())
        return map_mask == 0x0f ? PlainWindow{window.first, window.size, 4} : PlainWindow{};
    const bool pairs = registers.odd_even_writes() && registers.odd_even_reads() &&
                       map_mask == 0x03 && (registers.graphics_controller[4] & 2) == 0;
    return pairs ? PlainWindow{window.first, window.size, 2} : PlainWindow{};
}

std::uint8_t VgaMemory::read(const VgaRegisters &registers, std::uint32_t address) noexcept {
    const auto found = decode(registers, address);
    if (!found) return 0xff;
    std::uint32_t offset = *found;
    unsigned selected = registers.graphics_controller[4] & 3;
    if (registers.chain4()) {
        selected = offset & 3;
        offset &= ~3u;
    } else if (registers.odd_even_reads()) {
        selected = (selected & 2) | (offset & 1);
        offset &= ~1u;
    }
    for (unsigned number = 0; number < 4; ++number)
        latches_[number] = plane(number)[offset];
    if (!registers.read_compares()) return latches_[selected];
    std::uint8_t equal = 0xff;
    for (unsigned number = 0; number < 4; ++number) {
        const std::uint8_t care = spread(registers.graphics_controller[7], number);
        const std::uint8_t colour = spread(registers.graphics_controller[2], number);
        equal &= static_cast<std::uint8_t>(~((latches_[number] ^ colour) & care));
    }
    return equal;
}

void VgaMemory::write(const VgaRegisters &registers, std::uint32_t address,
                      std::uint8_t value) noexcept {
    const auto found = decode(registers, address);
    if (!found) return;
    std::uint32_t offset = *found;
    unsigned selected = registers.sequencer[2] & 0x0f;
    if (registers.chain4()) {
        selected &= 1u << (offset & 3);
        offset &= ~3u;
    } else if (registers.odd_even_writes()) {
        selected &= (offset & 1) != 0 ? 0x0au : 0x05u;
        offset &= ~1u;
    }
    const DataPath path(registers, value);
    for (unsigned number = 0; number < 4; ++number)
        if ((selected >> number & 1) != 0)
            plane(number)[offset] = path.result(number, latches_[number]);
}

void VgaMemory::gather(const PlainWindow &window, std::span<std::byte> bytes) const noexcept {
    const std::uint32_t within = window.planes - 1;
    for (std::uint32_t at = 0; at < window.size; ++at)
        bytes[at] = std::byte{bytes_[(at & within) * plane_size + (at & ~within)]};
}

void VgaMemory::scatter(const PlainWindow &window, std::span<const std::byte> bytes) noexcept {
    const std::uint32_t within = window.planes - 1;
    for (std::uint32_t at = 0; at < window.size; ++at)
        bytes_[(at & within) * plane_size + (at & ~within)] =
            std::to_integer<std::uint8_t>(bytes[at]);
}

} // namespace machine
