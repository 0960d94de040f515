// SPDX-License-Identifier: GPL-2.0-only
// mode.hpp - the processor modes that cases run in, and the guest's memory in each: all within the
// first 64 KiB, so that one set of addresses serves 16-bit code too.
#pragma once
#include <cstdint>
#include <string>
#include "oracle/test_vm.hpp"

namespace conformance {

enum class Mode : std::uint8_t {
    real,
    v86,
    prot16,
    prot32,
    user32,
    pae,
    user_pae,
    compat,
    long64,
    user64,
    count
};
inline constexpr unsigned mode_count = static_cast<unsigned>(Mode::count);

const char *name(Mode mode);

// Sets of modes.
using Modes = std::uint32_t;
constexpr Modes only(Mode m) { return 1u << static_cast<unsigned>(m); }
inline constexpr Modes all_modes = (1u << mode_count) - 1;
inline constexpr Modes user_modes =
    only(Mode::v86) | only(Mode::user32) | only(Mode::user_pae) | only(Mode::user64);
inline constexpr Modes kernel_modes = all_modes & ~user_modes;
inline constexpr Modes modes64 = only(Mode::long64) | only(Mode::user64);
inline constexpr Modes long_modes = modes64 | only(Mode::compat); // EFER.LMA
inline constexpr Modes modes16 = only(Mode::real) | only(Mode::v86) | only(Mode::prot16);
inline constexpr Modes paged_modes = long_modes | only(Mode::pae) | only(Mode::user_pae);

constexpr bool in(Modes set, Mode m) { return set & only(m); }
constexpr unsigned bits(Mode m) { return in(modes16, m) ? 16 : in(modes64, m) ? 64 : 32; }

// Guest memory. GDT and page tables: test_vm.hpp.
inline constexpr std::uint64_t at_gdt = 0x1000, at_idt = 0x8000, at_tss = 0x9000, at_data = 0xb800,
                               at_kernel_stack = 0xcff0, at_handlers = 0xd000, at_code = 0xe000,
                               at_stack = 0xff00, used_memory = 0x10000;
inline constexpr unsigned handler_size = 16;
// Selectors.
inline constexpr std::uint16_t sel_code = 0x10, sel_data = 0x18, sel_tss = 0x20, sel_code16 = 0x30,
                               sel_code32 = 0x38, sel_user_code = 0x43, sel_user_data = 0x4b,
                               sel_user_code64 = 0x53, sel_absent = 0x58;

// A machine at at_code in that mode: interrupts off, a handler for each vector, flat segments, an
// I/O bitmap that allows all.
hwv_regs prepare(std::span<std::uint8_t> memory, Mode mode);

// The handler's code for one vector, instead of the one that only stops.
void put_handler(std::span<std::uint8_t> memory, unsigned vector,
                 std::span<const std::uint8_t> code);

std::uint64_t load(std::span<const std::uint8_t> memory, std::uint64_t at, unsigned bytes);
void store(std::span<std::uint8_t> memory, std::uint64_t at, std::uint64_t value, unsigned bytes);

} // namespace conformance
