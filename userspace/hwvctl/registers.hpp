// SPDX-License-Identifier: GPL-2.0-only
// registers.hpp - the registers of a vCPU by name.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include "hwv.h"

namespace hwvctl {

struct Register {
    const char *name;
    std::uint32_t group; // HWV_REGS_*
    std::size_t offset;  // in hwv_regs, 64 bits
};

inline constexpr const char *segment_names[HWV_SEGMENTS] = {"es", "cs", "ss",  "ds",
                                                            "fs", "gs", "ldt", "tr"};

std::span<const Register> registers();
std::uint64_t value(const hwv_regs &regs, const Register &which);
// "rax=0x10": which group it belongs to. Throws UsageError.
std::uint32_t assign(hwv_regs &regs, const std::string &text);
std::string register_text(const hwv_regs &regs);

} // namespace hwvctl
