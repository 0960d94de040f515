// SPDX-License-Identifier: GPL-2.0-only
// user.cpp - a network of the guest's own, 10.0.2.0/24, behind sockets of this process: libslirp
// answers DHCP and DNS, and 10.0.2.2 is the host.
#include <arpa/inet.h>
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>

#include <slirp/libslirp.h>

#include "machine/clock.hpp"
#include "machine/library.hpp"
#include "machine/net/link.hpp"

namespace machine::net {

namespace {

constexpr std::uint32_t network = 0x0a000200, mask = 0xffffff00;
constexpr std::uint32_t host = network + 2, name_server = network + 3, guest = network + 15;

in_addr address(std::uint32_t number) { return {htonl(number)}; }

// What is used of libslirp.
struct Stack {
    Library library{"libslirp.so.0", "--net user", "libslirp0"};
    decltype(&::slirp_new) slirp_new = library["slirp_new"];
    decltype(&::slirp_cleanup) slirp_cleanup = library["slirp_cleanup"];
    decltype(&::slirp_input) slirp_input = library["slirp_input"];
    decltype(&::slirp_add_hostfwd) slirp_add_hostfwd = library["slirp_add_hostfwd"];
    decltype(&::slirp_pollfds_fill) slirp_pollfds_fill = library["slirp_pollfds_fill"];
    decltype(&::slirp_pollfds_poll) slirp_pollfds_poll = library["slirp_pollfds_poll"];
};

// The stack has sockets to wait for, other ones each time: a thread of its own polls them, without
// the machine's lock, and takes it to work on what came.
class User final : public Link {
  public:
    User(const NetOptions &options, std::mutex &lock);
    ~User() override;
    void send(std::span<const std::byte> frame) noexcept override {
        stack_.slirp_input(slirp_, reinterpret_cast<const std::uint8_t *>(frame.data()),
                           static_cast<int>(frame.size()));
        wake(); // for sockets that this made
    }

  private:
    struct Timer {
        SlirpTimerCb callback;
        void *argument;
        std::int64_t due; // in ms; negative: never
    };
    static User &self(void *opaque) { return *static_cast<User *>(opaque); }
    static SlirpCb callbacks();
    void forward(const Forward &rule);
    // Under the lock; what comes before the thread has it is served along.
    void wake() noexcept {
        if (!woken_) eventfd_write(wake_.get(), 1);
        woken_ = true;
    }
    void run() noexcept;
    int add_poll(int fd, int events);
    int ready_events(int index) const;
    std::uint32_t fill();
    void run_timers();
    std::int64_t now_ms() const { return static_cast<std::int64_t>(clock_.now() / 1'000'000); }

    const Stack stack_;
    std::mutex &lock_;
    SystemClock clock_;
    Fd wake_;
    SlirpCb callbacks_ = callbacks();
    Slirp *slirp_ = nullptr;
    std::vector<std::unique_ptr<Timer>> timers_;
    std::vector<pollfd> polled_;
    bool stop_ = false, woken_ = false;
    std::thread thread_;
};

SlirpCb User::callbacks() {
    SlirpCb calls{};
    calls.send_packet = [](const void *frame, size_t size, void *opaque) -> ssize_t {
        Receiver *receiver = self(opaque).receiver_;
        if (receiver != nullptr) receiver->receive({static_cast<const std::byte *>(frame), size});
        return static_cast<ssize_t>(size);
    };
    calls.guest_error = [](const char *, void *) {};
    calls.clock_get_ns = [](void *opaque) {
        return static_cast<std::int64_t>(self(opaque).clock_.now());
    };
    calls.timer_new = [](SlirpTimerCb callback, void *argument, void *opaque) -> void * {
        auto &timers = self(opaque).timers_;
        timers.push_back(std::make_unique<Timer>(Timer{callback, argument, -1}));
        return timers.back().get();
    };
    calls.timer_free = [](void *timer, void *opaque) {
        std::erase_if(self(opaque).timers_, [timer](const auto &t) { return t.get() == timer; });
    };
    calls.timer_mod = [](void *timer, std::int64_t due, void *opaque) {
        static_cast<Timer *>(timer)->due = due;
        self(opaque).wake();
    };
    calls.register_poll_fd = [](int, void *) {};
    calls.unregister_poll_fd = [](int, void *) {};
    calls.notify = [](void *opaque) { self(opaque).wake(); };
    return calls;
}

User::User(const NetOptions &options, std::mutex &lock)
    : lock_(lock), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
    SlirpConfig config{};
    config.version = 4;
    config.restricted = options.restrict;
    config.in_enabled = true;
    config.vnetwork = address(network);
    config.vnetmask = address(mask);
    config.vhost = address(host);
    config.vdhcp_start = address(guest);
    config.vnameserver = address(name_server);
    config.vhostname = "guest";
    slirp_ = stack_.slirp_new(&config, &callbacks_, this);
    if (slirp_ == nullptr) throw std::runtime_error("network user: libslirp does not start");
    try {
        for (const Forward &rule : options.forwards)
            forward(rule);
        thread_ = std::thread([this] { run(); });
    } catch (...) {
        stack_.slirp_cleanup(slirp_);
        throw;
    }
}

User::~User() {
    {
        const std::lock_guard guard(lock_);
        stop_ = true;
        wake();
    }
    thread_.join();
    stack_.slirp_cleanup(slirp_);
}

void User::forward(const Forward &rule) {
    if (stack_.slirp_add_hostfwd(slirp_, rule.udp, address(rule.host_address), rule.host_port,
                                 address(rule.guest_address ? rule.guest_address : guest),
                                 rule.guest_port) != 0)
        throw std::runtime_error("network user: port " + std::to_string(rule.host_port) +
                                 " cannot be forwarded: " + std::system_category().message(errno));
}

int User::add_poll(int fd, int events) {
    short wanted = 0;
    if ((events & SLIRP_POLL_IN) != 0) wanted |= POLLIN;
    if ((events & SLIRP_POLL_OUT) != 0) wanted |= POLLOUT;
    if ((events & SLIRP_POLL_PRI) != 0) wanted |= POLLPRI;
    polled_.push_back({fd, wanted, 0});
    return static_cast<int>(polled_.size()) - 1;
}

int User::ready_events(int index) const {
    const short got = polled_.at(static_cast<std::size_t>(index)).revents;
    int events = 0;
    if ((got & POLLIN) != 0) events |= SLIRP_POLL_IN;
    if ((got & POLLOUT) != 0) events |= SLIRP_POLL_OUT;
    if ((got & POLLPRI) != 0) events |= SLIRP_POLL_PRI;
    if ((got & POLLERR) != 0) events |= SLIRP_POLL_ERR;
    if ((got & POLLHUP) != 0) events |= SLIRP_POLL_HUP;
    return events;
}

// What to wait for, and how many ms at most.
std::uint32_t User::fill() {
    constexpr std::uint32_t longest = 60'000;
    std::uint32_t timeout = longest;
    polled_.assign(1, {wake_.get(), POLLIN, 0});
    stack_.slirp_pollfds_fill(
        slirp_, &timeout,
        [](int fd, int events, void *opaque) { return self(opaque).add_poll(fd, events); }, this);
    for (const auto &timer : timers_)
        if (timer->due >= 0)
            timeout = static_cast<std::uint32_t>(
                std::clamp<std::int64_t>(timer->due - now_ms(), 0, timeout));
    return timeout;
}

void User::run_timers() {
    // A callback may add or remove timers.
    for (std::size_t i = 0; i < timers_.size(); ++i) {
        Timer &timer = *timers_[i];
        if (timer.due < 0 || timer.due > now_ms()) continue;
        timer.due = -1;
        timer.callback(timer.argument);
    }
}

void User::run() noexcept {
    std::unique_lock guard(lock_);
    while (!stop_) {
        const auto timeout = static_cast<int>(fill());
        guard.unlock();
        const int ready = poll(polled_.data(), polled_.size(), timeout);
        guard.lock();
        eventfd_t count = 0;
        eventfd_read(wake_.get(), &count);
        woken_ = false;
        stack_.slirp_pollfds_poll(
            slirp_, ready < 0,
            [](int index, void *opaque) { return self(opaque).ready_events(index); }, this);
        run_timers();
    }
}

} // namespace

std::unique_ptr<Link> open_user(const NetOptions &options, std::mutex &lock) {
    return std::make_unique<User>(options, lock);
}

} // namespace machine::net
