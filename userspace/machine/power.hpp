// SPDX-License-Identifier: GPL-2.0-only
// The ways in which a guest, or whoever sits at its console, asks for the machine to end.
#pragma once

#include <cstdint>
#include <functional>

namespace machine {

struct PowerEvent {
    enum class Kind : std::uint8_t {
        none,
        poweroff,   // ACPI sleep state S5
        reset,      // any of the PC's reset switches
        debug_exit, // isa-debug-exit; code is (value << 1) | 1
        panic,      // the guest's kernel reported that it panicked
        quit,       // Ctrl-A x on the terminal
    };
    Kind kind = Kind::none;
    std::uint32_t code = 0;
};

// Called with the machine's lock held, on a vCPU's or the event loop's thread; must not call back
// into the machine and must not throw.
using PowerSink = std::function<void(PowerEvent)>;

} // namespace machine
