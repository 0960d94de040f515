// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "assist/emulate.hpp"

namespace assist {

// A hardware task switch outside of long mode, on the registers and in guest memory, as the exit
// HWV_EXIT_TASK_SWITCH describes it (`next_rip` is its exit.next_rip). All groups of `regs` must be
// valid. SDM vol. 3, "Task Switching": what faults up to the commit point leaves the old task as it
// was, what faults behind it finds the new task with the segments that were loaded until then.
// Either is Status::fault, as is the trap that the T bit of the new TSS asks for; one fault too
// many sets mp_state to HWV_MP_SHUTDOWN instead of an event. Never throws but std::bad_alloc.
Outcome switch_task(hwv_regs &regs, const Environment &environment,
                    const hwv_exit_task_switch &task, std::uint64_t next_rip);

} // namespace assist
