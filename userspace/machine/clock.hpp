// SPDX-License-Identifier: GPL-2.0-only
// Time as the devices see it, so that tests can hold it in their hands.
#pragma once

#include <cstdint>

namespace machine {

constexpr std::uint64_t ns_per_second = 1'000'000'000;

class Clock {
  public:
    virtual ~Clock() = default;
    // Nanoseconds that never go back; what deadlines are measured in.
    virtual std::uint64_t now() const noexcept = 0;
    // Nanoseconds since 1970-01-01 00:00 UTC; may jump when the host's clock is set.
    virtual std::int64_t wall() const noexcept = 0;
};

// CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock final : public Clock {
  public:
    std::uint64_t now() const noexcept override;
    std::int64_t wall() const noexcept override;
};

// Stands still until told to move.
class ManualClock final : public Clock {
  public:
    std::uint64_t now() const noexcept override { return now_; }
    std::int64_t wall() const noexcept override { return wall_; }
    void advance(std::uint64_t ns) {
        now_ += ns;
        wall_ += static_cast<std::int64_t>(ns);
    }
    void set_wall(std::int64_t ns) { wall_ = ns; }

  private:
    std::uint64_t now_ = 0;
    std::int64_t wall_ = 0;
};

// `ns` counted in periods of a crystal of `hz`, and back, rounded up: the first nanosecond at which
// that many periods are complete. 128 bits, because ns * hz outgrows 64 within minutes.
constexpr std::uint64_t ticks_at(std::uint64_t ns, std::uint64_t hz) {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ns) * hz / ns_per_second);
}

constexpr std::uint64_t ns_at_tick(std::uint64_t tick, std::uint64_t hz) {
    const auto scaled = static_cast<unsigned __int128>(tick) * ns_per_second + hz - 1;
    return static_cast<std::uint64_t>(scaled / hz);
}

static_assert(ticks_at(ns_at_tick(12345, 1193182), 1193182) == 12345);
static_assert(ticks_at(ns_at_tick(12345, 1193182) - 1, 1193182) == 12344);

} // namespace machine
