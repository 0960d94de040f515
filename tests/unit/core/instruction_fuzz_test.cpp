// SPDX-License-Identifier: GPL-2.0-only
// The decoder of the instructions that exit, with Zydis as oracle: where both know the instruction,
// length and operands are the same; and no byte beyond those at hand is read (ASan watches).
#include <gtest/gtest.h>
#include <Zydis/Zydis.h>
#include <array>
#include <memory>
#include <random>
#include <vector>
#include "core/instruction.hpp"

namespace hwv {
namespace {

using Bytes = std::array<std::uint8_t, 15>;

struct Oracle {
    ZydisDecodedInstruction i;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

constexpr CodeSize sizes[] = {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64};

ZydisDecoder decoder_for(CodeSize code) {
    ZydisDecoder d;
    const bool wide = code == CodeSize::bits64;
    const bool real = code == CodeSize::bits16;
    ZydisDecoderInit(&d,
                     wide   ? ZYDIS_MACHINE_MODE_LONG_64
                     : real ? ZYDIS_MACHINE_MODE_LEGACY_16
                            : ZYDIS_MACHINE_MODE_LEGACY_32,
                     wide   ? ZYDIS_STACK_WIDTH_64
                     : real ? ZYDIS_STACK_WIDTH_16
                            : ZYDIS_STACK_WIDTH_32);
    return d;
}

std::string text(const Bytes &bytes, CodeSize code) {
    std::string out = "code size " + std::to_string(16 << static_cast<int>(code)) + ":";
    char two[4];
    for (std::uint8_t b : bytes) {
        std::snprintf(two, sizeof(two), " %02x", b);
        out += two;
    }
    return out;
}

// What Zydis calls the instructions that the decoder names for the exits. MOV and string forms are
// told by opcode.
std::optional<Operation> operation_of(ZydisMnemonic m) {
    switch (m) {
    case ZYDIS_MNEMONIC_CPUID: return Operation::cpuid;
    case ZYDIS_MNEMONIC_RDMSR: return Operation::rdmsr;
    case ZYDIS_MNEMONIC_WRMSR: return Operation::wrmsr;
    case ZYDIS_MNEMONIC_VMCALL: return Operation::vmcall;
    case ZYDIS_MNEMONIC_VMMCALL: return Operation::vmmcall;
    case ZYDIS_MNEMONIC_HLT: return Operation::hlt;
    case ZYDIS_MNEMONIC_INVD: return Operation::invd;
    case ZYDIS_MNEMONIC_WBINVD: return Operation::wbinvd;
    case ZYDIS_MNEMONIC_XSETBV: return Operation::xsetbv;
    case ZYDIS_MNEMONIC_RDTSC: return Operation::rdtsc;
    case ZYDIS_MNEMONIC_RDTSCP: return Operation::rdtscp;
    case ZYDIS_MNEMONIC_RDPMC: return Operation::rdpmc;
    case ZYDIS_MNEMONIC_PAUSE: return Operation::pause;
    case ZYDIS_MNEMONIC_INVLPG: return Operation::invlpg;
    case ZYDIS_MNEMONIC_CLTS: return Operation::clts;
    case ZYDIS_MNEMONIC_LMSW: return Operation::lmsw;
    case ZYDIS_MNEMONIC_SMSW: return Operation::smsw;
    case ZYDIS_MNEMONIC_IN: return Operation::in;
    case ZYDIS_MNEMONIC_OUT: return Operation::out;
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD: return Operation::ins;
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD: return Operation::outs;
    default: return std::nullopt;
    }
}

const ZydisDecodedOperand *memory_operand(const Oracle &o) {
    for (unsigned n = 0; n < o.i.operand_count_visible; ++n)
        if (o.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY) return &o.operands[n];
    return nullptr;
}

const ZydisDecodedOperand *register_operand(const Oracle &o) {
    for (unsigned n = 0; n < o.i.operand_count_visible; ++n)
        if (o.operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER) return &o.operands[n];
    return nullptr;
}

bool general(ZydisRegister r) {
    const ZydisRegisterClass c = ZydisRegisterGetClass(r);
    return c == ZYDIS_REGCLASS_GPR8 || c == ZYDIS_REGCLASS_GPR16 || c == ZYDIS_REGCLASS_GPR32 ||
           c == ZYDIS_REGCLASS_GPR64;
}

void compare_move(const Instruction &mine, const Oracle &o) {
    const ZydisDecodedOperand *memory = memory_operand(o);
    ASSERT_NE(memory, nullptr);
    EXPECT_TRUE(mine.memory);
    EXPECT_EQ(mine.size * 8, memory->size);
    EXPECT_EQ(mine.operation != Operation::load, memory == &o.operands[0]);
    if (mine.operation == Operation::store_immediate) {
        const std::uint64_t mask = mine.size == 8 ? ~0ull : (1ull << (8 * mine.size)) - 1;
        EXPECT_EQ(mine.immediate & mask, o.operands[1].imm.value.u & mask);
        EXPECT_EQ(mine.immediate & ~mask, 0u);
        return;
    }
    const ZydisDecodedOperand *reg = register_operand(o);
    ASSERT_NE(reg, nullptr);
    const ZydisRegister r = reg->reg.value;
    const bool high = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
    EXPECT_EQ(mine.high_byte, high);
    const auto whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    EXPECT_EQ(mine.reg, ZydisRegisterGetId(whole));
    if (mine.operation == Operation::load) {
        EXPECT_EQ(mine.destination_size * 8, reg->size);
        EXPECT_EQ(mine.sign_extend, o.i.mnemonic == ZYDIS_MNEMONIC_MOVSX);
    }
}

void compare_control(const Instruction &mine, const Oracle &o) {
    const bool to =
        mine.operation == Operation::mov_to_cr || mine.operation == Operation::mov_to_dr;
    const bool debug =
        mine.operation == Operation::mov_to_dr || mine.operation == Operation::mov_from_dr;
    const ZydisRegister special = o.operands[to ? 0 : 1].reg.value,
                        gpr = o.operands[to ? 1 : 0].reg.value;
    EXPECT_EQ(ZydisRegisterGetClass(special),
              debug ? ZYDIS_REGCLASS_DEBUG : ZYDIS_REGCLASS_CONTROL);
    EXPECT_EQ(mine.number, ZydisRegisterGetId(special));
    EXPECT_EQ(mine.reg, ZydisRegisterGetId(gpr));
}

void compare_source(const Instruction &mine, const Oracle &o) {
    for (unsigned n = 0; n < o.i.operand_count; ++n) {
        if (o.operands[n].type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        EXPECT_EQ(mine.segment, ZydisRegisterGetId(o.operands[n].mem.segment));
    }
}

bool is_control(Operation op) {
    return op == Operation::mov_from_cr || op == Operation::mov_to_cr ||
           op == Operation::mov_from_dr || op == Operation::mov_to_dr;
}

bool is_move(Operation op) {
    return op == Operation::load || op == Operation::store || op == Operation::store_immediate;
}

// Is it a MOV between memory and a general register or an immediate, which the decoder knows?
bool known_move(const Oracle &o) {
    const auto m = o.i.mnemonic;
    const bool extend = m == ZYDIS_MNEMONIC_MOVZX || m == ZYDIS_MNEMONIC_MOVSX;
    if ((m != ZYDIS_MNEMONIC_MOV && !extend) || !memory_operand(o)) return false;
    const ZydisDecodedOperand *reg = register_operand(o);
    return !reg || general(reg->reg.value);
}

void compare(const ZydisDecoder &decoder, const Bytes &bytes, CodeSize code) {
    const auto mine = decode_instruction(bytes.data(), bytes.size(), code);
    Oracle o;
    const bool valid = ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &o.i, o.operands));
    if (!valid || (o.i.attributes & ZYDIS_ATTRIB_HAS_LOCK))
        return; // such bytes raise #UD: they do not exit
    const auto wanted = operation_of(o.i.mnemonic);
    const bool control = o.i.mnemonic == ZYDIS_MNEMONIC_MOV &&
                         o.i.opcode_map == ZYDIS_OPCODE_MAP_0F && o.i.opcode >= 0x20 &&
                         o.i.opcode <= 0x23;
    if (!wanted && !control && !known_move(o)) {
        if (mine) {
            EXPECT_FALSE(is_move(mine->operation) || is_control(mine->operation));
            EXPECT_FALSE(operation_of(o.i.mnemonic).has_value());
        }
        return;
    }
    ASSERT_TRUE(mine.has_value());
    EXPECT_EQ(mine->length, o.i.length);
    if (wanted == Operation::outs) compare_source(*mine, o);
    if (wanted) {
        EXPECT_EQ(mine->operation, *wanted);
    } else if (control) {
        ASSERT_TRUE(is_control(mine->operation));
        compare_control(*mine, o);
    } else {
        ASSERT_TRUE(is_move(mine->operation));
        compare_move(*mine, o);
    }
}

// Random tails behind every opcode with some prefixes: what the decoder looks at is exhausted, the
// rest is sampled.
TEST(InstructionFuzz, AgreesWithZydisOnAllOpcodes) {
    static constexpr std::uint8_t prefixes[] = {0x66, 0x67, 0xf3, 0xf2, 0x2e, 0x36,
                                                0x3e, 0x26, 0x64, 0x65, 0x40, 0x41,
                                                0x44, 0x45, 0x48, 0x4c, 0x4f};
    const auto seed = std::random_device{}();
    RecordProperty("seed", std::to_string(seed));
    std::mt19937_64 random{seed};
    for (CodeSize code : sizes) {
        const ZydisDecoder decoder = decoder_for(code);
        for (unsigned opcode = 0; opcode < 512; ++opcode)
            for (unsigned modrm = 0; modrm < 256; ++modrm) {
                Bytes bytes;
                unsigned at = 0;
                for (unsigned n = random() % 4; n; --n)
                    bytes[at++] = prefixes[random() % std::size(prefixes)];
                if (opcode >= 256) bytes[at++] = 0x0f;
                bytes[at++] = static_cast<std::uint8_t>(opcode);
                bytes[at++] = static_cast<std::uint8_t>(modrm);
                while (at < bytes.size())
                    bytes[at++] = static_cast<std::uint8_t>(random());
                compare(decoder, bytes, code);
                ASSERT_FALSE(HasFailure()) << text(bytes, code) << ", seed " << seed;
            }
    }
}

TEST(InstructionFuzz, AgreesWithZydisOnNoise) {
    const auto seed = std::random_device{}();
    std::mt19937_64 random{seed};
    for (CodeSize code : sizes) {
        const ZydisDecoder decoder = decoder_for(code);
        for (unsigned n = 0; n < 50'000; ++n) {
            Bytes bytes;
            for (auto &b : bytes)
                b = static_cast<std::uint8_t>(random());
            compare(decoder, bytes, code);
            ASSERT_FALSE(HasFailure()) << text(bytes, code) << ", seed " << seed;
        }
    }
}

// A buffer of exactly the bytes at hand: one more read is an error of ASan's. What is decoded from
// fewer bytes is what is decoded from all.
TEST(InstructionFuzz, ReadsNoByteThatIsNotThere) {
    std::mt19937_64 random{7};
    for (unsigned n = 0; n < 20'000; ++n) {
        Bytes bytes;
        for (auto &b : bytes)
            b = static_cast<std::uint8_t>(random());
        if (n % 2) bytes[random() % 3] = 0x0f;
        for (CodeSize code : sizes) {
            const auto whole = decode_instruction(bytes.data(), bytes.size(), code);
            for (unsigned count = 0; count <= bytes.size(); ++count) {
                const std::unique_ptr<std::uint8_t[]> exact{new std::uint8_t[count]};
                std::copy_n(bytes.begin(), count, exact.get());
                const auto part = decode_instruction(exact.get(), count, code);
                ASSERT_EQ(part.has_value(), whole && whole->length <= count)
                    << text(bytes, code) << " of " << count;
                if (part) {
                    ASSERT_EQ(part->length, whole->length);
                }
            }
        }
    }
}

} // namespace
} // namespace hwv
