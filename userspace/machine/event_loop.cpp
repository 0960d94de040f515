// SPDX-License-Identifier: GPL-2.0-only
#include "machine/event_loop.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace machine {

namespace {

constexpr std::uint64_t timer_id = 1;
constexpr std::uint64_t stop_id = 2;
constexpr std::uint64_t first_watch_id = 3;

Fd checked(int fd, const char *what) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    return Fd(fd);
}

bool add(int epoll, int fd, std::uint32_t events, std::uint64_t id) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = id;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

} // namespace

Fd::~Fd() {
    if (fd_ >= 0) close(fd_);
}

EventLoop::EventLoop(std::mutex &lock, TimerQueue &timers)
    : lock_(lock),
      timers_(timers),
      epoll_(checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      timer_(
          checked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create")),
      wake_(checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      next_watch_(first_watch_id) {
    if (!add(epoll_.get(), timer_.get(), EPOLLIN, timer_id) ||
        !add(epoll_.get(), wake_.get(), EPOLLIN, stop_id))
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    const std::lock_guard guard(lock_);
    timers_.on_change([this](std::uint64_t deadline) { arm(deadline); });
}

EventLoop::~EventLoop() {
    stop();
    const std::lock_guard guard(lock_);
    timers_.on_change(nullptr);
}

void EventLoop::start() {
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void EventLoop::stop() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    // An eventfd takes a write of eight bytes unless its counter overflows.
    if (write(wake_.get(), &one, sizeof one) != sizeof one) std::perror("hwv: event loop");
    thread_.join();
    std::uint64_t drained = 0;
    static_cast<void>(!read(wake_.get(), &drained, sizeof drained));
}

void EventLoop::arm(std::uint64_t deadline) {
    itimerspec when{};
    // All zero means disarmed to timerfd, so time zero becomes the first nanosecond.
    if (deadline != Timer::never) {
        const std::uint64_t ns = deadline == 0 ? 1 : deadline;
        when.it_value.tv_sec = static_cast<time_t>(ns / ns_per_second);
        when.it_value.tv_nsec = static_cast<long>(ns % ns_per_second);
    }
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

EventLoop::Watch EventLoop::watch(int fd, std::uint32_t events, Callback callback) {
    const Watch id = next_watch_++;
    if (!add(epoll_.get(), fd, events, id)) return 0;
    watches_.emplace(id, Entry{fd, std::move(callback)});
    return id;
}

void EventLoop::change(Watch watch, std::uint32_t events) {
    const auto entry = watches_.find(watch);
    if (entry == watches_.end()) return;
    epoll_event event{};
    event.events = events;
    event.data.u64 = watch;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, entry->second.fd, &event);
}

void EventLoop::unwatch(Watch watch) {
    const auto entry = watches_.find(watch);
    if (entry == watches_.end()) return;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->second.fd, nullptr);
    watches_.erase(entry);
}

void EventLoop::dispatch(std::uint64_t id, std::uint32_t events) {
    if (id == timer_id) {
        std::uint64_t expirations = 0;
        static_cast<void>(!read(timer_.get(), &expirations, sizeof expirations));
        timers_.run_due();
        return;
    }
    // Looked up again for each event: an earlier callback of this batch may have removed it.
    const auto entry = watches_.find(id);
    if (entry == watches_.end()) return;
    const Callback callback = entry->second.callback; // survives its own removal
    callback(events);
}

void EventLoop::run() {
    while (turn(-1)) {}
}

void EventLoop::run_ready() { turn(0); }

bool EventLoop::turn(int timeout_ms) {
    std::array<epoll_event, 16> events{};
    const int ready =
        epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
    if (ready < 0) return errno == EINTR;
    const std::lock_guard guard(lock_);
    for (int index = 0; index < ready; ++index) {
        const epoll_event &event = events[static_cast<std::size_t>(index)];
        if (event.data.u64 == stop_id) return false;
        dispatch(event.data.u64, event.events);
    }
    return true;
}

} // namespace machine
