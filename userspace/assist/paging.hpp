// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "assist/fault.hpp"
#include "assist/memory.hpp"

namespace assist {

// What decides over a translation, besides the tables themselves.
struct PagingState {
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    std::uint32_t pkru = 0;
    bool user = false;           // CPL 3
    bool access_allowed = false; // RFLAGS.AC: lifts SMAP
    unsigned physical_bits = 52; // MAXPHYADDR: entry bits above it are reserved
};

// Walks the guest's page tables, for no paging, 32-bit, PAE, 4- and 5-level paging, and sets
// accessed and dirty bits as the CPU does. Returns the guest-physical address. Throws Fault (#PF
// with its error code) or, where a table is not in RAM, Unsupported. `linear` is canonical (long
// mode) or below 4 GiB.
std::uint64_t translate(PhysicalMemory &memory, const PagingState &state, std::uint64_t linear,
                        Access access);

// The same for a range of at most one page, which may touch two.
Place translate_range(PhysicalMemory &memory, const PagingState &state, std::uint64_t linear,
                      unsigned size, Access access);

} // namespace assist
