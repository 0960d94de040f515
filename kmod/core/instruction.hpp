// SPDX-License-Identifier: GPL-2.0-only
// instruction.hpp - a table-driven decoder for the few instructions that exit: prefixes, opcode,
// ModRM, length. It serves CPUs that do not tell instruction lengths, and the plain MOV forms that
// reach memory-mapped registers. All else is for user. Intel SDM "Instruction Format"; AMD APM vol.
// 3 "Instruction Encoding".
#pragma once
#include <cstdint>
#include <optional>
#include "core/exit.hpp"

namespace hwv {

enum class CodeSize : std::uint8_t { bits16, bits32, bits64 };

enum class Operation : std::uint8_t {
    other,
    cpuid,
    rdmsr,
    wrmsr,
    vmcall,
    vmmcall,
    hlt,
    invd,
    wbinvd,
    xsetbv,
    rdtsc,
    rdtscp,
    rdpmc,
    pause,
    invlpg,
    mov_from_cr,
    mov_to_cr,
    mov_from_dr,
    mov_to_dr,
    clts,
    lmsw,
    smsw,
    in,
    out,
    ins,
    outs,
    monitor,
    mwait,
    rsm,
    virt,
    descriptor,
    int3,
    into,
    rdpru,
    load,
    store,
    store_immediate,
};

struct Instruction {
    Operation operation = Operation::other;
    std::uint8_t length = 0; // bytes, 1..15
    std::uint8_t size = 0;   // load, store: bytes in memory; SMSW: of its operand
    std::uint8_t reg = 0; // register operand: hwv_gpr_index (load, store, MOV CR/DR source), memory
                          // or CR/DR number in `number`
    std::uint8_t number = 0;           // MOV CR/DR: which
    std::uint8_t destination_size = 0; // load: bytes of the register written (MOVZX, MOVSX)
    std::uint8_t segment = 0;          // OUTS: hwv_segment_index of the source
    bool high_byte = false;            // load, store of AH CH DH BH: reg is the underlying register
    bool sign_extend = false;
    bool memory = false;         // ModRM names memory
    std::uint64_t immediate = 0; // store_immediate, sign-extended to size
};

// `count` bytes are at hand; nullopt: the instruction is longer than they reach or no instruction
// at all (over 15 bytes).
std::optional<Instruction> decode_instruction(const std::uint8_t *bytes, unsigned count,
                                              CodeSize code);

// The length of the instruction that gave that exit, where it stands without prefixes, as nearly
// always; else 0.
constexpr std::uint8_t plain_length(const std::uint8_t *bytes, ExitReason reason) {
    const unsigned two = bytes[0] << 8 | bytes[1];
    switch (reason) {
    case HWV_EXIT_CPUID: return two == 0x0fa2 ? 2 : 0;
    case HWV_EXIT_MSR_READ: return two == 0x0f32 ? 2 : 0;
    case HWV_EXIT_MSR_WRITE: return two == 0x0f30 ? 2 : 0;
    case HWV_EXIT_HLT: return bytes[0] == 0xf4;
    case HWV_EXIT_HYPERCALL: return two == 0x0f01 && (bytes[2] == 0xd9 || bytes[2] == 0xc1) ? 3 : 0;
    case HWV_EXIT_IO:
        if ((bytes[0] & 0xfc) == 0xec) return 1;
        return (bytes[0] & 0xfc) == 0xe4 ? 2 : 0;
    default: return 0;
    }
}

// Is this the instruction that gave that exit? A guest may have rewritten its code between exit and
// fetch.
bool matches(const Instruction &instruction, ExitReason reason);

} // namespace hwv
