// SPDX-License-Identifier: GPL-2.0-only
// program.hpp - what an exit program is told and what it says. It can write over all of its
// context: nothing of that is used but its output, and that only if all of it can be.
#pragma once
#include "instrument/policy.hpp"

namespace hwv::instrument {

// Copies: whoever writes them next does not change what is checked here.
struct ProgramSays {
    Verdict verdict;
    std::uint16_t gprs = 0; // bit per register that it changes
    bool anything() const { return gprs || verdict.action != HWV_ACTION_COUNT; }
};

// The output of a program of that observer's. False: it cannot be.
inline bool read_output(const hwv_program_context &c, ExitReason reason, std::uint64_t observer,
                        ProgramSays &out) {
    const auto action = static_cast<hwv_action>(c.action);
    const bool has_code = c.flags & HWV_PROGRAM_ERROR_CODE;
    if (c.action > HWV_ACTION_STOP || !may(action, reason)) return false;
    if ((c.flags & ~HWV_PROGRAM_ERROR_CODE) || c.gprs >> HWV_GPRS) return false;
    if (action == HWV_ACTION_INJECT && !injectable(c.vector, has_code, c.error_code)) return false;
    out.gprs = static_cast<std::uint16_t>(c.gprs);
    out.verdict = {action,
                   static_cast<std::uint8_t>(action == HWV_ACTION_INJECT ? c.vector : 0),
                   has_code,
                   c.error_code,
                   {c.value[0], c.value[1]},
                   observer,
                   ~0u, // no rule: see hwv_stop
                   HWV_STOP_TIMEOUT_MS};
    return true;
}

// By all vCPUs at once.
inline void count(__u64 &counter) { __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED); }

} // namespace hwv::instrument
