// SPDX-License-Identifier: GPL-2.0-only
// fake_machine.hpp - a clock that a test turns by hand, behind cpu/native.hpp.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

namespace fake {

struct Machine {
    std::uint64_t ns = 1'000'000;
    std::uint64_t tsc_per_ns = 2;          // 2 GHz
    std::optional<std::uint64_t> fires_at; // of the one-shot timer
    unsigned starts = 0, cancels = 0;
    std::function<void(std::uint32_t, std::uint32_t, std::uint32_t (&)[4])> cpuid;

    static constexpr std::uint32_t tsc_khz = 2'000'000;
};

Machine &machine(); // one for all tests of cpu/; reset() before each
void reset();

// Time goes on; true when the timer fired on the way (the clock stops there).
bool advance_to_timer();
bool advance(std::uint64_t ns);

} // namespace fake
