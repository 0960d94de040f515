// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <vector>

#include "boot/guest_memory.hpp"

namespace boot {

struct ElfSegment {
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
    std::uint64_t vaddr = 0;
    std::uint64_t paddr = 0;
    std::uint64_t file_size = 0;
    std::uint64_t memory_size = 0;
};

struct Elf {
    bool is64 = false;
    std::uint16_t machine = 0;
    std::uint64_t entry = 0;
    std::vector<ElfSegment> segments;
};

inline constexpr std::uint32_t elf_load = 1;
inline constexpr std::uint32_t elf_note = 4;
inline constexpr std::uint16_t elf_machine_386 = 3;
inline constexpr std::uint16_t elf_machine_x86_64 = 62;

// Nothing when it is not a little-endian ELF; throws Error when it is one and is cut short or
// malformed.
std::optional<Elf> parse_elf(ByteView image);

// A note's descriptor from any PT_NOTE segment.
std::optional<ByteView> find_note(ByteView image, const Elf &elf, const char *name,
                                  std::uint32_t type);

// Loads every PT_LOAD segment at its physical address; returns what they cover from the first to
// the last byte. Throws Error where the file ends early or the guest has no RAM.
GpaRange load_segments(GuestMemory &memory, ByteView image, const Elf &elf);

} // namespace boot
