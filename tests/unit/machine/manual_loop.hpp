// SPDX-License-Identifier: GPL-2.0-only
// An event loop for a device under test, which the test turns and whose clock it sets. A base, so
// that it is there before the device and after it.
#pragma once

#include <mutex>

#include "machine/event_loop.hpp"
#include "machine/timers.hpp"

namespace machine {

class ManualLoop {
  protected:
    ManualClock clock_;
    std::mutex lock_;
    TimerQueue timers_{clock_};
    EventLoop loop_{lock_, timers_};
};

} // namespace machine
