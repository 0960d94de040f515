// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <optional>
#include <span>

#include <Zydis/Zydis.h>

#include "assist/cpu.hpp"

namespace assist {

// One decoded instruction: Zydis's view of it.
struct Instruction {
    ZydisDecodedInstruction info;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;

    unsigned length() const { return info.length; }
    unsigned operand_width() const { return info.operand_width; }
    unsigned address_width() const { return info.address_width; }
    bool has(ZydisInstructionAttributes attributes) const {
        return (info.attributes & attributes) != 0;
    }
};

enum class DecodeStatus { done, incomplete, invalid };

DecodeStatus decode(const Cpu &cpu, std::span<const std::byte> bytes, Instruction &instruction);

// Decodes `bytes`; what is missing there is fetched from guest memory. Throws Fault (of the fetch)
// or Unsupported.
Instruction decode_or_fetch(const Cpu &cpu, std::span<const std::byte> bytes);

} // namespace assist
