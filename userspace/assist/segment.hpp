// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "hwv_run.h"

namespace assist {

// Bits of hwv_segment.attributes, which are those of a descriptor.
inline constexpr unsigned attr_type = 0xf;
inline constexpr unsigned attr_accessed = 1;    // code and data
inline constexpr unsigned attr_writable = 2;    // data; for code: readable
inline constexpr unsigned attr_expand_down = 4; // data; for code: conforming
inline constexpr unsigned attr_code = 8;
inline constexpr unsigned attr_no_system = 1 << 4;
inline constexpr unsigned attr_dpl_shift = 5;
inline constexpr unsigned attr_present = 1 << 7;
inline constexpr unsigned attr_long = 1 << 9;
inline constexpr unsigned attr_big = 1 << 10;
inline constexpr unsigned attr_granular = 1 << 11;
inline constexpr unsigned attr_unusable = 1 << 12;

// Of system segments: a TSS of 32 bits has bit 3, a busy one bit 1.
inline constexpr unsigned type_ldt = 2, type_tss16 = 1, type_busy = 2, type_tss32 = 9;

// An entry of the GDT or an LDT (SDM vol. 3, "Segment Descriptors").
struct Descriptor {
    std::uint64_t address = 0; // linear
    std::uint64_t value = 0;

    unsigned attributes() const {
        return static_cast<unsigned>((value >> 40 & 0xff) | (value >> 52 & 0xf) << 8);
    }
    unsigned type() const { return attributes() & attr_type; }
    unsigned dpl() const { return attributes() >> attr_dpl_shift & 3; }
    bool has(unsigned bits) const { return (attributes() & bits) == bits; }
    std::uint64_t base() const { return (value >> 16 & 0xff'ffff) | (value >> 56 & 0xff) << 24; }
    std::uint32_t limit() const {
        const auto units = static_cast<std::uint32_t>((value & 0xffff) | (value >> 48 & 0xf) << 16);
        return has(attr_granular) ? units << 12 | 0xfff : units;
    }
    hwv_segment segment(std::uint16_t selector) const {
        return {base(), limit(), selector, static_cast<__u16>(attributes())};
    }
};

// Selectors.
inline constexpr unsigned selector_rpl = 3, selector_local = 4;
constexpr bool is_null(unsigned selector) { return (selector & ~selector_rpl) == 0; }
constexpr unsigned table_offset(unsigned selector) { return selector & ~7U; }

} // namespace assist
