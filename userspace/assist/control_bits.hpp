// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace assist {

// Bits of the control and flags registers that emulation looks at (SDM, "Control Registers";
// "EFLAGS Register").
inline constexpr std::uint64_t cr0_pe = 1 << 0;
inline constexpr std::uint64_t cr0_wp = 1 << 16;
inline constexpr std::uint64_t cr0_am = 1 << 18;
inline constexpr std::uint64_t cr0_pg = 1ULL << 31;
inline constexpr std::uint64_t cr4_pse = 1 << 4;
inline constexpr std::uint64_t cr4_pae = 1 << 5;
inline constexpr std::uint64_t cr4_la57 = 1 << 12;
inline constexpr std::uint64_t cr4_smep = 1 << 20;
inline constexpr std::uint64_t cr4_smap = 1 << 21;
inline constexpr std::uint64_t cr4_pke = 1 << 22;
inline constexpr std::uint64_t efer_lma = 1 << 10;
inline constexpr std::uint64_t efer_nxe = 1 << 11;

inline constexpr std::uint64_t flag_carry = 1 << 0;
inline constexpr std::uint64_t flag_parity = 1 << 2;
inline constexpr std::uint64_t flag_adjust = 1 << 4;
inline constexpr std::uint64_t flag_zero = 1 << 6;
inline constexpr std::uint64_t flag_sign = 1 << 7;
inline constexpr std::uint64_t flag_trap = 1 << 8;
inline constexpr std::uint64_t flag_direction = 1 << 10;
inline constexpr std::uint64_t flag_overflow = 1 << 11;
inline constexpr std::uint64_t flag_resume = 1 << 16;
inline constexpr std::uint64_t flag_virtual_8086 = 1 << 17;
inline constexpr std::uint64_t flag_alignment = 1 << 18;
inline constexpr std::uint64_t flags_arithmetic =
    flag_carry | flag_parity | flag_adjust | flag_zero | flag_sign | flag_overflow;

} // namespace assist
