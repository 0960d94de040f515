// SPDX-License-Identifier: GPL-2.0-only
#include "assist/alu.hpp"

#include <bit>

#include "assist/control_bits.hpp"

namespace assist::alu {
namespace {

constexpr std::uint64_t when(bool condition, std::uint64_t flag) { return condition ? flag : 0; }

std::uint64_t value_flags(std::uint64_t value, unsigned width) {
    const bool even = (std::popcount(value & 0xff) & 1) == 0;
    return when(even, flag_parity) | when(value == 0, flag_zero) |
           when((value & sign_bit(width)) != 0, flag_sign);
}

Result with_flags(std::uint64_t value, std::uint64_t old, std::uint64_t affected,
                  std::uint64_t now) {
    return {value, (old & ~affected) | (now & affected)};
}

// Rotates leave SF, ZF, AF and PF alone. OF is defined for counts of one; CPUs compute it alike for
// all.
Result rotated(std::uint64_t value, bool carry, bool overflow, std::uint64_t flags) {
    return with_flags(value, flags, flag_carry | flag_overflow,
                      when(carry, flag_carry) | when(overflow, flag_overflow));
}

Result rotate(bool left, std::uint64_t a, unsigned count, unsigned width, std::uint64_t flags) {
    const auto by = count % width;
    const auto up = left ? by : (width - by) % width;
    const auto value = up == 0 ? a : ((a << up) | (a >> (width - up))) & mask(width);
    const bool top = (value & sign_bit(width)) != 0;
    const bool carry = left ? (value & 1) != 0 : top;
    const bool second = (value >> (width - 2) & 1) != 0;
    return rotated(value, carry, left ? top != carry : top != second, flags);
}

Result rotate_through_carry(bool left, std::uint64_t a, unsigned count, unsigned width,
                            std::uint64_t flags) {
    auto value = a;
    bool carry = (flags & flag_carry) != 0;
    for (count %= width + 1; count != 0; --count) {
        const bool out = (value & (left ? sign_bit(width) : 1)) != 0;
        value = left ? (value << 1 | std::uint64_t{carry}) & mask(width)
                     : value >> 1 | when(carry, sign_bit(width));
        carry = out;
    }
    const bool top = (value & sign_bit(width)) != 0;
    const bool second = (value >> (width - 2) & 1) != 0;
    return rotated(value, carry, left ? top != carry : top != second, flags);
}

Result shift_left(std::uint64_t a, unsigned count, unsigned width, std::uint64_t flags) {
    const auto value = count < 64 ? (a << count) & mask(width) : 0;
    const bool carry = count <= width && (a >> (width - count) & 1) != 0;
    const bool top = (value & sign_bit(width)) != 0;
    return with_flags(value, flags, flags_arithmetic & ~flag_adjust,
                      value_flags(value, width) | when(carry, flag_carry) |
                          when(top != carry, flag_overflow));
}

Result shift_right(bool arithmetic, std::uint64_t a, unsigned count, unsigned width,
                   std::uint64_t flags) {
    const auto wide = arithmetic ? sign_extend(a, width) : a;
    const auto sar = [&](unsigned by) {
        return arithmetic ? static_cast<std::uint64_t>(static_cast<std::int64_t>(wide) >> by)
                          : wide >> by;
    };
    const auto value = sar(count) & mask(width);
    const bool carry = (sar(count - 1) & 1) != 0;
    const bool overflow = !arithmetic && (a & sign_bit(width)) != 0;
    return with_flags(value, flags, flags_arithmetic & ~flag_adjust,
                      value_flags(value, width) | when(carry, flag_carry) |
                          when(overflow, flag_overflow));
}

} // namespace

Result add(std::uint64_t a, std::uint64_t b, bool carry, unsigned width, std::uint64_t flags) {
    const auto value = (a + b + carry) & mask(width);
    const bool out = value < a || (carry && value == a);
    const bool overflow = ((a ^ value) & (b ^ value) & sign_bit(width)) != 0;
    return with_flags(value, flags, flags_arithmetic,
                      value_flags(value, width) | when(out, flag_carry) |
                          ((a ^ b ^ value) & flag_adjust) | when(overflow, flag_overflow));
}

Result subtract(std::uint64_t a, std::uint64_t b, bool borrow, unsigned width,
                std::uint64_t flags) {
    const auto value = (a - b - borrow) & mask(width);
    const bool out = a < b || (borrow && a == b);
    const bool overflow = ((a ^ b) & (a ^ value) & sign_bit(width)) != 0;
    return with_flags(value, flags, flags_arithmetic,
                      value_flags(value, width) | when(out, flag_carry) |
                          ((a ^ b ^ value) & flag_adjust) | when(overflow, flag_overflow));
}

Result logic(std::uint64_t value, unsigned width, std::uint64_t flags) {
    return with_flags(value, flags, flags_arithmetic, value_flags(value, width));
}

Result increment(std::uint64_t a, unsigned width, std::uint64_t flags) {
    const auto result = add(a, 1, false, width, flags);
    return with_flags(result.value, flags, flags_arithmetic & ~flag_carry, result.flags);
}

Result decrement(std::uint64_t a, unsigned width, std::uint64_t flags) {
    const auto result = subtract(a, 1, false, width, flags);
    return with_flags(result.value, flags, flags_arithmetic & ~flag_carry, result.flags);
}

Result negate(std::uint64_t a, unsigned width, std::uint64_t flags) {
    return subtract(0, a, false, width, flags);
}

Result multiply_signed(std::uint64_t a, std::uint64_t b, unsigned width, std::uint64_t flags) {
    __extension__ using Wide = __int128;
    const auto product = static_cast<Wide>(static_cast<std::int64_t>(sign_extend(a, width))) *
                         static_cast<std::int64_t>(sign_extend(b, width));
    const auto value = static_cast<std::uint64_t>(product) & mask(width);
    const bool lost = product != static_cast<std::int64_t>(sign_extend(value, width));
    return with_flags(value, flags, flag_carry | flag_overflow,
                      when(lost, flag_carry | flag_overflow));
}

Result shift(Shift kind, std::uint64_t a, unsigned count, unsigned width, std::uint64_t flags) {
    count &= width == 64 ? 63 : 31;
    if (count == 0) return {a, flags};
    switch (kind) {
    case Shift::rol:
    case Shift::ror: return rotate(kind == Shift::rol, a, count, width, flags);
    case Shift::rcl:
    case Shift::rcr: return rotate_through_carry(kind == Shift::rcl, a, count, width, flags);
    case Shift::shl:
    case Shift::sal: return shift_left(a, count, width, flags);
    case Shift::shr:
    case Shift::sar: break;
    }
    return shift_right(kind == Shift::sar, a, count, width, flags);
}

Result bit(BitOp op, std::uint64_t a, unsigned index, std::uint64_t flags) {
    const auto one = std::uint64_t{1} << index;
    auto value = a;
    switch (op) {
    case BitOp::test: break;
    case BitOp::set: value |= one; break;
    case BitOp::reset: value &= ~one; break;
    case BitOp::complement: value ^= one; break;
    }
    return with_flags(value, flags, flag_carry, when((a & one) != 0, flag_carry));
}

bool condition(unsigned code, std::uint64_t flags) {
    const auto is = [&](std::uint64_t flag) { return (flags & flag) != 0; };
    const bool less = is(flag_sign) != is(flag_overflow);
    bool result = false;
    switch (code >> 1 & 7) {
    case 0: result = is(flag_overflow); break;
    case 1: result = is(flag_carry); break;
    case 2: result = is(flag_zero); break;
    case 3: result = is(flag_carry) || is(flag_zero); break;
    case 4: result = is(flag_sign); break;
    case 5: result = is(flag_parity); break;
    case 6: result = less; break;
    case 7: result = less || is(flag_zero); break;
    }
    return result != ((code & 1) != 0);
}

} // namespace assist::alu
