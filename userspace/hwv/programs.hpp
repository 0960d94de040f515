// SPDX-License-Identifier: GPL-2.0-only
// programs.hpp - the exit programs of a VM, through one of its observers: see hwv_program.h.
#pragma once
#include <cstdint>
#include <vector>
#include "hwv.h"
#include "hwv/observer.hpp"

namespace hwv {

// A loaded eBPF program runs at exits of these reasons (bit per hwv_exit_reason) until it is
// detached or the observer ends. `replaced`: the program whose place it takes. Returns its id;
// throws Error, which says why it was refused.
std::uint64_t attach_program(const Observer &observer, int program, std::uint64_t reasons,
                             std::uint64_t replaced = 0);
void detach_program(const Observer &observer, std::uint64_t id);
// Of all observers, in the order in which they run.
std::vector<hwv_program_entry> programs(const Observer &observer);

} // namespace hwv
