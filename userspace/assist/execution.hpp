// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>

#include "assist/decode.hpp"

// Inner parts of the emulator, shared by the files that implement instructions.
namespace assist {

// An instruction being executed: its operands as values. The memory operand is translated before
// the first access, with the strongest right that the instruction needs.
class Execution {
  public:
    Execution(Cpu &processor, const Instruction &decoded) : cpu(processor), in(decoded) {}

    Cpu &cpu;
    const Instruction &in;

    const ZydisDecodedOperand &operand(unsigned index) const { return in.operands[index]; }
    unsigned width(unsigned index) const { return operand(index).size; }
    bool is_memory(unsigned index) const {
        return operand(index).type == ZYDIS_OPERAND_TYPE_MEMORY;
    }

    // Throws Unsupported unless all registers named are general ones (a source also a segment's
    // selector), so that no device is touched in vain.
    void require_integer_operands() const;

    // Integers of up to 64 bits.
    std::uint64_t read(unsigned index);
    void write(unsigned index, std::uint64_t value);

    // The memory operand, translated by the first call; `displacement` is added to its address, and
    // an address that is not a multiple of `alignment` raises #GP.
    const Place &place(unsigned index, std::uint64_t displacement = 0, unsigned alignment = 1);
    std::uint64_t offset(unsigned index) const;
    unsigned segment(unsigned index) const;

  private:
    std::uint64_t read_register(ZydisRegister name, unsigned width) const;
    void write_register(ZydisRegister name, unsigned width, std::uint64_t value);
    std::uint64_t address_register(ZydisRegister name) const;

    std::optional<Place> place_;
};

// Executes one instruction on e.cpu, except for RIP, which is already behind the instruction.
using Handler = void (*)(Execution &e);

// Each returns null for what is not its own.
Handler find_move(ZydisMnemonic mnemonic);
Handler find_conditional(const Instruction &in); // CMOVcc, SETcc
Handler find_arithmetic(ZydisMnemonic mnemonic);
Handler find_vector(ZydisMnemonic mnemonic);

// String instructions without INS and OUTS. Returns false when iterations are left. On a fault the
// finished iterations count: they are in e.cpu, with RIP at the instruction.
bool is_string(const Instruction &in);
bool execute_string(Execution &e);

inline constexpr unsigned string_bytes_at_once = 4096;

} // namespace assist
