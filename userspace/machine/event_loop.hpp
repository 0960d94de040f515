// SPDX-License-Identifier: GPL-2.0-only
// The thread beside the vCPUs: runs timers when they are due and tells devices' host sides that a
// file descriptor is ready. Callbacks run with the machine's lock held.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "machine/timers.hpp"

namespace machine {

// A file descriptor that is closed with its owner.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd &operator=(Fd &&other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd();
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

class EventLoop {
  public:
    using Callback = std::function<void(std::uint32_t events)>;
    using Watch = std::uint64_t; // 0 is none

    // `lock` is the machine's lock and guards `timers`. Throws std::system_error.
    EventLoop(std::mutex &lock, TimerQueue &timers);
    ~EventLoop();
    EventLoop(const EventLoop &) = delete;
    EventLoop &operator=(const EventLoop &) = delete;

    TimerQueue &timers() { return timers_; }
    void start();
    // Joins the thread; not to be called from a callback or with the lock held.
    void stop();

    // What is ready now, by hand: for tests, which have no thread.
    void run_ready();

    // The following need the lock, or a loop that is not started. `events` are epoll's; 0 mutes the
    // watch. Returns 0 if the descriptor cannot be polled (a regular file always is ready).
    Watch watch(int fd, std::uint32_t events, Callback callback);
    void change(Watch watch, std::uint32_t events);
    // No callback of this watch runs after this.
    void unwatch(Watch watch);

  private:
    struct Entry {
        int fd;
        Callback callback;
    };
    void run();
    bool turn(int timeout_ms); // false: the loop is over
    void arm(std::uint64_t deadline);
    void dispatch(std::uint64_t id, std::uint32_t events);

    std::mutex &lock_;
    TimerQueue &timers_;
    Fd epoll_;
    Fd timer_;
    Fd wake_;
    std::map<Watch, Entry> watches_;
    Watch next_watch_;
    std::thread thread_;
};

} // namespace machine
