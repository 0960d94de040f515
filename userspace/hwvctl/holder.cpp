// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/holder.hpp"
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "hwv/error.hpp"

namespace hwvctl {
namespace {

constexpr int patience_ms = 10'000;

// In the abstract name space: it is gone with its process.
struct Address {
    Address(Held what, std::uint64_t vm) {
        const std::string name = fmt::format(
            "hwvctl/{}/{}/{}", what == Held::pause ? "pause" : "policy", ::geteuid(), vm);
        std::memcpy(raw.sun_path + 1, name.data(), name.size());
        bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    }
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&raw); }
    sockaddr_un raw{.sun_family = AF_UNIX, .sun_path = {}};
    socklen_t bytes = 0;
};

hwv::Fd new_socket() {
    hwv::Fd out{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!out) hwv::fail("make a socket");
    return out;
}

// Anybody can take a name in the abstract name space and call.
bool same_user(const hwv::Fd &socket) {
    ucred peer{};
    socklen_t bytes = sizeof peer;
    return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           peer.uid == ::geteuid();
}

bool readable(const hwv::Fd &socket, int timeout_ms) {
    pollfd poll{.fd = socket.get(), .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, timeout_ms) > 0;
}

void detach_from_terminal() {
    ::setsid();
    if (::chdir("/") != 0) return;
    const hwv::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        ::dup2(null.get(), fd);
}

// Somebody may wait for the end of a pipe that this process inherited.
void keep_only(int a, int b) {
    const auto low = static_cast<unsigned>(std::min(a, b)),
               high = static_cast<unsigned>(std::max(a, b));
    if (low > 3) ::close_range(3, low - 1, 0);
    if (high > low + 1) ::close_range(low + 1, high - 1, 0);
    ::close_range(high + 1, ~0u, 0);
}

} // namespace

Holder::Holder(Held what, std::uint64_t vm) : socket_{new_socket()} {
    const Address address{what, vm};
    if (::bind(socket_.get(), address.get(), address.bytes) == 0) {
        if (::listen(socket_.get(), 4) != 0) hwv::fail("listen for later commands");
        return;
    }
    if (errno != EADDRINUSE) hwv::fail("name a socket after the VM");
    socket_ = {};
}

void Holder::stay(hwv::Observer &observer, const Duty &duty) {
    const pid_t child = ::fork();
    if (child < 0) hwv::fail("leave a process behind");
    if (child > 0) return;
    detach_from_terminal();
    keep_only(socket_.get(), observer.fd());
    try {
        serve(observer, duty);
    } catch (const hwv::Error &) { // the VM has ended meanwhile
        ::_exit(1);
    }
}

void Holder::serve(hwv::Observer &observer, const Duty &duty) {
    for (;;) {
        pollfd polls[] = {{observer.fd(), POLLPRI, 0}, {socket_.get(), POLLIN, 0}};
        ::poll(polls, 2, 500);
        if (polls[0].revents & POLLHUP) ::_exit(0);
        if ((polls[0].revents & POLLPRI) && duty.stopped) duty.stopped(observer);
        if (!polls[1].revents) continue;
        const hwv::Fd caller{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        char request = 0;
        if (!caller || !same_user(caller) || !readable(caller, patience_ms) ||
            ::recv(caller.get(), &request, 1, 0) != 1)
            continue;
        const std::string text = duty.answer ? duty.answer(observer, request) : std::string{};
        if (request == ask_end) {
            socket_ = {};
            observer = hwv::Observer{hwv::Fd{}}; // undoes what it did
        }
        ::send(caller.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (request == ask_end) ::_exit(0);
    }
}

std::optional<std::string> ask_holder(Held what, std::uint64_t vm, char request) {
    const hwv::Fd socket = new_socket();
    const Address address{what, vm};
    if (::connect(socket.get(), address.get(), address.bytes) != 0 || !same_user(socket))
        return std::nullopt;
    if (::send(socket.get(), &request, 1, MSG_NOSIGNAL) != 1) return std::nullopt;
    std::string out;
    char piece[1024];
    for (;;) {
        if (!readable(socket, patience_ms))
            throw hwv::Error{ETIMEDOUT, "the process in the background does not answer"};
        const ssize_t got = ::recv(socket.get(), piece, sizeof piece, 0);
        if (got <= 0) return out;
        out.append(piece, static_cast<std::size_t>(got));
    }
}

} // namespace hwvctl
