// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "assist/cpu.hpp"
#include "assist/emulate.hpp"

namespace assist {

// Takes the result of an instruction over into the vCPU's registers: RF, single-step trap,
// interrupt shadow.
Outcome commit(hwv_regs &regs, const Cpu &cpu, bool finished);

// Runs `body` on `cpu`, with RIP already behind the instruction. It returns false when iterations
// of a REP instruction are left. The registers in `cpu` are taken over with RIP where it belongs. A
// fault keeps what `cpu` holds if `keeps_progress`: string instructions change `cpu` by whole
// iterations only.
template <typename Body>
Outcome run(hwv_regs &regs, Cpu &cpu, std::uint64_t next_rip, bool keeps_progress, Body body) {
    const auto start = regs.rip;
    cpu.regs.rip = next_rip;
    try {
        const bool finished = body();
        if (!finished) cpu.regs.rip = start;
        return commit(regs, cpu, finished);
    } catch (const Fault &fault) {
        if (keeps_progress) {
            regs = cpu.regs;
            regs.rip = start;
        }
        return {Status::fault, HWV_REGS_GPR | deliver(regs, fault), ""};
    } catch (const Unsupported &unsupported) {
        return {Status::unsupported, 0, unsupported.what};
    }
}

} // namespace assist
