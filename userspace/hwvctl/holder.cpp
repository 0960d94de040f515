// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/holder.hpp"
#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include "hwv/error.hpp"
#include "hwvctl/local_socket.hpp"

namespace hwvctl {
namespace {

constexpr int patience_ms = 10'000;
constexpr char ask_end = 'e'; // what a holder is asked for

LocalAddress address_of(std::uint64_t vm) {
    return LocalAddress{fmt::format("hwvctl/policy/{}/{}", ::geteuid(), vm)};
}

bool same_user(const hwv::Fd &socket) { return peer_of(socket).uid == ::geteuid(); }

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

Holder::Holder(std::uint64_t vm) : socket_{local_socket()} {
    const LocalAddress address = address_of(vm);
    if (::bind(socket_.get(), address.get(), address.bytes) == 0) {
        if (::listen(socket_.get(), 4) != 0) hwv::fail("listen for later commands");
        return;
    }
    if (errno != EADDRINUSE) hwv::fail("name a socket after the VM");
    socket_ = {};
}

void Holder::stay(hwv::Observer &observer, const std::function<void(hwv::Observer &)> &stopped) {
    const pid_t child = ::fork();
    if (child < 0) hwv::fail("leave a process behind");
    if (child > 0) return;
    detach_from_terminal();
    keep_only(socket_.get(), observer.fd());
    try {
        serve(observer, stopped);
    } catch (const hwv::Error &) { // the VM has ended meanwhile
        ::_exit(1);
    }
}

void Holder::serve(hwv::Observer &observer, const std::function<void(hwv::Observer &)> &stopped) {
    for (;;) {
        pollfd polls[] = {{observer.fd(), POLLPRI, 0}, {socket_.get(), POLLIN, 0}};
        ::poll(polls, 2, 500);
        if (polls[0].revents & POLLHUP) ::_exit(0);
        if (polls[0].revents & POLLPRI) stopped(observer);
        if (!polls[1].revents) continue;
        const hwv::Fd caller{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        char request = 0;
        if (!caller || !same_user(caller) || !readable(caller, patience_ms) ||
            ::recv(caller.get(), &request, 1, 0) != 1 || request != ask_end)
            continue;
        socket_ = {};
        observer = hwv::Observer{hwv::Fd{}}; // undoes what it did
        ::send(caller.get(), &request, 1, MSG_NOSIGNAL);
        ::_exit(0);
    }
}

bool end_holder(std::uint64_t vm) {
    const hwv::Fd socket = local_socket();
    const LocalAddress address = address_of(vm);
    if (::connect(socket.get(), address.get(), address.bytes) != 0 || !same_user(socket))
        return false;
    if (::send(socket.get(), &ask_end, 1, MSG_NOSIGNAL) != 1) return false;
    if (!readable(socket, patience_ms))
        throw hwv::Error{ETIMEDOUT, "the process in the background does not answer"};
    char answer = 0;
    return ::recv(socket.get(), &answer, 1, 0) == 1;
}

} // namespace hwvctl
