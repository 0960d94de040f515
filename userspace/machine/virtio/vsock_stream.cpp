// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/vsock_stream.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fmt/format.h>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utility>

namespace machine::virtio::vsock {

namespace {

constexpr std::string_view greeting_word = "CONNECT ";
constexpr std::size_t segments_at_once = 16;

bool later(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

// The first segments of `room`, cut to `most` bytes.
std::size_t cut(std::span<const iovec> room, std::size_t most, std::span<iovec> out) {
    std::size_t count = 0;
    for (const iovec &segment : room) {
        if (most == 0 || count == out.size()) break;
        out[count] = {segment.iov_base, std::min(segment.iov_len, most)};
        most -= out[count++].iov_len;
    }
    return count;
}

} // namespace

Stream::Stream(Fd socket)
    : socket_(std::move(socket)),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(buffer_bytes)) {}

Stream::Stream(Fd socket, const Ports &ports, const Header &request) : Stream(std::move(socket)) {
    ports_ = ports;
    state_ = State::open;
    tell_response_ = true;
    guest_space_ = request.space;
    guest_taken_ = request.taken;
}

// "CONNECT PORT" and a newline, and not a byte of what may follow it.
bool Stream::wants(std::uint32_t &guest_port) noexcept {
    char *said = greeting_.data();
    const ssize_t seen = recv(fd(), said + greeting_bytes_, greeting_.size() - greeting_bytes_,
                              MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0 && later(errno)) return false;
    failed_ = seen <= 0;
    if (failed_) return false;
    const std::string_view fresh{said + greeting_bytes_, static_cast<std::size_t>(seen)};
    const std::size_t newline = fresh.find('\n');
    const bool complete = newline != std::string_view::npos;
    const std::size_t mine = complete ? newline + 1 : fresh.size();
    failed_ = recv(fd(), said + greeting_bytes_, mine, MSG_DONTWAIT) != static_cast<ssize_t>(mine);
    greeting_bytes_ += mine;
    if (failed_ || !complete) {
        failed_ = failed_ || greeting_bytes_ == greeting_.size();
        return false;
    }
    const std::string_view line{said, greeting_bytes_ - 1};
    failed_ = !line.starts_with(greeting_word);
    if (failed_) return false;
    const char *end = line.data() + line.size();
    const auto [rest, error] = std::from_chars(line.data() + greeting_word.size(), end, guest_port);
    failed_ = error != std::errc{} || rest != end;
    return !failed_;
}

void Stream::ask(const Ports &ports) noexcept {
    ports_ = ports;
    state_ = State::asked;
    tell_request_ = true;
}

void Stream::ready(std::uint32_t events) noexcept {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
    if (held_ > 0) flush();
    // Who closes both halves after the first one was told of is told of once more.
    if (hung_up_ && ended_) tell_over(sends_no_more | receives_no_more);
}

// 0: nothing new can come of it.
std::uint32_t Stream::events() const {
    if (hung_up_) return 0;
    const bool input = state_ == State::greeting || (!readable_ && !ended_);
    return EPOLLONESHOT | EPOLLHUP | (input ? EPOLLIN : 0u) | (held_ > 0 ? EPOLLOUT : 0u);
}

bool Stream::receive(const Header &header, Chain &payload) noexcept {
    guest_space_ = header.space;
    guest_taken_ = header.taken;
    // A guest that says it took more than it was sent has no room, rather than all of it.
    if (sent_ - guest_taken_ > guest_space_) guest_taken_ = sent_ - guest_space_;
    if (credit() > 0) credit_asked_ = false;
    switch (header.operation) {
    case Operation::response: {
        if (state_ != State::asked || tell_request_) return false;
        state_ = State::open;
        std::array<char, 32> line;
        const auto end = fmt::format_to_n(line.data(), line.size(), "OK {}\n", ports_.host);
        return send(fd(), line.data(), end.size, MSG_DONTWAIT | MSG_NOSIGNAL) ==
               static_cast<ssize_t>(end.size);
    }
    case Operation::data: return state_ == State::open && keep(header.length, payload);
    case Operation::shutdown:
        if (state_ != State::open) return false;
        guest_over_ |= header.flags & (receives_no_more | sends_no_more);
        end_writing();
        return true;
    case Operation::credit_request: tell_credit_ = true; return true;
    case Operation::credit_update: return true;
    default: return false;
    }
}

// Into the buffer, of whose room the guest was told.
bool Stream::keep(std::uint32_t length, Chain &payload) noexcept {
    if ((guest_over_ & sends_no_more) != 0 || length > buffer_bytes - held_) return false;
    const std::uint32_t at = (first_ + held_) % buffer_bytes;
    const std::uint32_t before_end = std::min(length, buffer_bytes - at);
    if (!payload.take({buffer_.get() + at, before_end}) ||
        !payload.take({buffer_.get(), length - before_end}))
        return false;
    held_ += length;
    flush();
    return true;
}

void Stream::flush() noexcept {
    while (held_ > 0) {
        const std::uint32_t before_end = std::min(held_, buffer_bytes - first_);
        std::array<iovec, 2> pieces{
            {{buffer_.get() + first_, before_end}, {buffer_.get(), held_ - before_end}}};
        msghdr message{};
        message.msg_iov = pieces.data();
        message.msg_iovlen = pieces.size();
        const ssize_t sent = sendmsg(fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && later(errno)) return;
        if (sent <= 0) { // nobody reads it; what the host has sent, still arrives
            taken_ += std::exchange(held_, 0);
            tell_over(receives_no_more);
            break;
        }
        first_ = (first_ + static_cast<std::uint32_t>(sent)) % buffer_bytes;
        held_ -= static_cast<std::uint32_t>(sent);
        taken_ += static_cast<std::uint32_t>(sent);
    }
    // Half of the buffer is told of without being asked; less, with whatever else is sent.
    if (taken_ - taken_told_ >= buffer_bytes / 2) tell_credit_ = true;
    end_writing();
}

// The guest's half of the stream ends when all of it has arrived.
void Stream::end_writing() noexcept {
    if (held_ > 0) return;
    if ((guest_over_ & sends_no_more) != 0) shutdown(fd(), SHUT_WR);
    if ((guest_over_ & receives_no_more) != 0 && !ended_) {
        shutdown(fd(), SHUT_RD);
        ended_ = true;
    }
}

bool Stream::has_packet() const {
    if (tell_request_ || tell_response_ || tell_credit_ || tell_shutdown_ != 0) return true;
    return state_ == State::open && readable_ && !ended_ && (credit() > 0 || !credit_asked_);
}

bool Stream::next(Header &header, std::span<const iovec> room) noexcept {
    header.from_port = ports_.host;
    header.to_port = ports_.guest;
    header.space = buffer_bytes;
    if (std::exchange(tell_request_, false)) {
        header.operation = Operation::request;
    } else if (std::exchange(tell_response_, false)) {
        header.operation = Operation::response;
    } else if (tell_shutdown_ != 0) {
        header.operation = Operation::shutdown;
        header.flags = std::exchange(tell_shutdown_, 0);
    } else if (tell_credit_ || !read_socket(header, room)) {
        if (!std::exchange(tell_credit_, false)) return false;
        header.operation = Operation::credit_update;
    }
    header.taken = taken_told_ = taken_;
    return true;
}

// Data, what there is to say instead of it, or nothing.
bool Stream::read_socket(Header &header, std::span<const iovec> room) noexcept {
    if (state_ != State::open || !readable_ || ended_) return false;
    if (credit() == 0) {
        header.operation = Operation::credit_request;
        return !std::exchange(credit_asked_, true);
    }
    std::array<iovec, segments_at_once> pieces;
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = cut(room, credit(), pieces);
    const ssize_t got = recvmsg(fd(), &message, MSG_DONTWAIT);
    if (got < 0 && later(errno)) {
        readable_ = hung_up_;
        return false;
    }
    if (got <= 0) {
        ended_ = true;
        tell_over(sends_no_more | (hung_up_ || got < 0 ? receives_no_more : 0));
        header.operation = Operation::shutdown;
        header.flags = std::exchange(tell_shutdown_, 0);
        return header.flags != 0;
    }
    header.operation = Operation::data;
    header.length = static_cast<std::uint32_t>(got);
    sent_ += header.length;
    return true;
}

// Each side once.
void Stream::tell_over(std::uint32_t sides) noexcept {
    if ((sides & ~told_shutdown_) == 0) return;
    told_shutdown_ |= sides;
    tell_shutdown_ = told_shutdown_;
}

bool Stream::over() const {
    return failed_ || (guest_over_ == (sends_no_more | receives_no_more) && held_ == 0);
}

} // namespace machine::virtio::vsock
