// SPDX-License-Identifier: GPL-2.0-only
#include "boot/multiboot.hpp"

#include <algorithm>

#include "boot/elf.hpp"
#include "boot/memory_map.hpp"

namespace boot {
namespace {

constexpr std::uint32_t header_magic = 0x1bad'b002;
constexpr std::uint32_t loader_magic = 0x2bad'b002;
constexpr std::uint64_t search_bytes = 8192;

constexpr std::uint32_t wants_addresses = 1 << 16;
// Bits 0 to 15 are demands; page-aligned modules and memory information are always given. A video
// mode (bit 2) is a wish: the kernel must cope with the mode it finds.
constexpr std::uint32_t known_demands = 0x7;

constexpr std::uint32_t info_memory = 1 << 0;
constexpr std::uint32_t info_command_line = 1 << 2;
constexpr std::uint32_t info_modules = 1 << 3;
constexpr std::uint32_t info_map = 1 << 6;
constexpr std::uint32_t info_loader_name = 1 << 9;

struct Info {
    std::uint32_t flags = 0;
    std::uint32_t memory_lower = 0; // KiB below 1 MiB
    std::uint32_t memory_upper = 0; // KiB from 1 MiB to the first hole
    std::uint32_t boot_device = 0;
    std::uint32_t command_line = 0;
    std::uint32_t module_count = 0;
    std::uint32_t modules = 0;
    std::uint32_t symbols[4] = {};
    std::uint32_t map_length = 0;
    std::uint32_t map = 0;
    std::uint32_t drives[2] = {};
    std::uint32_t config_table = 0;
    std::uint32_t loader_name = 0;
    std::uint32_t apm_table = 0;
    std::uint32_t vbe[4] = {};
};
static_assert(sizeof(Info) == 88);

struct ModuleEntry {
    std::uint32_t start = 0;
    std::uint32_t end = 0;
    std::uint32_t command_line = 0;
    std::uint32_t reserved = 0;
};

// Unaligned by specification: `size` counts what follows it.
struct [[gnu::packed]] MapTableEntry {
    std::uint32_t size = 20;
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    std::uint32_t type = 0;
};
static_assert(sizeof(MapTableEntry) == 24);

constexpr std::uint64_t name_gpa = info_gpa + 0x100;
constexpr std::uint64_t map_gpa = info_gpa + 0x1000;
constexpr std::uint64_t modules_gpa = info_gpa + 0x2000;
constexpr std::size_t most_modules = 0x1000 / sizeof(ModuleEntry);
constexpr GpaRange module_lines{info_gpa + 0x3000, info_bytes - 0x3000};
constexpr char loader_name[] = "hwv";

struct Kernel {
    GpaRange range;
    std::uint64_t entry = 0;
};

std::optional<std::uint64_t> find_header(ByteView image) {
    const auto end = std::min<std::uint64_t>(image.size(), search_bytes);
    for (std::uint64_t at = 0; at + 12 <= end; at += 4) {
        if (get<std::uint32_t>(image, at) != header_magic) continue;
        const auto sum = get<std::uint32_t>(image, at) + get<std::uint32_t>(image, at + 4) +
                         get<std::uint32_t>(image, at + 8);
        if (sum == 0) return at;
    }
    return std::nullopt;
}

Kernel load_kernel(GuestMemory &memory, ByteView image, std::uint64_t header) {
    const auto flags = get<std::uint32_t>(image, header + 4);
    if ((flags & 0xffff & ~known_demands) != 0)
        throw Error("multiboot header demands what is not there: flags " + hex(flags));
    if ((flags & wants_addresses) != 0) {
        const LoadAddresses addresses{
            get<std::uint32_t>(image, header + 12), get<std::uint32_t>(image, header + 16),
            get<std::uint32_t>(image, header + 20), get<std::uint32_t>(image, header + 24)};
        return {load_by_addresses(memory, image, header, addresses),
                get<std::uint32_t>(image, header + 28)};
    }
    const auto elf = parse_elf(image);
    if (!elf || elf->is64 || elf->machine != elf_machine_386)
        throw Error("multiboot image is neither ELF32 for i386 nor has load addresses");
    const auto range = load_segments(memory, image, *elf);
    return {range, elf->entry};
}

void put_modules(GuestMemory &memory, const Payload &payload, const GpaRange &kernel, Info &info) {
    if (payload.modules.size() > most_modules)
        throw Error("more than " + std::to_string(most_modules) + " modules");
    auto at = modules_gpa;
    for (const auto &module : place_modules(memory, payload, kernel, module_lines)) {
        memory.put(at, ModuleEntry{static_cast<std::uint32_t>(module.range.start),
                                   static_cast<std::uint32_t>(module.range.end()),
                                   static_cast<std::uint32_t>(module.command_line), 0});
        at += sizeof(ModuleEntry);
    }
    info.flags |= info_modules;
    info.module_count = static_cast<std::uint32_t>(payload.modules.size());
    info.modules = static_cast<std::uint32_t>(modules_gpa);
}

void put_map(GuestMemory &memory, Info &info) {
    auto at = map_gpa;
    for (const auto &entry : memory_map(memory)) {
        memory.put(
            at, MapTableEntry{20, entry.start, entry.size, static_cast<std::uint32_t>(entry.type)});
        at += sizeof(MapTableEntry);
    }
    if (at > modules_gpa) throw Error("memory map is too long");
    info.flags |= info_memory | info_map;
    info.map = static_cast<std::uint32_t>(map_gpa);
    info.map_length = static_cast<std::uint32_t>(at - map_gpa);
    info.memory_lower = ebda.start / 1024;
    info.memory_upper = static_cast<std::uint32_t>((low_ram_end(memory) - high_memory) / 1024);
}

} // namespace

// "The address fields of Multiboot header".
GpaRange load_by_addresses(GuestMemory &memory, ByteView image, std::uint64_t header_at,
                           const LoadAddresses &at) {
    if (at.load > at.header || at.header - at.load > header_at)
        throw Error("bad multiboot header: load_addr is not before header_addr in the file");
    const auto offset = header_at - (at.header - at.load);
    const auto file_bytes = at.load_end == 0 ? image.size() - offset : at.load_end - at.load;
    if ((at.load_end != 0 && at.load_end < at.load) || !within(offset, file_bytes, image.size()))
        throw Error("multiboot image is truncated: load_end_addr is past the end of the file");
    const auto bytes = std::max(file_bytes, at.bss_end > at.load ? at.bss_end - at.load : 0);
    require_ram(memory, {at.load, bytes}, "kernel");
    memory.write(at.load, image.subspan(offset, file_bytes));
    memory.zero(at.load + file_bytes, bytes - file_bytes);
    return {at.load, bytes};
}

bool is_multiboot(ByteView image) { return find_header(image).has_value(); }

Entry load_multiboot(GuestMemory &memory, ByteView image, const Payload &payload,
                     const std::string &name) {
    const auto header = find_header(image);
    if (!header) throw Error("no multiboot header");
    const auto line = payload.command_line.empty() ? name : name + " " + payload.command_line;
    put_command_line(memory, line, command_line_bytes);
    const auto kernel = load_kernel(memory, image, *header);
    Info info;
    info.flags = info_command_line | info_loader_name;
    info.command_line = static_cast<std::uint32_t>(command_line_gpa);
    info.loader_name = static_cast<std::uint32_t>(name_gpa);
    memory.put(name_gpa, loader_name);
    put_map(memory, info);
    put_modules(memory, payload, kernel.range, info);
    memory.put(info_gpa, info);

    Entry entry;
    enter_protected(entry, memory, tables_gpa);
    entry.rip = kernel.entry;
    entry.gpr[rax] = loader_magic;
    entry.gpr[rbx] = info_gpa;
    entry.gpr[rsp] = stack_gpa;
    return entry;
}

} // namespace boot
