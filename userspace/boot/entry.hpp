// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "boot/guest_memory.hpp"

namespace boot {

// General registers in the order of their instruction encoding.
enum Gpr : std::uint8_t {
    rax,
    rcx,
    rdx,
    rbx,
    rsp,
    rbp,
    rsi,
    rdi,
    r8,
    r9,
    r10,
    r11,
    r12,
    r13,
    r14,
    r15,
    gpr_count
};

enum class Mode : std::uint8_t { real, protected32, long64 };

// A segment register with its hidden part, field by field as in a descriptor.
struct Segment {
    std::uint64_t base = 0;
    std::uint32_t limit = 0; // in bytes, inclusive: what the hidden part holds, whatever G says
    std::uint16_t selector = 0;
    std::uint8_t type = 0; // descriptor type, four bits
    std::uint8_t dpl = 0;
    bool code_or_data = false; // descriptor bit S
    bool present = false;
    bool available = false;
    bool long_mode = false; // L
    bool big = false;       // D/B
    bool granularity = false;

    // The layout of struct hwv_segment's attributes.
    constexpr std::uint16_t attributes() const {
        return static_cast<std::uint16_t>(type | code_or_data << 4 | dpl << 5 | present << 7 |
                                          available << 8 | long_mode << 9 | big << 10 |
                                          granularity << 11 | !present << 12);
    }
};

struct TableRegister {
    std::uint64_t base = 0;
    std::uint16_t limit = 0;
};

// The state in which the first vCPU starts, in no vendor's and no interface's terms.
struct Entry {
    Mode mode = Mode::real;
    std::uint64_t rip = 0;
    std::uint64_t rflags = 2; // interrupts off; bit 1 is always one
    std::array<std::uint64_t, gpr_count> gpr{};
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    Segment cs, ds, es, fs, gs, ss, tr, ldt;
    TableRegister gdt, idt;
};

// The flat segments that boot protocols ask for: a GDT with code at 0x10, data at 0x18, a TSS at
// 0x20.
inline constexpr std::uint16_t boot_cs = 0x10;
inline constexpr std::uint16_t boot_ds = 0x18;
inline constexpr std::uint16_t boot_tss = 0x20;

// What enter_long() and enter_protected() write into guest memory, from `tables` on.
inline constexpr std::uint64_t gdt_bytes = 0x1000;
inline constexpr std::uint64_t page_table_bytes =
    6 * 0x1000; // identity map of 4 GiB in 2 MiB pages
inline constexpr std::uint64_t boot_table_bytes = gdt_bytes + page_table_bytes;

// Each fills in mode, control registers, segments and table registers, and leaves rip and the
// general registers. `tables` is page-aligned and has boot_table_bytes of RAM (for protected mode
// gdt_bytes); else std::out_of_range.
void enter_long(Entry &entry, GuestMemory &memory, std::uint64_t tables);
void enter_protected(Entry &entry, GuestMemory &memory, std::uint64_t tables);
// Real mode: `address` below 1 MiB becomes CS:IP with CS a multiple of 0x1000.
void enter_real(Entry &entry, std::uint32_t address);

} // namespace boot
