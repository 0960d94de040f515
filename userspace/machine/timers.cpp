// SPDX-License-Identifier: GPL-2.0-only
#include "machine/timers.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace machine {

namespace {

std::int64_t read_clock(clockid_t id) {
    timespec time{};
    clock_gettime(id, &time);
    return static_cast<std::int64_t>(time.tv_sec) * static_cast<std::int64_t>(ns_per_second) +
           time.tv_nsec;
}

} // namespace

std::uint64_t SystemClock::now() const noexcept {
    return static_cast<std::uint64_t>(read_clock(CLOCK_MONOTONIC));
}

std::int64_t SystemClock::wall() const noexcept { return read_clock(CLOCK_REALTIME); }

Timer::Timer(TimerQueue &queue, std::function<void()> fire)
    : queue_(queue), fire_(std::move(fire)) {
    queue_.timers_.push_back(this);
}

Timer::~Timer() { std::erase(queue_.timers_, this); }

void Timer::arm(std::uint64_t deadline) {
    deadline_ = std::min(deadline, never - 1);
    queue_.changed();
}

void Timer::disarm() {
    deadline_ = never;
    queue_.changed();
}

void TimerQueue::on_change(std::function<void(std::uint64_t)> hook) {
    hook_ = std::move(hook);
    announced_ = Timer::never;
    changed();
}

std::uint64_t TimerQueue::next() const {
    std::uint64_t earliest = Timer::never;
    for (const Timer *timer : timers_)
        earliest = std::min(earliest, timer->deadline_);
    return earliest;
}

void TimerQueue::changed() {
    const std::uint64_t earliest = next();
    if (earliest == announced_) return;
    announced_ = earliest;
    if (hook_) hook_(earliest);
}

void TimerQueue::run_due() {
    const std::uint64_t now = clock_.now();
    std::vector<std::pair<std::uint64_t, Timer *>> due;
    for (Timer *timer : timers_)
        if (timer->deadline_ <= now) due.emplace_back(timer->deadline_, timer);
    std::sort(due.begin(), due.end());
    for (const auto &[deadline, timer] : due) {
        // An earlier one may have disarmed or moved it meanwhile.
        if (timer->deadline_ != deadline) continue;
        timer->deadline_ = Timer::never;
        timer->fire_();
    }
    // The wake-up is spent: whatever is due next has to be announced again, even if unchanged.
    announced_ = Timer::never;
    changed();
}

} // namespace machine
