// SPDX-License-Identifier: GPL-2.0-only
#include "machine/event_loop.hpp"

#include <chrono>
#include <condition_variable>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace machine {
namespace {

class EventLoopTest : public testing::Test {
  protected:
    // Waits under the machine's lock, as a vCPU would see it; far longer than anything here takes.
    template <typename Condition>
    bool eventually(Condition condition) {
        std::unique_lock guard(lock_);
        return changed_.wait_for(guard, std::chrono::seconds(20), condition);
    }
    void post(Fd &event) {
        const std::uint64_t one = 1;
        ASSERT_EQ(write(event.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    }
    static void drain(Fd &event) {
        std::uint64_t value = 0;
        EXPECT_EQ(read(event.get(), &value, sizeof value), static_cast<ssize_t>(sizeof value));
    }

    std::mutex lock_;
    std::condition_variable changed_;
    SystemClock clock_;
    TimerQueue timers_{clock_};
    EventLoop loop_{lock_, timers_};
};

TEST_F(EventLoopTest, TimersFireOnTheLoopsThread) {
    unsigned fired = 0;
    std::thread::id on;
    Timer *self = nullptr;
    Timer timer(timers_, [&] {
        on = std::this_thread::get_id();
        if (++fired < 3) self->arm(clock_.now() + 1'000'000);
        changed_.notify_all();
    });
    self = &timer;
    loop_.start();
    {
        const std::lock_guard guard(lock_);
        timer.arm(clock_.now() + 1'000'000);
    }
    EXPECT_TRUE(eventually([&] { return fired == 3; }));
    EXPECT_NE(on, std::this_thread::get_id());
    loop_.stop();
}

TEST_F(EventLoopTest, AnEarlierDeadlineReplacesALaterOne) {
    bool late = false;
    bool early = false;
    Timer far(timers_, [&] { late = true; });
    Timer near(timers_, [&] {
        early = true;
        changed_.notify_all();
    });
    loop_.start();
    {
        const std::lock_guard guard(lock_);
        far.arm(clock_.now() + 3600 * ns_per_second);
        near.arm(clock_.now() + 1'000'000);
    }
    EXPECT_TRUE(eventually([&] { return early; }));
    loop_.stop();
    EXPECT_FALSE(late);
}

TEST_F(EventLoopTest, WatchesReportMuteAndEnd) {
    Fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    unsigned seen = 0;
    const auto watch = loop_.watch(event.get(), EPOLLIN, [&](std::uint32_t events) {
        EXPECT_NE(events & EPOLLIN, 0u);
        drain(event);
        ++seen;
        changed_.notify_all();
    });
    ASSERT_NE(watch, 0u);
    loop_.start();
    post(event);
    EXPECT_TRUE(eventually([&] { return seen == 1; }));
    {
        const std::lock_guard guard(lock_);
        loop_.change(watch, 0);
    }
    post(event);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    {
        const std::lock_guard guard(lock_);
        EXPECT_EQ(seen, 1u);
        loop_.change(watch, EPOLLIN);
    }
    EXPECT_TRUE(eventually([&] { return seen == 2; }));
    {
        const std::lock_guard guard(lock_);
        loop_.unwatch(watch);
        loop_.change(watch, EPOLLIN); // stale: ignored
    }
    post(event);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    loop_.stop();
    EXPECT_EQ(seen, 2u);
}

TEST_F(EventLoopTest, ACallbackMayEndItselfAndOthers) {
    Fd first(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    Fd second(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    std::array<EventLoop::Watch, 2> watches{};
    unsigned calls = 0;
    // Both are ready in the same batch; whichever comes first ends both.
    const auto end_both = [&](std::uint32_t) {
        ++calls;
        loop_.unwatch(watches[0]);
        loop_.unwatch(watches[1]);
        changed_.notify_all();
    };
    watches[0] = loop_.watch(first.get(), EPOLLIN, end_both);
    watches[1] = loop_.watch(second.get(), EPOLLIN, end_both);
    loop_.start();
    EXPECT_TRUE(eventually([&] { return calls > 0; }));
    loop_.stop();
    EXPECT_EQ(calls, 1u);
}

TEST_F(EventLoopTest, StartsAgainAfterStop) {
    loop_.stop(); // not started: nothing happens
    loop_.start();
    loop_.start();
    loop_.stop();
    Fd event(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    bool seen = false;
    loop_.watch(event.get(), EPOLLIN, [&](std::uint32_t) {
        drain(event);
        seen = true;
        changed_.notify_all();
    });
    loop_.start();
    EXPECT_TRUE(eventually([&] { return seen; }));
}

TEST_F(EventLoopTest, PlainFilesCannotBeWatched) {
    char name[] = "/tmp/hwv-test-XXXXXX";
    const Fd file(mkstemp(name));
    ASSERT_TRUE(static_cast<bool>(file));
    unlink(name);
    EXPECT_EQ(loop_.watch(file.get(), EPOLLIN, [](std::uint32_t) {}), 0u);
}

} // namespace
} // namespace machine
