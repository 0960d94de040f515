// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

// Integer arithmetic with the flags exactly as the CPU computes them (SDM, "EFLAGS
// Cross-Reference"). Operands have `width` bits (8, 16, 32, 64) and nothing above; so has the
// result. Flags that the manuals leave undefined stay as they were, except AF after logic, which
// all CPUs clear.
namespace assist::alu {

struct Result {
    std::uint64_t value = 0;
    std::uint64_t flags = 0; // the whole register: arithmetic flags new, all else as given
};

constexpr std::uint64_t mask(unsigned width) { return ~std::uint64_t{0} >> (64 - width); }
constexpr std::uint64_t sign_bit(unsigned width) { return std::uint64_t{1} << (width - 1); }
constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned width) {
    return (value ^ sign_bit(width)) - sign_bit(width);
}

Result add(std::uint64_t a, std::uint64_t b, bool carry, unsigned width, std::uint64_t flags);
Result subtract(std::uint64_t a, std::uint64_t b, bool borrow, unsigned width, std::uint64_t flags);
// AND, OR, XOR: the value is computed, this gives it its flags.
Result logic(std::uint64_t value, unsigned width, std::uint64_t flags);
Result increment(std::uint64_t a, unsigned width, std::uint64_t flags);
Result decrement(std::uint64_t a, unsigned width, std::uint64_t flags);
Result negate(std::uint64_t a, unsigned width, std::uint64_t flags);

// IMUL with two or three operands: the low half.
Result multiply_signed(std::uint64_t a, std::uint64_t b, unsigned width, std::uint64_t flags);

// The number is the reg field of opcodes C0, C1, D0-D3.
enum class Shift : std::uint8_t { rol, ror, rcl, rcr, shl, shr, sal, sar };
// `count` as in CL or the immediate; masked here.
Result shift(Shift kind, std::uint64_t a, unsigned count, unsigned width, std::uint64_t flags);

enum class BitOp : std::uint8_t { test, set, reset, complement };
Result bit(BitOp op, std::uint64_t a, unsigned index, std::uint64_t flags);

// A condition by its encoding (the low four bits of Jcc, SETcc, CMOVcc).
bool condition(unsigned code, std::uint64_t flags);

} // namespace assist::alu
