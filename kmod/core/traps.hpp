// SPDX-License-Identifier: GPL-2.0-only
// traps.hpp - which exits exist beyond those that every guest has: a value, neutral. Always there
// are CPUID, HLT, port I/O, hypercalls, XSETBV, RDPMC, INVD, WBINVD, MONITOR, MWAIT, the host's
// interrupts and NMIs, #DB and #AC, and all MSRs but a dozen.
#pragma once
#include <cstdint>
#include "core/exit.hpp"

namespace hwv {

namespace trap {
inline constexpr std::uint32_t rdtsc = 1u << 0, // and RDTSCP
    invlpg = 1u << 1,                           // on Intel INVPCID as well
    pause = 1u << 2,                            // each, not only those of a loop
    load_tables = 1u << 3,                      // LGDT LIDT LLDT LTR; on Intel never without ...
    store_tables = 1u << 4,                     // SGDT SIDT SLDT STR
    tables = load_tables | store_tables, all = (1u << 5) - 1;
// CR0, CR3, CR4, CR8. Intel has no exits for reads of CR0 and CR4, and writes to them exit where
// they change something.
inline constexpr std::uint16_t control_registers = 1u << 0 | 1u << 3 | 1u << 4 | 1u << 8;
inline constexpr std::uint8_t debug_registers =
    0xff; // one is as good as all: see on_debug_register()
// Not NMI and #MC, which are the host's, nor vectors that no exception has.
inline constexpr std::uint32_t exceptions = 0x002b'7dfb;
static_assert(!(exceptions & (1u << vector::nmi | 1u << vector::machine_check)));
} // namespace trap

struct MsrRange {
    std::uint32_t first, last;
    bool read, write;
};

struct Traps {
    static constexpr unsigned max_msr_ranges = 32;

    std::uint32_t instructions = 0;            // trap::*
    std::uint32_t exceptions = 0;              // by vector
    std::uint16_t cr_reads = 0, cr_writes = 0; // by number
    std::uint8_t dr_reads = 0, dr_writes = 0;  // by number
    std::uint8_t msr_ranges = 0;               // how many of:
    MsrRange msrs[max_msr_ranges] = {};

    constexpr bool has(std::uint32_t instruction) const { return instructions & instruction; }
    constexpr bool debug_registers() const { return dr_reads | dr_writes; }
    constexpr bool reads_cr(unsigned n) const { return cr_reads >> n & 1; }
    constexpr bool writes_cr(unsigned n) const { return cr_writes >> n & 1; }
    constexpr bool reads_msr(std::uint32_t index) const { return msr(index, false); }
    constexpr bool writes_msr(std::uint32_t index) const { return msr(index, true); }

    // More ranges than there is room for become one that has them all.
    constexpr void add(const MsrRange &range) {
        if (msr_ranges < max_msr_ranges)
            msrs[msr_ranges++] = range;
        else
            msrs[0] = {0, ~0u, true, true};
    }
    constexpr void add(const Traps &other) {
        instructions |= other.instructions;
        exceptions |= other.exceptions;
        cr_reads |= other.cr_reads;
        cr_writes |= other.cr_writes;
        dr_reads |= other.dr_reads;
        dr_writes |= other.dr_writes;
        for (unsigned i = 0; i < other.msr_ranges; ++i)
            add(other.msrs[i]);
    }
    // What is left of it on a CPU that has no more than `can`.
    constexpr void limit(const Traps &can) {
        instructions &= can.instructions;
        exceptions &= can.exceptions;
        cr_reads &= can.cr_reads;
        cr_writes &= can.cr_writes;
        dr_reads &= can.dr_reads;
        dr_writes &= can.dr_writes;
    }

  private:
    constexpr bool msr(std::uint32_t index, bool write) const {
        for (unsigned i = 0; i < msr_ranges; ++i) {
            const MsrRange &r = msrs[i];
            if (index >= r.first && index <= r.last && (write ? r.write : r.read)) return true;
        }
        return false;
    }
};

// All that any CPU can; MSRs are for the taker.
inline constexpr Traps every_trap{.instructions = trap::all,
                                  .exceptions = trap::exceptions,
                                  .cr_reads = trap::control_registers,
                                  .cr_writes = trap::control_registers,
                                  .dr_reads = trap::debug_registers,
                                  .dr_writes = trap::debug_registers};

} // namespace hwv
