// SPDX-License-Identifier: GPL-2.0-only
// Instructions that compute: they read, combine, write and set flags.
#include <array>
#include <bit>
#include <cstring>

#include "assist/alu.hpp"
#include "assist/execution.hpp"

namespace assist {
namespace {

// Immediates come sign-extended to 64 bits.
std::uint64_t source(Execution &e) { return e.read(1) & alu::mask(e.width(0)); }

void finish(Execution &e, const alu::Result &result) {
    e.write(0, result.value);
    e.cpu.set_flags(result.flags);
}

void add(Execution &e) {
    finish(e, alu::add(e.read(0), source(e), false, e.width(0), e.cpu.flags()));
}

void add_carry(Execution &e) {
    finish(e, alu::add(e.read(0), source(e), e.cpu.flag(flag_carry), e.width(0), e.cpu.flags()));
}

alu::Result difference(Execution &e) {
    return alu::subtract(e.read(0), source(e), false, e.width(0), e.cpu.flags());
}

void subtract(Execution &e) { finish(e, difference(e)); }

void compare(Execution &e) { e.cpu.set_flags(difference(e).flags); }

void subtract_borrow(Execution &e) {
    finish(e,
           alu::subtract(e.read(0), source(e), e.cpu.flag(flag_carry), e.width(0), e.cpu.flags()));
}

void bit_and(Execution &e) {
    finish(e, alu::logic(e.read(0) & source(e), e.width(0), e.cpu.flags()));
}

void bit_or(Execution &e) {
    finish(e, alu::logic(e.read(0) | source(e), e.width(0), e.cpu.flags()));
}

void bit_xor(Execution &e) {
    finish(e, alu::logic(e.read(0) ^ source(e), e.width(0), e.cpu.flags()));
}

void test(Execution &e) {
    e.cpu.set_flags(alu::logic(e.read(0) & source(e), e.width(0), e.cpu.flags()).flags);
}

void increment(Execution &e) { finish(e, alu::increment(e.read(0), e.width(0), e.cpu.flags())); }

void decrement(Execution &e) { finish(e, alu::decrement(e.read(0), e.width(0), e.cpu.flags())); }

void negate(Execution &e) { finish(e, alu::negate(e.read(0), e.width(0), e.cpu.flags())); }

void complement(Execution &e) { e.write(0, ~e.read(0) & alu::mask(e.width(0))); }

// One operand: the full product in rDX:rAX, or AX. CF and OF say whether the upper half is needed.
void multiply_wide(Execution &e, bool is_signed) {
    __extension__ using Wide = unsigned __int128;
    const auto width = e.width(0);
    const auto extend = [&](std::uint64_t value) {
        __extension__ using SignedWide = __int128;
        return is_signed ? static_cast<Wide>(static_cast<SignedWide>(
                               static_cast<std::int64_t>(alu::sign_extend(value, width))))
                         : Wide{value};
    };
    const auto product = extend(e.read(0)) * extend(e.cpu.gpr(HWV_RAX, width));
    const auto low = static_cast<std::uint64_t>(product) & alu::mask(width);
    const auto high = static_cast<std::uint64_t>(product >> width) & alu::mask(width);
    if (width == 8) {
        e.cpu.set_gpr(HWV_RAX, 16, high << 8 | low);
    } else {
        e.cpu.set_gpr(HWV_RAX, width, low);
        e.cpu.set_gpr(HWV_RDX, width, high);
    }
    const bool negative = is_signed && (low & alu::sign_bit(width)) != 0;
    const bool lost = high != (negative ? alu::mask(width) : 0);
    constexpr auto both = flag_carry | flag_overflow;
    e.cpu.set_flags((e.cpu.flags() & ~both) | (lost ? both : 0));
}

void multiply_unsigned(Execution &e) { multiply_wide(e, false); }

void multiply(Execution &e) {
    if (e.in.info.operand_count_visible == 1) return multiply_wide(e, true);
    const bool three = e.in.info.operand_count_visible == 3;
    const auto a = e.read(three ? 1 : 0) & alu::mask(e.width(0));
    const auto b = e.read(three ? 2 : 1) & alu::mask(e.width(0));
    finish(e, alu::multiply_signed(a, b, e.width(0), e.cpu.flags()));
}

template <alu::Shift kind>
void shift(Execution &e) {
    const auto count = static_cast<unsigned>(e.read(1) & 0xff);
    finish(e, alu::shift(kind, e.read(0), count, e.width(0), e.cpu.flags()));
}

// A register as bit offset is signed and reaches beyond the operand (SDM, "Bit(BitBase,
// BitOffset)").
template <alu::BitOp op>
void bit(Execution &e) {
    const auto width = e.width(0);
    const auto offset = e.read(1);
    const bool far = e.is_memory(0) && e.operand(1).type == ZYDIS_OPERAND_TYPE_REGISTER;
    if (far) {
        const auto elements =
            static_cast<std::int64_t>(alu::sign_extend(offset, width)) >> std::countr_zero(width);
        e.place(0, static_cast<std::uint64_t>(elements) * (width / 8));
    }
    const auto result =
        alu::bit(op, e.read(0), static_cast<unsigned>(offset & (width - 1)), e.cpu.flags());
    if (op != alu::BitOp::test) e.write(0, result.value);
    e.cpu.set_flags(result.flags);
}

void exchange_add(Execution &e) {
    const auto old = e.read(0);
    const auto result = alu::add(old, e.read(1), false, e.width(0), e.cpu.flags());
    e.write(1, old);
    finish(e, result);
}

// The destination is written in either case (SDM, "CMPXCHG": on inequality with its own value).
void compare_exchange(Execution &e) {
    const auto width = e.width(0);
    const auto old = e.read(0);
    const auto result = alu::subtract(e.cpu.gpr(HWV_RAX, width), old, false, width, e.cpu.flags());
    const bool equal = (result.flags & flag_zero) != 0;
    const auto replacement = e.read(1);
    e.write(0, equal ? replacement : old);
    if (!equal) e.cpu.set_gpr(HWV_RAX, width, old);
    e.cpu.set_flags(result.flags);
}

void compare_exchange_pair(Execution &e) {
    const auto width = e.width(0) / 2;
    const auto bytes = width / 8;
    const auto &place = e.place(0, 0, width == 64 ? 16 : 1);
    std::array<std::byte, 16> memory{};
    const auto used = std::span{memory}.first(2 * bytes);
    read_place(e.cpu.memory(), place, used);
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::memcpy(&low, memory.data(), bytes);
    std::memcpy(&high, memory.data() + bytes, bytes);
    const bool equal = low == e.cpu.gpr(HWV_RAX, width) && high == e.cpu.gpr(HWV_RDX, width);
    if (equal) {
        std::memcpy(memory.data(), &e.cpu.regs.gpr[HWV_RBX], bytes);
        std::memcpy(memory.data() + bytes, &e.cpu.regs.gpr[HWV_RCX], bytes);
    } else {
        e.cpu.set_gpr(HWV_RAX, width, low);
        e.cpu.set_gpr(HWV_RDX, width, high);
    }
    write_place(e.cpu.memory(), place, used);
    e.cpu.set_flags((e.cpu.flags() & ~flag_zero) | (equal ? flag_zero : 0));
}

struct Named {
    ZydisMnemonic mnemonic;
    Handler handler;
};

constexpr std::array handlers{
    Named{ZYDIS_MNEMONIC_ADD, add},
    Named{ZYDIS_MNEMONIC_ADC, add_carry},
    Named{ZYDIS_MNEMONIC_SUB, subtract},
    Named{ZYDIS_MNEMONIC_SBB, subtract_borrow},
    Named{ZYDIS_MNEMONIC_CMP, compare},
    Named{ZYDIS_MNEMONIC_AND, bit_and},
    Named{ZYDIS_MNEMONIC_OR, bit_or},
    Named{ZYDIS_MNEMONIC_XOR, bit_xor},
    Named{ZYDIS_MNEMONIC_TEST, test},
    Named{ZYDIS_MNEMONIC_INC, increment},
    Named{ZYDIS_MNEMONIC_DEC, decrement},
    Named{ZYDIS_MNEMONIC_NEG, negate},
    Named{ZYDIS_MNEMONIC_NOT, complement},
    Named{ZYDIS_MNEMONIC_MUL, multiply_unsigned},
    Named{ZYDIS_MNEMONIC_IMUL, multiply},
    Named{ZYDIS_MNEMONIC_ROL, shift<alu::Shift::rol>},
    Named{ZYDIS_MNEMONIC_ROR, shift<alu::Shift::ror>},
    Named{ZYDIS_MNEMONIC_RCL, shift<alu::Shift::rcl>},
    Named{ZYDIS_MNEMONIC_RCR, shift<alu::Shift::rcr>},
    Named{ZYDIS_MNEMONIC_SHL, shift<alu::Shift::shl>},
    Named{ZYDIS_MNEMONIC_SHR, shift<alu::Shift::shr>},
    Named{ZYDIS_MNEMONIC_SAR, shift<alu::Shift::sar>},
    Named{ZYDIS_MNEMONIC_BT, bit<alu::BitOp::test>},
    Named{ZYDIS_MNEMONIC_BTS, bit<alu::BitOp::set>},
    Named{ZYDIS_MNEMONIC_BTR, bit<alu::BitOp::reset>},
    Named{ZYDIS_MNEMONIC_BTC, bit<alu::BitOp::complement>},
    Named{ZYDIS_MNEMONIC_XADD, exchange_add},
    Named{ZYDIS_MNEMONIC_CMPXCHG, compare_exchange},
    Named{ZYDIS_MNEMONIC_CMPXCHG8B, compare_exchange_pair},
    Named{ZYDIS_MNEMONIC_CMPXCHG16B, compare_exchange_pair},
};

} // namespace

Handler find_arithmetic(ZydisMnemonic mnemonic) {
    for (const auto &named : handlers)
        if (named.mnemonic == mnemonic) return named.handler;
    return nullptr;
}

} // namespace assist
