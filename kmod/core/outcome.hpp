// SPDX-License-Identifier: GPL-2.0-only
// outcome.hpp - what a handler decided. RIP moves in the run loop alone, by what this says. The
// guest goes on up to resume_next.
#pragma once
#include <cstdint>

namespace hwv {

enum class Outcome : std::uint8_t {
    resume_same,  // enter again at the same RIP (fault-like, or the handler queued an event)
    resume_next,  // the instruction is done: RIP moves behind it
    to_user,      // the exit area is filled; leaves HWV_RUN at the same RIP, completion moves it
    to_user_next, // leaves HWV_RUN after RIP moved behind the instruction (OUT, HLT)
};

constexpr bool moves_rip(Outcome o) { return static_cast<std::uint8_t>(o) & 1; }
static_assert(moves_rip(Outcome::resume_next) && moves_rip(Outcome::to_user_next) &&
              !moves_rip(Outcome::resume_same) && !moves_rip(Outcome::to_user));

} // namespace hwv
