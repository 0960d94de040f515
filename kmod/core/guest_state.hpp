// SPDX-License-Identifier: GPL-2.0-only
// guest_state.hpp - names and bits of architectural state that the core, cpu/ and both backends
// share.
#pragma once
#include <cstdint>
#include "hwv.h"

namespace hwv {

using Segment = hwv_segment;
using TableRegister = hwv_table;

namespace cr0 {
inline constexpr std::uint64_t pe = 1u << 0, mp = 1u << 1, em = 1u << 2, ts = 1u << 3, et = 1u << 4,
                               ne = 1u << 5, wp = 1u << 16, am = 1u << 18, nw = 1u << 29,
                               cd = 1u << 30, pg = 1u << 31;
inline constexpr std::uint64_t defined = pe | mp | em | ts | et | ne | wp | am | nw | cd | pg;
} // namespace cr0
namespace cr4 {
inline constexpr std::uint64_t vme = 1u << 0, pvi = 1u << 1, tsd = 1u << 2, de = 1u << 3,
                               pse = 1u << 4, pae = 1u << 5, mce = 1u << 6, pge = 1u << 7,
                               pce = 1u << 8, osfxsr = 1u << 9, osxmmexcpt = 1u << 10,
                               umip = 1u << 11, la57 = 1u << 12, vmxe = 1u << 13, smxe = 1u << 14,
                               fsgsbase = 1u << 16, pcide = 1u << 17, osxsave = 1u << 18,
                               smep = 1u << 20, smap = 1u << 21, pke = 1u << 22, cet = 1u << 23;
}
namespace efer {
inline constexpr std::uint64_t sce = 1u << 0, lme = 1u << 8, lma = 1u << 10, nxe = 1u << 11,
                               svme = 1u << 12, lmsle = 1u << 13, ffxsr = 1u << 14, tce = 1u << 15;
}
namespace rflags {
inline constexpr std::uint64_t fixed = 1u << 1, tf = 1u << 8, if_ = 1u << 9, rf = 1u << 16,
                               vm = 1u << 17, ac = 1u << 18;
}
namespace segment {
// bits of hwv_segment.attributes
inline constexpr std::uint16_t type = 0xf, s = 1u << 4, dpl_shift = 5, present = 1u << 7,
                               avl = 1u << 8, l = 1u << 9, db = 1u << 10, g = 1u << 11,
                               unusable = 1u << 12;
} // namespace segment

constexpr bool long_mode(std::uint64_t efer_value) { return efer_value & efer::lma; }

// canonical for 48-bit linear addresses
constexpr bool canonical(std::uint64_t address, unsigned bits = 48) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << (64 - bits)) >>
                                      (64 - bits)) == address;
}
static_assert(canonical(0x7fff'ffff'ffff) && !canonical(0x8000'0000'0000) && canonical(~0ull));

} // namespace hwv
