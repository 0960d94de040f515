// SPDX-License-Identifier: GPL-2.0-only
// One stream between a socket of the guest's and a Unix socket of the host's. What the guest sends
// waits in a buffer that the guest knows the size of; what the host sends waits in the host's
// socket until the guest has room ("Buffer Space Management").
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "machine/event_loop.hpp"
#include "machine/virtio/queue.hpp"
#include "machine/virtio/vsock_packet.hpp"

namespace machine::virtio::vsock {

class Stream {
  public:
    static constexpr std::uint32_t buffer_bytes = 64 << 10;

    // A program of the host's that has yet to say which port it wants.
    explicit Stream(Fd socket);
    // One that the guest asked for; `socket` is connected.
    Stream(Fd socket, const Ports &ports, const Header &request);

    const Ports &ports() const { return ports_; }
    int fd() const { return socket_.get(); }
    bool greeting() const { return state_ == State::greeting; }
    // What the program said: true, and it is to be asked for under this name of the host's.
    bool wants(std::uint32_t &guest_port) noexcept;
    void ask(const Ports &ports) noexcept;

    // The socket is ready, by epoll's bits. It is to be watched for events() from then on.
    void ready(std::uint32_t events) noexcept;
    std::uint32_t events() const;

    // A packet of the guest's, and the rest of it. False: it broke the rules, or ended the stream.
    bool receive(const Header &header, Chain &payload) noexcept;
    bool has_packet() const;
    // Fills in the next packet for the guest, its data directly into `room`. False: there is none
    // after all.
    bool next(Header &header, std::span<const iovec> room) noexcept;
    // Both sides are done, or the socket failed: the guest is to be told by a reset.
    bool over() const;

  private:
    enum class State : std::uint8_t { greeting, asked, open };
    std::uint32_t credit() const { return guest_space_ - (sent_ - guest_taken_); }
    bool keep(std::uint32_t length, Chain &payload) noexcept;
    void flush() noexcept;
    void end_writing() noexcept;
    bool read_socket(Header &header, std::span<const iovec> room) noexcept;
    void tell_over(std::uint32_t sides) noexcept;

    Fd socket_;
    Ports ports_;
    State state_ = State::greeting;
    bool failed_ = false;
    // What the guest is to be told.
    bool tell_request_ = false, tell_response_ = false, tell_credit_ = false;
    std::uint32_t tell_shutdown_ = 0, told_shutdown_ = 0;
    // From the host: there may be something to read; nothing will come any more; nobody is there.
    bool readable_ = false, ended_ = false, hung_up_ = false;
    std::uint32_t guest_over_ = 0; // its shutdowns
    // Counters wrap, as in the packets.
    std::uint32_t guest_space_ = 0, guest_taken_ = 0, sent_ = 0;
    bool credit_asked_ = false;
    std::uint32_t taken_ = 0, taken_told_ = 0;
    std::unique_ptr<std::byte[]> buffer_; // a ring
    std::array<char, 32> greeting_{};
    std::size_t greeting_bytes_ = 0;
    std::uint32_t first_ = 0, held_ = 0;
};

} // namespace machine::virtio::vsock
