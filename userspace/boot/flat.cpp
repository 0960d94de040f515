// SPDX-License-Identifier: GPL-2.0-only
#include <charconv>

#include "boot/load.hpp"
#include "boot/memory_map.hpp"

namespace boot {
namespace {

constexpr std::uint64_t stack_room = 0x1000;

// Conventional places unless the image is there itself, or the guest is too small to have them.
std::uint64_t pick_tables(const GuestMemory &memory, const GpaRange &image) {
    const GpaRange usual{tables_gpa, boot_table_bytes};
    if (!usual.overlaps(image) && memory.is_ram(usual.start, usual.size)) return usual.start;
    const auto after = align_up(image.end(), 0x1000);
    if (memory.is_ram(after, boot_table_bytes)) return after;
    throw Error("flat image at " + hex(image.start) + " leaves no room for page tables and GDT (" +
                std::to_string(boot_table_bytes / 1024) + " KiB)");
}

std::uint64_t pick_stack(const GuestMemory &memory, const GpaRange &image) {
    const GpaRange usual{stack_gpa - stack_room, stack_room};
    if (!usual.overlaps(image) && memory.is_ram(usual.start, usual.size)) return stack_gpa;
    return align_down(image.start, 16); // below the image, growing away from it
}

} // namespace

FlatOptions parse_flat(const std::string &text) {
    const auto comma = text.find(',');
    auto digits = text.substr(0, comma);
    const int base = digits.starts_with("0x") || digits.starts_with("0X") ? 16 : 10;
    if (base == 16) digits.erase(0, 2);
    FlatOptions options;
    const auto *end = digits.data() + digits.size();
    const auto [stop, failure] = std::from_chars(digits.data(), end, options.address, base);
    if (failure != std::errc{} || stop != end)
        throw Error("--flat " + text + ": wants ADDR[,real|prot|long]");
    const auto mode = comma == std::string::npos ? "real" : text.substr(comma + 1);
    if (mode == "prot")
        options.mode = Mode::protected32;
    else if (mode == "long")
        options.mode = Mode::long64;
    else if (mode != "real")
        throw Error("--flat " + text + ": wants ADDR[,real|prot|long]");
    return options;
}

Entry load_flat(GuestMemory &memory, ByteView image, const FlatOptions &options) {
    const GpaRange range{options.address, image.size()};
    if (image.empty()) throw Error("flat image is empty");
    if (options.mode == Mode::real && options.address >= high_memory)
        throw Error("flat image at " + hex(options.address) + ": real mode starts below 1 MiB");
    if (options.mode != Mode::real && options.address >= four_gib)
        throw Error("flat image at " + hex(options.address) + ": must start below 4 GiB");
    if (range.end() < range.start || !memory.is_ram(range.start, range.size))
        throw Error("flat image needs " + mib(range.size) + " at " + hex(range.start) +
                    ", guest has " + mib(memory.size()));
    memory.write(range.start, image);
    Entry entry;
    const auto stack = pick_stack(memory, range);
    if (options.mode == Mode::real) {
        enter_real(entry, static_cast<std::uint32_t>(options.address));
        entry.ss.base = stack & 0xf'0000;
        entry.ss.selector = static_cast<std::uint16_t>(entry.ss.base >> 4);
        entry.gpr[rsp] = stack & 0xffff;
        return entry;
    }
    const auto tables = pick_tables(memory, range);
    if (options.mode == Mode::long64)
        enter_long(entry, memory, tables);
    else
        enter_protected(entry, memory, tables);
    entry.rip = options.address;
    entry.gpr[rsp] = stack;
    return entry;
}

} // namespace boot
