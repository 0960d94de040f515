// SPDX-License-Identifier: GPL-2.0-only
#include "boot/elf.hpp"

#include <algorithm>
#include <string_view>

#include "boot/load.hpp"

namespace boot {
namespace {

constexpr std::uint32_t elf_magic = 0x464c'457f;
constexpr std::uint64_t note_header = 12;

ElfSegment segment64(ByteView image, std::uint64_t at) {
    return {get<std::uint32_t>(image, at),      get<std::uint64_t>(image, at + 8),
            get<std::uint64_t>(image, at + 16), get<std::uint64_t>(image, at + 24),
            get<std::uint64_t>(image, at + 32), get<std::uint64_t>(image, at + 40)};
}

ElfSegment segment32(ByteView image, std::uint64_t at) {
    return {get<std::uint32_t>(image, at),      get<std::uint32_t>(image, at + 4),
            get<std::uint32_t>(image, at + 8),  get<std::uint32_t>(image, at + 12),
            get<std::uint32_t>(image, at + 16), get<std::uint32_t>(image, at + 20)};
}

ByteView segment_bytes(ByteView image, const ElfSegment &segment) {
    if (!within(segment.offset, segment.file_size, image.size()))
        throw Error("ELF is truncated: a segment ends at " +
                    std::to_string(segment.offset + segment.file_size) + ", the file at " +
                    std::to_string(image.size()));
    return image.subspan(segment.offset, segment.file_size);
}

std::optional<ByteView> find_in_notes(ByteView notes, std::string_view name, std::uint32_t type) {
    std::uint64_t at = 0;
    while (within(at, note_header, notes.size())) {
        const std::uint64_t name_size = get<std::uint32_t>(notes, at);
        const std::uint64_t size = get<std::uint32_t>(notes, at + 4);
        const auto name_at = at + note_header;
        const auto desc_at = name_at + align_up(name_size, 4);
        if (!within(name_at, name_size, notes.size()) || !within(desc_at, size, notes.size()))
            return std::nullopt;
        // The name's size includes its zero.
        const bool same = name_size == name.size() + 1 &&
                          std::memcmp(notes.data() + name_at, name.data(), name.size()) == 0;
        if (same && get<std::uint32_t>(notes, at + 8) == type) return notes.subspan(desc_at, size);
        at = desc_at + align_up(size, 4);
    }
    return std::nullopt;
}

} // namespace

std::optional<Elf> parse_elf(ByteView image) {
    if (image.size() < 20 || get<std::uint32_t>(image, 0) != elf_magic) return std::nullopt;
    const auto file_class = get<std::uint8_t>(image, 4);
    if (get<std::uint8_t>(image, 5) != 1 || file_class < 1 || file_class > 2) return std::nullopt;
    Elf elf;
    elf.is64 = file_class == 2;
    elf.machine = get<std::uint16_t>(image, 18);
    elf.entry = elf.is64 ? get<std::uint64_t>(image, 24) : get<std::uint32_t>(image, 24);
    const auto table = elf.is64 ? get<std::uint64_t>(image, 32) : get<std::uint32_t>(image, 28);
    const std::uint64_t entry_size = get<std::uint16_t>(image, elf.is64 ? 54 : 42);
    const auto count = get<std::uint16_t>(image, elf.is64 ? 56 : 44);
    const std::uint64_t least = elf.is64 ? 56 : 32;
    if (count != 0 && (entry_size < least || !within(table, entry_size * count, image.size())))
        throw Error("ELF is truncated: its program headers are not in the file");
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto at = table + i * entry_size;
        elf.segments.push_back(elf.is64 ? segment64(image, at) : segment32(image, at));
    }
    return elf;
}

std::optional<ByteView> find_note(ByteView image, const Elf &elf, const char *name,
                                  std::uint32_t type) {
    for (const auto &segment : elf.segments) {
        if (segment.type != elf_note) continue;
        if (auto found = find_in_notes(segment_bytes(image, segment), name, type)) return found;
    }
    return std::nullopt;
}

GpaRange load_segments(GuestMemory &memory, ByteView image, const Elf &elf) {
    std::uint64_t first = ~std::uint64_t{0};
    std::uint64_t last = 0;
    for (const auto &segment : elf.segments) {
        if (segment.type != elf_load || segment.memory_size == 0) continue;
        const auto bytes = segment_bytes(image, segment);
        if (segment.memory_size < bytes.size())
            throw Error("malformed ELF: a segment is larger in the file than in memory");
        const GpaRange range{segment.paddr, segment.memory_size};
        require_ram(memory, range, "kernel");
        memory.write(range.start, bytes);
        memory.zero(range.start + bytes.size(), range.size - bytes.size());
        first = std::min(first, range.start);
        last = std::max(last, range.end());
    }
    if (last == 0) throw Error("malformed ELF: nothing to load");
    return {first, last - first};
}

} // namespace boot
