// SPDX-License-Identifier: GPL-2.0-only
#include "boot/entry.hpp"

namespace boot {
namespace {

constexpr std::uint64_t cr0_pe = 1 << 0;
constexpr std::uint64_t cr0_et = 1 << 4;
constexpr std::uint64_t cr0_pg = 1U << 31;
constexpr std::uint64_t cr4_pae = 1 << 5;
constexpr std::uint64_t efer_lme = 1 << 8;
constexpr std::uint64_t efer_lma = 1 << 10;

constexpr std::uint64_t pte_present_write = 3;
constexpr std::uint64_t pte_large = 1 << 7;
constexpr std::uint64_t page = 0x1000;

constexpr std::uint8_t type_data = 3;  // read, write, accessed
constexpr std::uint8_t type_code = 11; // execute, read, accessed
constexpr std::uint8_t type_ldt = 2;
constexpr std::uint8_t type_tss_busy =
    11; // 32- and 64-bit; a CPU in protected mode has one at all times
constexpr std::uint8_t type_tss16_busy = 3;
constexpr std::uint32_t tss_limit = 0x67;

constexpr Segment flat_segment(std::uint16_t selector, std::uint8_t type, bool long_mode) {
    return {.limit = 0xffff'ffff,
            .selector = selector,
            .type = type,
            .code_or_data = true,
            .present = true,
            .long_mode = long_mode,
            .big = !long_mode,
            .granularity = true};
}

constexpr std::uint64_t descriptor(const Segment &segment) {
    const std::uint64_t limit = segment.granularity ? segment.limit >> 12 : segment.limit;
    const std::uint64_t access = segment.attributes() & 0xff;
    const std::uint64_t flags = segment.attributes() >> 8 & 0xf;
    return (limit & 0xffff) | (segment.base & 0xff'ffff) << 16 | access << 40 |
           (limit >> 16 & 0xf) << 48 | flags << 52 | (segment.base >> 24 & 0xff) << 56;
}
static_assert(descriptor(flat_segment(boot_cs, type_code, false)) == 0x00cf'9b00'0000'ffff);
static_assert(descriptor(flat_segment(boot_cs, type_code, true)) == 0x00af'9b00'0000'ffff);

void flat_state(Entry &entry, GuestMemory &memory, std::uint64_t tables, bool long_mode) {
    entry.cs = flat_segment(boot_cs, type_code, long_mode);
    const auto data = flat_segment(boot_ds, type_data, false);
    entry.ds = entry.es = entry.fs = entry.gs = entry.ss = data;
    entry.tr = {.limit = tss_limit, .selector = boot_tss, .type = type_tss_busy, .present = true};
    entry.ldt = {.limit = 0xffff, .type = type_ldt, .present = false};
    // The 64-bit TSS descriptor takes two entries, hence the trailing zero.
    const std::array<std::uint64_t, 6> gdt{
        0, 0, descriptor(entry.cs), descriptor(data), descriptor(entry.tr), 0};
    memory.zero(tables, gdt_bytes);
    memory.put(tables, gdt);
    entry.gdt = {tables, sizeof gdt - 1};
    entry.idt = {0, 0}; // an exception before the guest has its own IDT is a triple fault: honest
}

} // namespace

void enter_long(Entry &entry, GuestMemory &memory, std::uint64_t tables) {
    entry.mode = Mode::long64;
    flat_state(entry, memory, tables, true);
    const auto pml4 = tables + gdt_bytes;
    const auto pdpt = pml4 + page;
    memory.zero(pml4, page_table_bytes);
    memory.put(pml4, pdpt | pte_present_write);
    for (std::uint64_t gib = 0; gib < 4; ++gib) {
        const auto directory = pdpt + page * (gib + 1);
        memory.put(pdpt + gib * 8, directory | pte_present_write);
        for (std::uint64_t i = 0; i < 512; ++i)
            memory.put(directory + i * 8, (gib << 30 | i << 21) | pte_large | pte_present_write);
    }
    entry.cr0 = cr0_pe | cr0_et | cr0_pg;
    entry.cr3 = pml4;
    entry.cr4 = cr4_pae;
    entry.efer = efer_lme | efer_lma;
}

void enter_protected(Entry &entry, GuestMemory &memory, std::uint64_t tables) {
    entry.mode = Mode::protected32;
    flat_state(entry, memory, tables, false);
    entry.cr0 = cr0_pe | cr0_et;
    entry.cr3 = entry.cr4 = entry.efer = 0;
}

void enter_real(Entry &entry, std::uint32_t address) {
    entry.mode = Mode::real;
    entry.cr0 = cr0_et;
    entry.cr3 = entry.cr4 = entry.efer = 0;
    const Segment data{.limit = 0xffff, .type = type_data, .code_or_data = true, .present = true};
    entry.ds = entry.es = entry.fs = entry.gs = entry.ss = data;
    entry.cs = data;
    entry.cs.type = type_code;
    entry.cs.base = address & 0xf'0000;
    entry.cs.selector = static_cast<std::uint16_t>(entry.cs.base >> 4);
    entry.rip = address & 0xffff;
    entry.tr = {.limit = 0xffff, .type = type_tss16_busy, .present = true};
    entry.ldt = {.limit = 0xffff, .type = type_ldt, .present = true};
    entry.gdt = {0, 0xffff};
    entry.idt = {0, 0x3ff};
}

} // namespace boot
