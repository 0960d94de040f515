// SPDX-License-Identifier: GPL-2.0-only
// The same instruction, registers, flags and memory for the emulator and for the CPU that the test
// runs on: both must agree on everything that the manuals define.
#include <bit>
#include <random>
#include <sstream>

#include <Zydis/Zydis.h>

#include "assist/control_bits.hpp"
#include "fixture.hpp"
#include "native.hpp"

namespace assist_test {
namespace {

using assist::flag_adjust;
using assist::flag_carry;
using assist::flag_direction;
using assist::flag_overflow;
using assist::flag_zero;
using assist::flags_arithmetic;

constexpr unsigned rounds = 60;
constexpr std::uint64_t middle = FakeMemory::device + 0x2000;

ZydisRegister gpr_name(unsigned index, unsigned width) {
    const auto kind = width == 8    ? ZYDIS_REGCLASS_GPR8
                      : width == 16 ? ZYDIS_REGCLASS_GPR16
                      : width == 32 ? ZYDIS_REGCLASS_GPR32
                                    : ZYDIS_REGCLASS_GPR64;
    return ZydisRegisterEncode(kind,
                               static_cast<ZyanU8>(width == 8 && index > 3 ? index + 4 : index));
}

ZydisEncoderOperand reg(unsigned index, unsigned width) {
    ZydisEncoderOperand operand{};
    operand.type = ZYDIS_OPERAND_TYPE_REGISTER;
    operand.reg.value = gpr_name(index, width);
    return operand;
}

ZydisEncoderOperand imm(std::int64_t value) {
    ZydisEncoderOperand operand{};
    operand.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
    operand.imm.s = value;
    return operand;
}

// The address is always in RBX here; addressing modes have their own test.
ZydisEncoderOperand mem(unsigned width) {
    ZydisEncoderOperand operand{};
    operand.type = ZYDIS_OPERAND_TYPE_MEMORY;
    operand.mem.base = ZYDIS_REGISTER_RBX;
    operand.mem.displacement = 8;
    operand.mem.size = static_cast<ZyanU16>(width / 8);
    return operand;
}

std::vector<std::byte> encode(ZydisMnemonic mnemonic,
                              std::initializer_list<ZydisEncoderOperand> operands,
                              ZydisInstructionAttributes prefixes = 0) {
    ZydisEncoderRequest request{};
    request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
    request.mnemonic = mnemonic;
    request.prefixes = prefixes;
    for (const auto &operand : operands)
        request.operands[request.operand_count++] = operand;
    std::vector<std::byte> bytes(15);
    ZyanUSize size = bytes.size();
    if (ZYAN_FAILED(ZydisEncoderEncodeInstruction(&request, bytes.data(), &size)))
        throw std::logic_error(std::string{"cannot encode "} + ZydisMnemonicGetString(mnemonic));
    bytes.resize(size);
    return bytes;
}

std::string dump(std::span<const std::byte> bytes) {
    std::ostringstream text;
    for (const auto byte : bytes)
        text << std::hex << std::to_integer<unsigned>(byte) << ' ';
    return text.str();
}

class Differential : public ::testing::Test {
  protected:
    // Values at the edges are as frequent as those between.
    std::uint64_t value() {
        constexpr std::array<std::uint64_t, 10> edges{
            0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fff'ffff, 0x8000'0000'0000'0000, ~0ULL};
        return random_() % 2 == 0 ? edges[random_() % edges.size()] : random_();
    }

    void randomize() {
        for (auto &reg : state_.gpr)
            reg = value();
        state_.gpr[HWV_RBX] = middle + random_() % 64;
        state_.gpr[HWV_RSP] = middle - 0x800;
        state_.flags = (random_() & flags_arithmetic) | 0x202;
        memory_.resize(FakeMemory::device_bytes);
        for (std::size_t i = 0; i < memory_.size(); i += 8) {
            const auto word = value();
            std::memcpy(memory_.data() + i, &word, 8);
        }
    }

    // Runs both on the state; `defined` are the flags to compare.
    void compare(std::span<const std::byte> instruction, std::uint64_t defined) {
        auto native = state_;
        std::copy(memory_.begin(), memory_.end(), native_window().begin());
        run_native(native, instruction);

        auto &regs = guest_.regs;
        std::copy(state_.gpr.begin(), state_.gpr.end(), std::begin(regs.gpr));
        regs.rflags = state_.flags;
        regs.rip = Guest::code;
        guest_.memory->registers = memory_;
        guest_.memory->log.clear();
        auto outcome = guest_.emulate(instruction);
        while (outcome.status == Status::again)
            outcome = guest_.emulate(instruction);
        ASSERT_EQ(outcome.status, Status::done) << dump(instruction) << outcome.problem;
        ASSERT_EQ(regs.rip, Guest::code + instruction.size()) << dump(instruction);
        for (unsigned i = 0; i < 16; ++i)
            ASSERT_EQ(regs.gpr[i], native.gpr[i])
                << "register " << i << " after " << dump(instruction);
        ASSERT_EQ(regs.rflags & defined, native.flags & defined)
            << std::hex << dump(instruction) << "before: " << state_.flags;
        const auto window = native_window();
        const auto differ =
            std::mismatch(window.begin(), window.end(), guest_.memory->registers.begin());
        ASSERT_EQ(differ.first, window.end())
            << "memory at +" << std::distance(window.begin(), differ.first) << " after "
            << dump(instruction);
    }

    void compare_often(std::span<const std::byte> instruction, std::uint64_t defined) {
        for (unsigned i = 0; i < rounds && !HasFatalFailure(); ++i) {
            randomize();
            compare(instruction, defined);
        }
    }

    std::mt19937_64 random_{12345};
    Guest guest_ = Guest::long_mode();
    NativeState state_;
    std::vector<std::byte> memory_;
};

constexpr std::array widths{8U, 16U, 32U, 64U};
constexpr unsigned all = flags_arithmetic;

TEST_F(Differential, TwoOperandArithmetic) {
    for (const auto mnemonic : {ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_ADC, ZYDIS_MNEMONIC_SUB,
                                ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_AND,
                                ZYDIS_MNEMONIC_OR, ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_MOV}) {
        for (const auto width : widths) {
            compare_often(encode(mnemonic, {mem(width), reg(HWV_RDX, width)}), all);
            compare_often(encode(mnemonic, {reg(HWV_R9, width), mem(width)}), all);
            for (const auto value : {0, 1, -1, 0x7f, -0x80, 0x1234})
                if (width > 8 || (value >= -0x80 && value <= 0x7f))
                    compare_often(encode(mnemonic, {mem(width), imm(value)}), all);
        }
    }
    for (const auto width : widths)
        compare_often(encode(ZYDIS_MNEMONIC_TEST, {mem(width), reg(HWV_RBP, width)}), all);
}

TEST_F(Differential, OneOperandArithmetic) {
    for (const auto mnemonic :
         {ZYDIS_MNEMONIC_INC, ZYDIS_MNEMONIC_DEC, ZYDIS_MNEMONIC_NEG, ZYDIS_MNEMONIC_NOT})
        for (const auto width : widths)
            compare_often(encode(mnemonic, {mem(width)}), all);
    for (const auto width : widths) {
        compare_often(encode(ZYDIS_MNEMONIC_MUL, {mem(width)}), flag_carry | flag_overflow);
        compare_often(encode(ZYDIS_MNEMONIC_IMUL, {mem(width)}), flag_carry | flag_overflow);
    }
}

TEST_F(Differential, Multiplication) {
    for (const auto width : {16U, 32U, 64U}) {
        const auto defined = flag_carry | flag_overflow;
        compare_often(encode(ZYDIS_MNEMONIC_IMUL, {reg(HWV_RAX, width), mem(width)}), defined);
        compare_often(encode(ZYDIS_MNEMONIC_IMUL, {reg(HWV_R12, width), mem(width), imm(-3)}),
                      defined);
        compare_often(encode(ZYDIS_MNEMONIC_IMUL, {reg(HWV_RDI, width), mem(width), imm(0x1235)}),
                      defined);
    }
}

TEST_F(Differential, Exchanges) {
    for (const auto width : widths) {
        compare_often(encode(ZYDIS_MNEMONIC_XCHG, {mem(width), reg(HWV_RSI, width)}), all);
        compare_often(encode(ZYDIS_MNEMONIC_XADD, {mem(width), reg(HWV_RSI, width)}), all);
        const auto exchange = encode(ZYDIS_MNEMONIC_CMPXCHG, {mem(width), reg(HWV_RSI, width)});
        compare_often(exchange, all);
        for (unsigned i = 0; i < rounds; ++i) { // with equality, which chance gives too rarely
            randomize();
            std::memcpy(&state_.gpr[HWV_RAX],
                        memory_.data() + (state_.gpr[HWV_RBX] + 8 - FakeMemory::device), 8);
            compare(exchange, all);
        }
    }
}

TEST_F(Differential, CompareAndExchangePairs) {
    for (const auto width : {64U, 128U}) {
        const auto instruction = encode(
            width == 64 ? ZYDIS_MNEMONIC_CMPXCHG8B : ZYDIS_MNEMONIC_CMPXCHG16B, {mem(width)});
        for (unsigned i = 0; i < rounds; ++i) {
            randomize();
            const auto half = width / 16;
            state_.gpr[HWV_RBX] =
                middle + 8; // the operand is 16-aligned, and RBX is an operand too
            if (i % 2 == 0) {
                state_.gpr[HWV_RAX] = state_.gpr[HWV_RDX] = 0;
                std::memcpy(&state_.gpr[HWV_RAX], memory_.data() + 0x2010, half);
                std::memcpy(&state_.gpr[HWV_RDX], memory_.data() + 0x2010 + half, half);
            }
            compare(instruction, all);
        }
    }
}

TEST_F(Differential, Bits) {
    for (const auto mnemonic :
         {ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC}) {
        for (const auto width : {16U, 32U, 64U}) {
            const auto by_register = encode(mnemonic, {mem(width), reg(HWV_RCX, width)});
            for (unsigned i = 0; i < rounds; ++i) {
                randomize();
                state_.gpr[HWV_RCX] = (random_() % 0x8000) - 0x4000; // up to 2 KiB either way
                compare(by_register, flag_carry | flag_zero);
            }
            for (const auto index : {0, 5, 15, 31, 63})
                compare_often(encode(mnemonic, {mem(width), imm(index)}), flag_carry | flag_zero);
        }
    }
}

TEST_F(Differential, ShiftsAndRotates) {
    for (const auto mnemonic :
         {ZYDIS_MNEMONIC_SHL, ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR, ZYDIS_MNEMONIC_ROL,
          ZYDIS_MNEMONIC_ROR, ZYDIS_MNEMONIC_RCL, ZYDIS_MNEMONIC_RCR}) {
        for (const auto width : widths) {
            for (int count = 0; count < 70; ++count) {
                const auto masked = static_cast<unsigned>(count) & (width == 64 ? 63 : 31);
                auto defined = std::uint64_t{all};
                if (masked != 0)
                    defined &= ~flag_adjust; // shifts leave it undefined, rotates alone
                if (masked > 1) defined &= ~flag_overflow;
                if (masked > width) // of a count beyond the width only the value is defined
                    defined &= ~flag_carry;
                randomize();
                compare(encode(mnemonic, {mem(width), imm(count)}), defined);
                state_.gpr[HWV_RCX] = static_cast<unsigned>(count);
                compare(encode(mnemonic, {mem(width), reg(HWV_RCX, 8)}), defined);
            }
        }
    }
}

TEST_F(Differential, Conversions) {
    for (const auto mnemonic : {ZYDIS_MNEMONIC_MOVZX, ZYDIS_MNEMONIC_MOVSX})
        for (const auto from : {8U, 16U})
            for (const auto to : {16U, 32U, 64U})
                if (from < to) compare_often(encode(mnemonic, {reg(HWV_RDX, to), mem(from)}), all);
    compare_often(encode(ZYDIS_MNEMONIC_MOVSXD, {reg(HWV_RDX, 64), mem(32)}), all);
    for (const auto width : {32U, 64U})
        compare_often(encode(ZYDIS_MNEMONIC_MOVNTI, {mem(width), reg(HWV_R15, width)}), all);
    for (const auto width : {16U, 32U, 64U}) {
        compare_often(encode(ZYDIS_MNEMONIC_MOVBE, {mem(width), reg(HWV_R15, width)}), all);
        compare_often(encode(ZYDIS_MNEMONIC_MOVBE, {reg(HWV_R8, width), mem(width)}), all);
    }
}

TEST_F(Differential, HighByteRegisters) {
    // mov %ah, (%rbx); mov (%rbx), %dh; add %ch, (%rbx); xchg %bh, would change the address: left
    // out
    for (const auto &bytes :
         {std::array<unsigned, 2>{0x88, 0x23}, std::array<unsigned, 2>{0x8a, 0x33},
          std::array<unsigned, 2>{0x00, 0x2b}}) {
        const std::array instruction{std::byte(bytes[0]), std::byte(bytes[1])};
        compare_often(instruction, all);
    }
}

TEST_F(Differential, Conditions) {
    for (unsigned code = 0; code < 16; ++code) {
        const auto low = static_cast<unsigned char>(code);
        // setCC 8(%rbx); cmovCC 8(%rbx), %edx, %rdx, %dx
        compare_often(
            std::array{std::byte{0x0f}, std::byte(0x90 + low), std::byte{0x43}, std::byte{8}}, all);
        compare_often(
            std::array{std::byte{0x0f}, std::byte(0x40 + low), std::byte{0x53}, std::byte{8}}, all);
        for (const unsigned char prefix : {0x48, 0x66})
            compare_often(std::array{std::byte(prefix), std::byte{0x0f}, std::byte(0x40 + low),
                                     std::byte{0x53}, std::byte{8}},
                          all);
    }
}

TEST_F(Differential, Stack) {
    for (const auto width : {16U, 64U}) {
        compare_often(encode(ZYDIS_MNEMONIC_PUSH, {mem(width)}), all);
        compare_often(encode(ZYDIS_MNEMONIC_POP, {mem(width)}), all);
        compare_often(encode(ZYDIS_MNEMONIC_PUSH, {reg(HWV_RSP, width)}), all);
        compare_often(encode(ZYDIS_MNEMONIC_POP, {reg(HWV_RSP, width)}), all);
    }
    auto by_stack = mem(64);
    by_stack.mem.base = ZYDIS_REGISTER_RSP;
    compare_often(encode(ZYDIS_MNEMONIC_POP, {by_stack}), all);
    compare_often(encode(ZYDIS_MNEMONIC_PUSH, {by_stack}), all);
}

TEST_F(Differential, AddressingModes) {
    for (unsigned i = 0; i < rounds; ++i) {
        randomize();
        auto operand = mem(32);
        operand.mem.base = ZYDIS_REGISTER_R13;
        operand.mem.index = ZYDIS_REGISTER_RBP;
        operand.mem.scale = static_cast<ZyanU8>(1U << (i % 4));
        operand.mem.displacement = -0x345;
        const auto index = static_cast<std::int64_t>(random_() % 512) - 256;
        state_.gpr[HWV_RBP] = static_cast<std::uint64_t>(index);
        state_.gpr[HWV_R13] =
            middle + 0x345 - static_cast<std::uint64_t>(index) * operand.mem.scale;
        compare(encode(ZYDIS_MNEMONIC_ADD, {operand, reg(HWV_RDX, 32)}), all);
        operand.mem.base = ZYDIS_REGISTER_R13D; // wraps at 4 GiB
        operand.mem.index = ZYDIS_REGISTER_EBP;
        compare(encode(ZYDIS_MNEMONIC_ADD, {reg(HWV_RDX, 32), operand}), all);
    }
}

class StringDifferential : public Differential {
  protected:
    static constexpr unsigned most = 600; // elements: enough to need several calls for qwords

    void compare_strings(unsigned opcode, unsigned prefix, bool equal_memory) {
        for (const auto width : widths) {
            std::vector<std::byte> instruction;
            if (width == 16) instruction.push_back(std::byte{0x66});
            if (prefix != 0) instruction.push_back(static_cast<std::byte>(prefix));
            if (width == 64) instruction.push_back(std::byte{0x48});
            instruction.push_back(static_cast<std::byte>(opcode | (width == 8 ? 0 : 1)));
            for (unsigned i = 0; i < 12 && !HasFatalFailure(); ++i)
                compare_one(instruction, equal_memory);
        }
    }

    void compare_one(std::span<const std::byte> instruction, bool equal_memory) {
        randomize();
        if (equal_memory) std::fill(memory_.begin(), memory_.end(), std::byte{0x5a});
        if (equal_memory) state_.gpr[HWV_RAX] = 0x5a5a'5a5a'5a5a'5a5a;
        memory_[0x2000 + random_() % 300] = std::byte{0x11};
        state_.gpr[HWV_RCX] = random_() % 4 == 0 ? 0 : random_() % most;
        const bool down = random_() % 2 != 0;
        if (down) state_.flags |= flag_direction;
        const auto range = most * 8;
        state_.gpr[HWV_RSI] = FakeMemory::device + (down ? range : 0) + random_() % 256;
        state_.gpr[HWV_RDI] = FakeMemory::device + 0x1800 + (down ? range : 0) + random_() % 256;
        compare(instruction, all);
    }
};

TEST_F(StringDifferential, Moves) {
    for (const unsigned prefix : {0U, 0xf3U, 0xf2U})
        for (const unsigned opcode : {0xa4U, 0xaaU, 0xacU})
            compare_strings(opcode, prefix, false);
}

TEST_F(StringDifferential, Compares) {
    for (const unsigned prefix : {0U, 0xf3U, 0xf2U})
        for (const unsigned opcode : {0xa6U, 0xaeU})
            for (const bool equal : {false, true})
                compare_strings(opcode, prefix, equal);
}

} // namespace
} // namespace assist_test
