// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>

#include "assist/cpu.hpp"

namespace assist {

enum class Status : std::uint8_t {
    done,  // completed: RIP is behind the instruction
    again, // a REP instruction is not through; RIP stays, entering the guest or a further call goes
           // on
    fault, // the guest gets an exception: regs.event is set
    unsupported, // nothing changed; `problem` says why
};

struct Outcome {
    Status status = Status::done;
    std::uint32_t dirty = 0; // HWV_REGS_*: groups of `regs` that have changed
    const char *problem = "";
};

// The groups that emulation reads and that must be valid; HWV_REGS_DEBUG as well where the guest
// may single-step.
inline constexpr std::uint32_t registers_needed =
    HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL | HWV_REGS_EVENT;

// Emulates the instruction at CS:RIP, whose first bytes are `bytes` (what is missing is fetched),
// and does all its accesses to RAM and devices. The guest's right to each access is checked as the
// CPU does it. `regs` is changed as `Outcome::dirty` says, at most 4096 bytes are moved by one REP
// instruction. Not reentrant for the same vCPU; never throws but std::bad_alloc.
Outcome emulate(hwv_regs &regs, const Environment &environment, std::span<const std::byte> bytes);

} // namespace assist
