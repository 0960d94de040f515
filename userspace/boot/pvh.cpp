// SPDX-License-Identifier: GPL-2.0-only
#include "boot/pvh.hpp"

#include "boot/elf.hpp"
#include "boot/memory_map.hpp"

namespace boot {
namespace {

constexpr std::uint32_t note_phys32_entry = 18;

// struct hvm_start_info, version 1.
struct StartInfo {
    std::uint32_t magic = 0x336e'c578;
    std::uint32_t version = 1;
    std::uint32_t flags = 0;
    std::uint32_t module_count = 0;
    std::uint64_t modules = 0;
    std::uint64_t command_line = 0;
    std::uint64_t rsdp = 0;
    std::uint64_t map = 0;
    std::uint32_t map_entries = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);

struct ModuleEntry {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint64_t command_line = 0;
    std::uint64_t reserved = 0;
};

struct MapTableEntry {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint32_t type = 0;
    std::uint32_t reserved = 0;
};

constexpr std::uint64_t map_gpa = info_gpa + 0x1000;
constexpr std::uint64_t modules_gpa = info_gpa + 0x2000;
constexpr std::size_t most_modules = 0x1000 / sizeof(ModuleEntry);
constexpr GpaRange module_lines{info_gpa + 0x3000, info_bytes - 0x3000};

std::optional<std::uint64_t> entry_point(ByteView image) {
    const auto elf = parse_elf(image);
    if (!elf) return std::nullopt;
    const auto note = find_note(image, *elf, "Xen", note_phys32_entry);
    if (!note) return std::nullopt;
    return note->size() >= 8 ? get<std::uint64_t>(*note, 0) : get<std::uint32_t>(*note, 0);
}

std::uint32_t put_map(GuestMemory &memory) {
    const auto map = memory_map(memory);
    auto at = map_gpa;
    for (const auto &entry : map) {
        memory.put(
            at, MapTableEntry{entry.start, entry.size, static_cast<std::uint32_t>(entry.type), 0});
        at += sizeof(MapTableEntry);
    }
    if (at > modules_gpa) throw Error("memory map is too long");
    return static_cast<std::uint32_t>(map.size());
}

void put_modules(GuestMemory &memory, const Payload &payload, const GpaRange &kernel,
                 StartInfo &info) {
    if (payload.modules.size() > most_modules)
        throw Error("more than " + std::to_string(most_modules) + " modules");
    auto at = modules_gpa;
    for (const auto &module : place_modules(memory, payload, kernel, module_lines)) {
        memory.put(at, ModuleEntry{module.range.start, module.range.size, module.command_line, 0});
        at += sizeof(ModuleEntry);
    }
    info.module_count = static_cast<std::uint32_t>(payload.modules.size());
    info.modules = payload.modules.empty() ? 0 : modules_gpa;
}

} // namespace

bool is_pvh(ByteView image) {
    try {
        return entry_point(image).has_value();
    } catch (const Error &) {
        return false;
    }
}

Entry load_pvh(GuestMemory &memory, ByteView image, const Payload &payload) {
    const auto point = entry_point(image);
    const auto elf = parse_elf(image);
    if (!point || !elf) throw Error("ELF has no PVH note");
    put_command_line(memory, payload.command_line, command_line_bytes);
    const auto kernel = load_segments(memory, image, *elf);
    StartInfo info;
    info.command_line = command_line_gpa;
    info.rsdp = payload.acpi_rsdp;
    info.map = map_gpa;
    info.map_entries = put_map(memory);
    put_modules(memory, payload, kernel, info);
    memory.put(info_gpa, info);

    Entry entry;
    enter_protected(entry, memory, tables_gpa);
    entry.rip = *point;
    entry.gpr[rbx] = info_gpa;
    entry.gpr[rsp] = stack_gpa;
    return entry;
}

} // namespace boot
