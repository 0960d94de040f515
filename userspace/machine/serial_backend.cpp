// SPDX-License-Identifier: GPL-2.0-only
#include "machine/serial_backend.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace machine {

namespace {

// Long enough to collect lines that a guest writes byte by byte, too short for a typist to notice.
constexpr std::uint64_t flush_delay_ns = 10'000'000;
constexpr std::size_t one_read = 64;

} // namespace

std::size_t BufferBackend::transmit(std::span<const std::uint8_t> bytes) noexcept {
    const std::size_t room = limit_ - std::min(limit_, output_.size());
    const std::size_t kept = std::min(room, bytes.size());
    output_.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(kept));
    return bytes.size();
}

void BufferBackend::type(const std::string &text) {
    input_ += text;
    feed();
}

void BufferBackend::feed() noexcept {
    if (port_ == nullptr) return;
    const std::size_t count = std::min(port_->receive_space(), input_.size());
    if (count == 0) return;
    const std::vector<std::uint8_t> bytes(input_.begin(),
                                          input_.begin() + static_cast<std::ptrdiff_t>(count));
    input_.erase(0, count);
    port_->receive(bytes);
}

StreamBackend::StreamBackend(EventLoop &loop, Blocked blocked)
    : loop_(loop), blocked_(blocked), flush_timer_(loop.timers(), [this] { flush(); }) {}

StreamBackend::~StreamBackend() { close(); }

void StreamBackend::open(int input, int output, std::function<void()> hang_up) {
    close();
    if (output >= 0 && input == output) {
        second_ = Fd(fcntl(output, F_DUPFD_CLOEXEC, 0));
        if (!second_) throw std::system_error(errno, std::generic_category(), "serial port");
        output = second_.get();
    }
    input_ = input;
    output_ = output;
    hang_up_ = std::move(hang_up);
    plain_file_ = false;
    struct stat about {};
    socket_ = fstat(output, &about) == 0 && S_ISSOCK(about.st_mode);
    listen();
}

void StreamBackend::close() noexcept {
    flush();
    mute();
    loop_.unwatch(std::exchange(output_watch_, 0));
    flush_timer_.disarm();
    buffered_ = 0;
    input_ = -1;
    output_ = -1;
    second_ = Fd();
    // What the guest could not send to this peer is lost with it, like everything until the next
    // one.
    if (std::exchange(starved_, false) && port_ != nullptr) port_->transmit_ready();
}

void StreamBackend::connect(SerialPort *port) noexcept {
    port_ = port;
    if (port == nullptr)
        mute();
    else
        receive_ready();
}

void StreamBackend::listen() noexcept {
    if (input_ < 0 || input_watch_ != 0 || port_ == nullptr || !wants_input()) return;
    if (!plain_file_) {
        input_watch_ = loop_.watch(input_, EPOLLIN, [this](std::uint32_t) { on_input(); });
        plain_file_ = input_watch_ == 0;
    }
    if (!plain_file_) return;
    while (wants_input() && pull()) {}
}

// A watch without interest would still report a hang-up, again and again; so it goes.
void StreamBackend::mute() noexcept { loop_.unwatch(std::exchange(input_watch_, 0)); }

void StreamBackend::receive_ready() noexcept {
    feed();
    listen();
}

void StreamBackend::on_input() noexcept {
    if (!wants_input() || !pull()) mute();
}

void StreamBackend::feed() noexcept {
    if (port_ == nullptr) return;
    const std::size_t count = std::min(port_->receive_space(), waiting_count_);
    if (count == 0) return;
    port_->receive(std::span(waiting_).first(count));
    std::copy(waiting_.begin() + static_cast<std::ptrdiff_t>(count),
              waiting_.begin() + static_cast<std::ptrdiff_t>(waiting_count_), waiting_.begin());
    waiting_count_ -= count;
}

// One read; false at the end of the input.
bool StreamBackend::pull() noexcept {
    std::array<std::uint8_t, one_read> bytes{};
    const std::size_t wanted = filter_ ? bytes.size() : std::min(bytes.size(), input_room());
    const ssize_t got = read(input_, bytes.data(), wanted);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return !plain_file_;
    if (got <= 0) {
        mute();
        input_ = -1;
        if (const auto hang_up = std::exchange(hang_up_, nullptr)) hang_up();
        return false;
    }
    auto typed = static_cast<std::size_t>(got);
    if (filter_) typed = filter_(std::span(bytes).first(typed));
    typed = std::min(typed, input_room());
    std::copy_n(bytes.begin(), typed,
                waiting_.begin() + static_cast<std::ptrdiff_t>(waiting_count_));
    waiting_count_ += typed;
    feed();
    return true;
}

std::size_t StreamBackend::transmit(std::span<const std::uint8_t> bytes) noexcept {
    if (output_ < 0) return bytes.size();
    // The port is here and need not be called; doing so from inside its own call would repeat
    // output.
    starved_ = false;
    if (buffered_ == buffer_.size()) flush();
    std::size_t count = std::min(bytes.size(), buffer_.size() - buffered_);
    std::copy_n(bytes.begin(), count, buffer_.begin() + static_cast<std::ptrdiff_t>(buffered_));
    buffered_ += count;
    if (count < bytes.size() && blocked_ == Blocked::lose) count = bytes.size();
    starved_ = count < bytes.size();
    if (output_watch_ == 0 && !flush_timer_.armed() && buffered_ > 0)
        flush_timer_.arm(loop_.timers().clock().now() + flush_delay_ns);
    return count;
}

bool StreamBackend::writable(int timeout_ms) const noexcept {
    // The descriptor may be somebody else's, too: better to ask than to change it to non-blocking.
    pollfd state{.fd = output_, .events = POLLOUT, .revents = 0};
    return poll(&state, 1, timeout_ms) > 0;
}

void StreamBackend::settle() noexcept {
    constexpr int patience_ms = 1000;
    flush();
    if (blocked_ == Blocked::hold_back && buffered_ > 0 && output_ >= 0 && writable(patience_ms))
        flush();
}

void StreamBackend::flush() noexcept {
    while (buffered_ > 0 && output_ >= 0 && writable(0)) {
        // A pipe that polls as writable takes this much without blocking, a terminal less.
        constexpr std::size_t piece = 256;
        const std::size_t wanted = std::min(piece, buffered_);
        // A peer that left is no reason for SIGPIPE; the reader of our standard output may be one.
        const ssize_t done = socket_ ? send(output_, buffer_.data(), wanted, MSG_NOSIGNAL)
                                     : write(output_, buffer_.data(), wanted);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0 && errno == EAGAIN) break;
        if (done <= 0) { // nobody will ever read it
            buffered_ = 0;
            output_ = -1;
            break;
        }
        const auto written = static_cast<std::size_t>(done);
        std::copy(buffer_.begin() + done, buffer_.begin() + static_cast<std::ptrdiff_t>(buffered_),
                  buffer_.begin());
        buffered_ -= written;
    }
    if (buffered_ == 0 || output_ < 0) {
        loop_.unwatch(std::exchange(output_watch_, 0));
    } else if (output_watch_ == 0) {
        output_watch_ = loop_.watch(output_, EPOLLOUT, [this](std::uint32_t) { flush(); });
    }
    if (starved_ && (buffered_ < buffer_.size() || output_ < 0) && port_ != nullptr) {
        starved_ = false;
        port_->transmit_ready();
    }
}

} // namespace machine
