// SPDX-License-Identifier: GPL-2.0-only
#include "boot/memory_map.hpp"

#include <algorithm>

#include "boot/entry.hpp"

namespace boot {

static_assert(tables_gpa + boot_table_bytes <= info_gpa);
static_assert(info_gpa + info_bytes <= command_line_gpa);

std::vector<MapEntry> memory_map(const GuestMemory &memory) {
    std::vector<MapEntry> map;
    const auto add = [&](std::uint64_t from, std::uint64_t to) {
        if (from >= to) return;
        const bool joins = !map.empty() && map.back().type == MapType::usable &&
                           map.back().start + map.back().size == from;
        if (joins)
            map.back().size += to - from;
        else
            map.push_back({from, to - from, MapType::usable});
    };
    for (const auto &region : memory.regions()) {
        add(region.gpa, std::min(region.end(), ebda.start));
        add(std::max(region.gpa, high_memory), region.end());
    }
    for (const auto &area : {ebda, firmware_area})
        map.push_back({area.start, area.size, MapType::reserved});
    std::sort(map.begin(), map.end(),
              [](const MapEntry &a, const MapEntry &b) { return a.start < b.start; });
    return map;
}

std::uint64_t low_ram_end(const GuestMemory &memory) {
    return std::min(memory.contiguous_end(high_memory), four_gib);
}

void write_bios_data(GuestMemory &memory) {
    constexpr std::uint64_t ebda_segment = 0x40e;
    constexpr std::uint64_t conventional_kib = 0x413;
    if (!memory.is_ram(0, 0x500)) return;
    memory.put(ebda_segment, static_cast<std::uint16_t>(ebda.start >> 4));
    memory.put(conventional_kib, static_cast<std::uint16_t>(ebda.start / 1024));
}

} // namespace boot
