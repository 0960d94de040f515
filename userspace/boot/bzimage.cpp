// SPDX-License-Identifier: GPL-2.0-only
#include "boot/bzimage.hpp"

#include <algorithm>

#include "boot/memory_map.hpp"

namespace boot {
namespace {

// Offsets in the image and, the same, in the zero page ("The Real-Mode Kernel Header").
constexpr std::uint64_t at_setup_sects = 0x1f1;
constexpr std::uint64_t at_syssize = 0x1f4;
constexpr std::uint64_t at_boot_flag = 0x1fe;
constexpr std::uint64_t at_header_length = 0x201;
constexpr std::uint64_t at_magic = 0x202;
constexpr std::uint64_t at_version = 0x206;
constexpr std::uint64_t at_type_of_loader = 0x210;
constexpr std::uint64_t at_loadflags = 0x211;
constexpr std::uint64_t at_code32_start = 0x214;
constexpr std::uint64_t at_ramdisk_image = 0x218;
constexpr std::uint64_t at_ramdisk_size = 0x21c;
constexpr std::uint64_t at_cmd_line_ptr = 0x228;
constexpr std::uint64_t at_initrd_addr_max = 0x22c;
constexpr std::uint64_t at_kernel_alignment = 0x230;
constexpr std::uint64_t at_relocatable = 0x234;
constexpr std::uint64_t at_xloadflags = 0x236;
constexpr std::uint64_t at_cmdline_size = 0x238;
constexpr std::uint64_t at_pref_address = 0x258;
constexpr std::uint64_t at_init_size = 0x260;

// In the zero page alone ("The Zero Page").
constexpr std::uint64_t at_acpi_rsdp_addr = 0x070;
constexpr std::uint64_t at_e820_entries = 0x1e8;
constexpr std::uint64_t at_e820_table = 0x2d0;
constexpr std::uint64_t e820_entry_bytes = 20;
constexpr std::uint64_t e820_max = 128;
constexpr std::uint64_t zero_page_bytes = 0x1000;

constexpr std::uint32_t magic_hdrs = 0x5372'6448; // "HdrS"
constexpr std::uint8_t loaded_high = 1 << 0;
constexpr std::uint16_t xlf_kernel_64 = 1 << 0;
constexpr std::uint64_t entry64_offset = 0x200;
constexpr std::uint8_t loader_undefined = 0xff;

struct Header {
    std::uint16_t version;
    std::uint64_t setup_bytes; // boot sector and setup code, in front of the kernel proper
    std::uint64_t header_end;
    std::uint32_t cmdline_size;
    std::uint64_t initrd_limit; // first address past what the kernel can reach
    std::uint64_t load_address;
    std::uint64_t init_size;
    bool entry64;
};

std::uint64_t preferred_address(ByteView image, std::uint16_t version) {
    return version >= 0x20a ? get<std::uint64_t>(image, at_pref_address)
                            : get<std::uint32_t>(image, at_code32_start);
}

// pref_address is where the kernel was linked to run; a relocatable one may be moved, but no lower
// than 1 MiB.
std::uint64_t choose_address(ByteView image, std::uint16_t version, const GuestMemory &memory,
                             std::uint64_t size) {
    const auto preferred = preferred_address(image, version);
    const bool relocatable = get<std::uint8_t>(image, at_relocatable) != 0;
    if (!relocatable || memory.is_ram(preferred, size)) return preferred;
    const auto alignment = get<std::uint32_t>(image, at_kernel_alignment);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        throw Error("bad bzImage header: kernel_alignment is " + hex(alignment));
    const auto lowest = align_up(high_memory, alignment);
    return lowest < preferred && memory.is_ram(lowest, size) ? lowest : preferred;
}

Header parse(ByteView image, const GuestMemory &memory) {
    Header header{};
    header.version = get<std::uint16_t>(image, at_version);
    const auto version =
        std::to_string(header.version >> 8) + "." + std::to_string(header.version & 0xff);
    if (header.version < 0x206)
        throw Error("bzImage of boot protocol " + version + ", 2.6 or later is needed");
    if ((get<std::uint8_t>(image, at_loadflags) & loaded_high) == 0)
        throw Error("zImage that loads below 1 MiB: a bzImage is needed");
    const auto sectors = get<std::uint8_t>(image, at_setup_sects);
    header.setup_bytes = (std::uint64_t{sectors == 0 ? 4U : sectors} + 1) * 512;
    const auto kernel_bytes = std::uint64_t{get<std::uint32_t>(image, at_syssize)} * 16;
    const auto total = header.setup_bytes + kernel_bytes;
    // syssize counts up to 15 bytes of padding that not every tool keeps.
    if (image.size() <= header.setup_bytes || image.size() + 15 < total)
        throw Error("bzImage is truncated: " + std::to_string(image.size()) + " of " +
                    std::to_string(total) + " bytes");
    header.header_end = at_magic + get<std::uint8_t>(image, at_header_length);
    header.cmdline_size = get<std::uint32_t>(image, at_cmdline_size);
    header.initrd_limit = std::uint64_t{get<std::uint32_t>(image, at_initrd_addr_max)} + 1;
    const auto size_in_file = image.size() - header.setup_bytes;
    header.init_size = size_in_file;
    if (header.version >= 0x20a)
        header.init_size =
            std::max<std::uint64_t>(size_in_file, get<std::uint32_t>(image, at_init_size));
    header.load_address = choose_address(image, header.version, memory, header.init_size);
    header.entry64 =
        header.version >= 0x20c && (get<std::uint16_t>(image, at_xloadflags) & xlf_kernel_64) != 0;
    return header;
}

void put_e820(std::span<std::byte> zero_page, const GuestMemory &memory) {
    const auto map = memory_map(memory);
    if (map.size() > e820_max) throw Error("memory map has more than 128 entries");
    put(zero_page, at_e820_entries, static_cast<std::uint8_t>(map.size()));
    auto at = at_e820_table;
    for (const auto &entry : map) {
        put(zero_page, at, entry.start);
        put(zero_page, at + 8, entry.size);
        put(zero_page, at + 16, entry.type);
        at += e820_entry_bytes;
    }
}

// Addresses that fit 32 bits need no ext_* field; place_high() keeps below 4 GiB.
void put_initrd(std::span<std::byte> zero_page, GuestMemory &memory, const Header &header,
                const Payload &payload) {
    if (payload.modules.empty()) return;
    if (payload.modules.size() > 1)
        throw Error("a bzImage takes one initrd and no further modules");
    const auto &initrd = payload.modules.front().bytes;
    if (initrd.empty()) throw Error("initrd is empty");
    const auto at = place_high(memory, initrd.size(), header.initrd_limit,
                               {header.load_address, header.init_size}, "initrd");
    memory.write(at, initrd);
    put(zero_page, at_ramdisk_image, static_cast<std::uint32_t>(at));
    put(zero_page, at_ramdisk_size, static_cast<std::uint32_t>(initrd.size()));
}

Bytes make_zero_page(ByteView image, GuestMemory &memory, const Header &header,
                     const Payload &payload) {
    Bytes page(zero_page_bytes);
    const auto end = std::min<std::uint64_t>({header.header_end, at_e820_table, image.size()});
    std::copy_n(image.begin() + at_setup_sects, end - at_setup_sects,
                page.begin() + at_setup_sects);
    put(page, at_type_of_loader, loader_undefined);
    put(page, at_ramdisk_image, std::uint32_t{0});
    put(page, at_ramdisk_size, std::uint32_t{0});
    put(page, at_code32_start, static_cast<std::uint32_t>(header.load_address));
    put(page, at_cmd_line_ptr, static_cast<std::uint32_t>(command_line_gpa));
    put(page, at_acpi_rsdp_addr, payload.acpi_rsdp);
    if (payload.screen) put_screen_info(page, *payload.screen);
    put_e820(page, memory);
    put_initrd(page, memory, header, payload);
    return page;
}

} // namespace

bool is_bzimage(ByteView image) {
    return image.size() >= at_version + 2 && get<std::uint16_t>(image, at_boot_flag) == 0xaa55 &&
           get<std::uint32_t>(image, at_magic) == magic_hdrs;
}

Entry load_bzimage(GuestMemory &memory, ByteView image, const Payload &payload) {
    if (!is_bzimage(image)) throw Error("no bzImage: its boot sector has no HdrS");
    const auto header = parse(image, memory);
    require_ram(memory, {header.load_address, header.init_size}, "kernel");
    put_command_line(memory, payload.command_line, header.cmdline_size);
    memory.write(header.load_address, image.subspan(header.setup_bytes));
    memory.write(info_gpa, make_zero_page(image, memory, header, payload));

    Entry entry;
    if (header.entry64)
        enter_long(entry, memory, tables_gpa);
    else
        enter_protected(entry, memory, tables_gpa);
    entry.rip = header.load_address + (header.entry64 ? entry64_offset : 0);
    entry.gpr[rsi] = info_gpa;
    entry.gpr[rsp] = stack_gpa; // neither entry asks for one; a valid one costs nothing
    return entry;
}

} // namespace boot
