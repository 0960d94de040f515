// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <vector>

#include "boot/guest_memory.hpp"

namespace boot {

// Types of INT 15h E820 (ACPI specification, "System Address Map Interfaces").
enum class MapType : std::uint32_t { usable = 1, reserved = 2, acpi_data = 3 };

struct MapEntry {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    MapType type = MapType::usable;
    bool operator==(const MapEntry &) const = default;
};

// The legacy area of a PC: RAM that the map calls reserved, though it is there.
inline constexpr GpaRange ebda{0x9'fc00, 0x400};
inline constexpr GpaRange firmware_area{0xe'0000, 0x2'0000}; // ACPI tables live here
inline constexpr std::uint64_t high_memory = 0x10'0000;

// What is usable is RAM below the EBDA and RAM from 1 MiB on; sorted.
std::vector<MapEntry> memory_map(const GuestMemory &memory);

// First byte past the RAM usable without a gap from 1 MiB on (high_memory itself when there is
// none).
std::uint64_t low_ram_end(const GuestMemory &memory);

// What a BIOS leaves in its data area (segment 0x40) and is still read without it: where the EBDA
// begins and how much conventional memory there is. Nothing where there is no RAM.
void write_bios_data(GuestMemory &memory);

// Where the loaders put their own small things, all in conventional memory that the guest may reuse
// later.
inline constexpr std::uint64_t tables_gpa = 0x1000; // GDT, page tables: entry.hpp
inline constexpr std::uint64_t info_gpa =
    0x9000; // zero page, multiboot information, PVH start information
inline constexpr std::uint64_t info_bytes = 0x7000;
inline constexpr std::uint64_t command_line_gpa = 0x2'0000;
inline constexpr std::uint64_t command_line_bytes = 0x1'0000;
inline constexpr std::uint64_t stack_gpa = 0x9'f000; // grows down

} // namespace boot
