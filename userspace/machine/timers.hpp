// SPDX-License-Identifier: GPL-2.0-only
// Deadlines of devices. Everything here runs under the machine's lock: devices arm and disarm
// inside their accesses, the event loop takes the lock and runs what is due. Hence a disarmed timer
// never fires late.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "machine/clock.hpp"

namespace machine {

class TimerQueue;

// One deadline of one device; made with the device, never by a guest.
class Timer {
  public:
    Timer(TimerQueue &queue, std::function<void()> fire);
    ~Timer();
    Timer(const Timer &) = delete;
    Timer &operator=(const Timer &) = delete;
    // Fires once at `deadline` (Clock::now() units); one in the past fires at the queue's next
    // turn.
    void arm(std::uint64_t deadline);
    void disarm();
    bool armed() const { return deadline_ != never; }
    std::uint64_t deadline() const { return deadline_; }

    static constexpr std::uint64_t never = ~std::uint64_t{0};

  private:
    friend class TimerQueue;
    TimerQueue &queue_;
    std::function<void()> fire_;
    std::uint64_t deadline_ = never;
};

class TimerQueue {
  public:
    explicit TimerQueue(const Clock &clock) : clock_(clock) {}
    const Clock &clock() const { return clock_; }
    // Called with the new earliest deadline (or Timer::never) whenever that changes.
    void on_change(std::function<void(std::uint64_t)> hook);
    std::uint64_t next() const;
    // Fires everything due at the clock's present, earliest first. A timer that re-arms itself into
    // the past waits for the next turn, so that one turn always ends.
    void run_due();

  private:
    friend class Timer;
    void changed();

    const Clock &clock_;
    std::vector<Timer *> timers_; // a dozen at most: a scan beats a heap
    std::function<void(std::uint64_t)> hook_;
    std::uint64_t announced_ = Timer::never;
};

} // namespace machine
