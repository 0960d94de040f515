// SPDX-License-Identifier: GPL-2.0-only
// Instructions that move integers without computing: MOV and its kin, the stack, transfers of
// control through memory.
#include "assist/alu.hpp"
#include "assist/execution.hpp"

namespace assist {
namespace {

void move(Execution &e) { e.write(0, e.read(1)); }

void move_sign_extended(Execution &e) { e.write(0, alu::sign_extend(e.read(1), e.width(1))); }

void move_byte_swapped(Execution &e) {
    e.write(0, __builtin_bswap64(e.read(1)) >> (64 - e.width(1)));
}

// The condition is the low part of the opcode, for all 16 of them.
bool condition(const Execution &e) { return alu::condition(e.in.info.opcode & 0xf, e.cpu.flags()); }

// The source is read and the upper half of a 32-bit destination is cleared even if nothing moves.
void move_if(Execution &e) {
    const auto source = e.read(1);
    e.write(0, condition(e) ? source : e.read(0));
}

void set_if(Execution &e) { e.write(0, condition(e) ? 1 : 0); }

void exchange(Execution &e) {
    const auto first = e.read(0);
    const auto second = e.read(1);
    e.write(0, second);
    e.write(1, first);
}

Place stack_place(const Execution &e, std::uint64_t below, unsigned width, Access access) {
    const auto offset = truncate(e.cpu.regs.gpr[HWV_RSP] - below, e.cpu.stack_width());
    return e.cpu.place(HWV_SS, offset, width / 8, access);
}

void push_value(Execution &e, std::uint64_t value) {
    const auto width = e.in.operand_width();
    e.cpu.write(stack_place(e, width / 8, width, Access::write), truncate(value, width));
    e.cpu.advance_gpr(HWV_RSP, e.cpu.stack_width(), std::uint64_t{0} - width / 8);
}

void push(Execution &e) { push_value(e, e.read(0)); }

// An address that uses RSP sees it after the increment (SDM, "POP").
void pop(Execution &e) {
    const auto width = e.in.operand_width();
    const auto value = e.cpu.read(stack_place(e, 0, width, Access::read));
    e.cpu.advance_gpr(HWV_RSP, e.cpu.stack_width(), width / 8);
    e.write(0, value);
}

std::uint64_t branch_target(Execution &e) {
    if (e.in.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        throw Unsupported{"a far transfer of control through device memory"};
    const auto value = e.read(0);
    const bool relative = e.operand(0).type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    return truncate(relative ? e.cpu.regs.rip + value : value, e.in.operand_width());
}

void jump(Execution &e) { e.cpu.jump(branch_target(e)); }

void call(Execution &e) {
    const auto target = branch_target(e);
    const auto back = e.cpu.regs.rip;
    e.cpu.jump(target);
    push_value(e, back);
}

} // namespace

Handler find_move(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVNTI: return move;
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD: return move_sign_extended;
    case ZYDIS_MNEMONIC_MOVBE: return move_byte_swapped;
    case ZYDIS_MNEMONIC_XCHG: return exchange;
    case ZYDIS_MNEMONIC_PUSH: return push;
    case ZYDIS_MNEMONIC_POP: return pop;
    case ZYDIS_MNEMONIC_JMP: return jump;
    case ZYDIS_MNEMONIC_CALL: return call;
    default: return nullptr;
    }
}

Handler find_conditional(const Instruction &in) {
    if (in.info.meta.category == ZYDIS_CATEGORY_CMOV) return move_if;
    if (in.info.meta.category == ZYDIS_CATEGORY_SETCC) return set_if;
    return nullptr;
}

} // namespace assist
