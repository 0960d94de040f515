// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace assist {

// Exceptions that emulation can raise in the guest or looks at.
enum Vector : std::uint8_t {
    vector_divide = 0,
    vector_debug = 1,
    vector_undefined = 6,
    vector_double_fault = 8,
    vector_invalid_tss = 10,
    vector_not_present = 11,
    vector_stack = 12,
    vector_protection = 13,
    vector_page_fault = 14,
    vector_alignment = 17,
};

// Thrown inside the emulator, turned into an event for the guest at its door.
struct Fault {
    std::uint8_t vector = 0;
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    std::uint64_t address = 0; // #PF: for CR2
};

// Thrown where emulation cannot go on though the guest did nothing wrong. `what` is a literal.
struct Unsupported {
    const char *what = "";
};

// Bits of a page fault's error code (SDM and APM, "Page-Fault Exception (#PF)").
inline constexpr std::uint32_t pf_present = 1 << 0;
inline constexpr std::uint32_t pf_write = 1 << 1;
inline constexpr std::uint32_t pf_user = 1 << 2;
inline constexpr std::uint32_t pf_reserved = 1 << 3;
inline constexpr std::uint32_t pf_fetch = 1 << 4;
inline constexpr std::uint32_t pf_protection_key = 1 << 5;

} // namespace assist
