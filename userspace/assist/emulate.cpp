// SPDX-License-Identifier: GPL-2.0-only
#include "assist/emulate.hpp"

#include "assist/completion.hpp"
#include "assist/execution.hpp"

namespace assist {
namespace {

constexpr std::uint64_t dr6_single_step = 1 << 14;

void execute(Execution &e) {
    const auto mnemonic = e.in.info.mnemonic;
    if (const auto handler = find_vector(mnemonic)) return handler(e);
    e.require_integer_operands();
    if (const auto handler = find_move(mnemonic)) return handler(e);
    if (const auto handler = find_arithmetic(mnemonic)) return handler(e);
    if (const auto handler = find_conditional(e.in)) return handler(e);
    throw Unsupported{"an instruction that is not emulated"};
}

} // namespace

Outcome commit(hwv_regs &regs, const Cpu &cpu, bool finished) {
    const bool trap = regs.event.type == HWV_EVENT_NONE && (regs.rflags & flag_trap) != 0;
    regs = cpu.regs;
    Outcome outcome{finished ? Status::done : Status::again, HWV_REGS_GPR, ""};
    if (finished) regs.rflags &= ~flag_resume;
    if (regs.event.shadow != 0) {
        regs.event.shadow = 0; // STI and MOV SS hold interrupts for one instruction
        outcome.dirty |= HWV_REGS_EVENT;
    }
    if (trap) {
        outcome.status = Status::fault;
        outcome.dirty |= deliver(regs, {vector_debug, false, 0, 0});
        if ((regs.valid & HWV_REGS_DEBUG) != 0) {
            regs.dr6 |= dr6_single_step;
            outcome.dirty |= HWV_REGS_DEBUG;
        }
    }
    return outcome;
}

Outcome emulate(hwv_regs &regs, const Environment &environment, std::span<const std::byte> bytes) {
    if (regs.event.type !=
        HWV_EVENT_NONE) // then it was not the instruction at RIP that left the guest
        return {Status::unsupported, 0, "the delivery of an event reached device memory"};
    Cpu cpu{regs, environment};
    Instruction in;
    try {
        in = decode_or_fetch(cpu, bytes);
    } catch (const Fault &fault) {
        return {Status::fault, deliver(regs, fault), ""};
    } catch (const Unsupported &unsupported) {
        return {Status::unsupported, 0, unsupported.what};
    }
    const auto next = truncate(regs.rip + in.length(), cpu.long_mode() ? 64 : 32);
    Execution execution{cpu, in};
    const bool string = is_string(in);
    return run(regs, cpu, next, string, [&] {
        if (string) return execute_string(execution);
        execute(execution);
        return true;
    });
}

} // namespace assist
