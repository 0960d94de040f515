// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/control.hpp"
#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "hwv/error.hpp"
#include "hwv/observer.hpp"
#include "hwvctl/control_requests.hpp"
#include "hwvctl/local_socket.hpp"

namespace hwvctl {
namespace {

constexpr std::size_t longest_line = 64 << 10, largest_body = 64 << 20;
constexpr timeval patience{.tv_sec = 10, .tv_usec = 0};
constexpr std::chrono::milliseconds between_attempts{10};

LocalAddress address_of(std::uint64_t vm) {
    return LocalAddress{fmt::format("hwvctl/control/{}", vm)};
}

// A peer that stands still holds nobody up for longer.
void limit_waiting(const hwv::Fd &socket) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

void send_all(const hwv::Fd &socket, const void *data, std::size_t size) {
    const auto *at = static_cast<const char *>(data);
    while (size > 0) {
        const ssize_t sent = ::send(socket.get(), at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) hwv::fail("send to the other side");
        at += sent;
        size -= static_cast<std::size_t>(sent);
    }
}

bool receive_all(const hwv::Fd &socket, void *data, std::size_t size) {
    auto *at = static_cast<char *>(data);
    while (size > 0) {
        const ssize_t got = ::recv(socket.get(), at, size, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) hwv::fail("receive from the other side");
        if (got == 0) return false;
        at += got;
        size -= static_cast<std::size_t>(got);
    }
    return true;
}

// Up to the newline; looks first, so that nothing of the body is taken.
std::optional<std::string> receive_line(const hwv::Fd &socket) {
    std::string line;
    std::array<char, 4096> piece{};
    while (line.size() < longest_line) {
        const ssize_t seen = ::recv(socket.get(), piece.data(), piece.size(), MSG_PEEK);
        if (seen < 0 && errno == EINTR) continue;
        if (seen < 0) hwv::fail("receive from the other side");
        if (seen == 0) return std::nullopt;
        const auto *end = std::find(piece.data(), piece.data() + seen, '\n');
        const bool complete = end != piece.data() + seen;
        const auto size = static_cast<std::size_t>(end - piece.data());
        if (!receive_all(socket, piece.data(), size + complete)) return std::nullopt;
        line.append(piece.data(), size);
        if (complete) return line;
    }
    return std::nullopt;
}

} // namespace

void send_control(const hwv::Fd &socket, ControlMessage message) {
    message.head["protocol"] = control_protocol;
    if (!message.body.empty()) message.head["bytes"] = message.body.size();
    // A guest's screen may hold anything; what is no UTF-8 is replaced.
    const std::string line =
        message.head.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    send_all(socket, line.data(), line.size());
    send_all(socket, message.body.data(), message.body.size());
}

std::optional<ControlMessage> receive_control(const hwv::Fd &socket) {
    const auto line = receive_line(socket);
    if (!line) return std::nullopt;
    ControlMessage message{nlohmann::json::parse(*line, nullptr, false), {}};
    if (!message.head.is_object()) return std::nullopt;
    const auto bytes = message.head.find("bytes");
    if (bytes == message.head.end()) return message;
    if (!bytes->is_number_unsigned() || bytes->get<std::uint64_t>() > largest_body)
        return std::nullopt;
    message.body.resize(bytes->get<std::size_t>());
    if (!receive_all(socket, message.body.data(), message.body.size())) return std::nullopt;
    return message;
}

ControlServer::ControlServer(std::uint64_t vm, Controlled controlled)
    : controlled_{std::move(controlled)},
      listener_{local_socket()},
      stop_{::eventfd(0, EFD_CLOEXEC)} {
    const LocalAddress address = address_of(vm);
    if (::bind(listener_.get(), address.get(), address.bytes) != 0 ||
        ::listen(listener_.get(), 8) != 0 || !stop_)
        hwv::fail("listen for other commands");
    thread_ = std::thread{[this] { serve(); }};
}

ControlServer::~ControlServer() {
    const std::uint64_t one = 1;
    if (::write(stop_.get(), &one, sizeof one) == sizeof one) thread_.join();
}

void ControlServer::serve() {
    for (;;) {
        std::array<pollfd, 2> polls{{{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
        ::poll(polls.data(), polls.size(), -1);
        if (polls[1].revents) return;
        if (!polls[0].revents) continue;
        const hwv::Fd caller{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        if (!caller) continue;
        try {
            talk(caller);
        } catch (const std::exception &) { // the caller's loss: the guest goes on
        }
    }
}

void ControlServer::talk(const hwv::Fd &caller) {
    limit_waiting(caller);
    const uid_t uid = peer_of(caller).uid;
    if (uid != 0 && uid != ::geteuid()) {
        send_control(caller, {{{"ok", false}, {"error", "the VM is another user's"}}, {}});
        return;
    }
    for (;;) {
        std::array<pollfd, 2> polls{{{caller.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
        if (::poll(polls.data(), polls.size(), static_cast<int>(patience.tv_sec) * 1000) <= 0 ||
            polls[1].revents)
            return;
        const auto request = receive_control(caller);
        if (!request) return;
        send_control(caller, answer_control(controlled_, request->head));
    }
}

ControlClient::ControlClient(const hwv_vm_entry &vm) : socket_{local_socket()} {
    limit_waiting(socket_);
    const LocalAddress address = address_of(vm.id);
    const std::string called = fmt::format("VM {} {}", vm.id, hwv::shown_name(vm));
    if (::connect(socket_.get(), address.get(), address.bytes) != 0)
        throw hwv::Error{
            errno, called + ": its launcher does not listen: it starts, or is no `hwvctl run` of "
                            "this version, or in another network namespace"};
    // Anybody can take a name in the abstract name space.
    if (const ucred peer = peer_of(socket_); peer.uid != vm.uid)
        throw hwv::Error{EPERM, called + ": somebody else listens in its name"};
}

ControlMessage ControlClient::ask(const std::string &request, nlohmann::json head,
                                  std::chrono::milliseconds how_long) {
    head["request"] = request;
    for (;;) {
        send_control(socket_, {head, {}});
        auto reply = receive_control(socket_);
        if (!reply) throw hwv::Error{EPROTO, "the VM's launcher hung up"};
        if (reply->head.value("ok", false)) return std::move(*reply);
        if (!reply->head.value("retry", false) || how_long <= between_attempts)
            throw hwv::Error{EPROTO, reply->head.value("error", std::string{"refused"})};
        std::this_thread::sleep_for(between_attempts);
        how_long -= between_attempts;
    }
}

std::uint64_t own_vm() {
    for (const hwv_vm_entry &vm : hwv::list_vms())
        if (vm.pid == static_cast<std::uint32_t>(::getpid())) return vm.id;
    throw hwv::Error{ENOENT, "this process has no VM"};
}

} // namespace hwvctl
