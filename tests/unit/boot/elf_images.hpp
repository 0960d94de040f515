// SPDX-License-Identifier: GPL-2.0-only
// Small executables that the loaders' tests put headers into.
#pragma once

#include "boot/elf.hpp"
#include "fixture.hpp"

namespace boot_test {

inline constexpr std::uint64_t payload_offset = 0x1000;
inline constexpr std::uint64_t load_at = 2 * mib;
inline constexpr std::size_t file_bytes = 0x800;
inline constexpr std::size_t memory_bytes = 0x2000;

// Program header offsets and sizes of the two ELF classes in one place.
struct Shape {
    bool is64;
    std::uint64_t header() const { return is64 ? 64 : 52; }
    std::uint64_t entry_size() const { return is64 ? 56 : 32; }
};

inline void put_segment(Bytes &image, const Shape &shape, unsigned index,
                        const boot::ElfSegment &s) {
    const auto at = shape.header() + index * shape.entry_size();
    put(image, at, s.type);
    if (shape.is64) {
        put(image, at + 8, s.offset);
        put(image, at + 16, s.vaddr);
        put(image, at + 24, s.paddr);
        put(image, at + 32, s.file_size);
        put(image, at + 40, s.memory_size);
        return;
    }
    unsigned field = 4;
    for (const auto value : {s.offset, s.vaddr, s.paddr, s.file_size, s.memory_size}) {
        put(image, at + field, static_cast<std::uint32_t>(value));
        field += 4;
    }
}

// An executable with one loaded segment, and a second program header for a note.
inline Bytes make_elf(const Shape &shape) {
    Bytes image(payload_offset);
    put(image, 0, std::uint32_t{0x464c'457f});
    put(image, 4, std::uint8_t{shape.is64 ? std::uint8_t{2} : std::uint8_t{1}});
    put(image, 5, std::uint8_t{1});
    put(image, 18, shape.is64 ? boot::elf_machine_x86_64 : boot::elf_machine_386);
    if (shape.is64) {
        put(image, 24, std::uint64_t{0xffff'ffff'8100'0000});
        put(image, 32, shape.header());
    } else {
        put(image, 24, static_cast<std::uint32_t>(load_at + 0x10));
        put(image, 28, static_cast<std::uint32_t>(shape.header()));
    }
    put(image, shape.is64 ? 54 : 42, static_cast<std::uint16_t>(shape.entry_size()));
    put(image, shape.is64 ? 56 : 44, std::uint16_t{2});
    put_segment(image, shape, 0,
                {boot::elf_load, payload_offset, 0, load_at, file_bytes, memory_bytes});
    const auto code = pattern(file_bytes, 5);
    image.insert(image.end(), code.begin(), code.end());
    return image;
}

} // namespace boot_test
