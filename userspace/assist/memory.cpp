// SPDX-License-Identifier: GPL-2.0-only
#include "assist/memory.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace assist {
namespace {

// Guest memory is shared with running vCPUs: an access of a natural size is one access, as on a
// CPU.
template <typename T>
void copy_one(std::byte *to, const std::byte *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    std::memcpy(to, &value, sizeof value);
}

void copy(std::byte *to, const std::byte *from, unsigned size) {
    switch (size) {
    case 1: return copy_one<std::uint8_t>(to, from);
    case 2: return copy_one<std::uint16_t>(to, from);
    case 4: return copy_one<std::uint32_t>(to, from);
    case 8: return copy_one<std::uint64_t>(to, from);
    default: std::memcpy(to, from, size);
    }
}

unsigned next_chunk(unsigned left) { return std::bit_floor(std::min(left, 8U)); }

void read_piece(PhysicalMemory &memory, Place::Piece piece, std::byte *to) {
    if (const auto *ram = memory.ram(piece.gpa, piece.size, false)) {
        copy(to, ram, piece.size);
        return;
    }
    while (piece.size != 0) {
        const auto chunk = next_chunk(piece.size);
        const auto value = memory.mmio_read(piece.gpa, chunk);
        std::memcpy(to, &value, chunk);
        to += chunk;
        piece.gpa += chunk;
        piece.size -= chunk;
    }
}

void write_piece(PhysicalMemory &memory, Place::Piece piece, const std::byte *from) {
    if (auto *ram = memory.ram(piece.gpa, piece.size, true)) {
        copy(ram, from, piece.size);
        return;
    }
    while (piece.size != 0) {
        const auto chunk = next_chunk(piece.size);
        std::uint64_t value = 0;
        std::memcpy(&value, from, chunk);
        memory.mmio_write(piece.gpa, chunk, value);
        from += chunk;
        piece.gpa += chunk;
        piece.size -= chunk;
    }
}

} // namespace

void read_place(PhysicalMemory &memory, const Place &place, std::span<std::byte> to) {
    auto *at = to.data();
    for (unsigned i = 0; i < place.count; at += place.pieces[i].size, ++i)
        read_piece(memory, place.pieces[i], at);
}

void write_place(PhysicalMemory &memory, const Place &place, std::span<const std::byte> from) {
    const auto *at = from.data();
    for (unsigned i = 0; i < place.count; at += place.pieces[i].size, ++i)
        write_piece(memory, place.pieces[i], at);
}

} // namespace assist
