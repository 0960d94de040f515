// SPDX-License-Identifier: GPL-2.0-only
// What the host can plug into a serial port: a terminal, a file, a pty, a socket, nothing, or a
// buffer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "machine/event_loop.hpp"
#include "machine/power.hpp"
#include "machine/serial.hpp"
#include "machine/terminal.hpp"

namespace machine {

// Keeps all output in memory, up to a limit, and lets a test type. Not for use across threads
// without the machine's lock.
class BufferBackend final : public SerialBackend {
  public:
    explicit BufferBackend(std::size_t limit = 1 << 20) : limit_(limit) {}
    std::size_t transmit(std::span<const std::uint8_t> bytes) noexcept override;
    void receive_ready() noexcept override { feed(); }
    void connect(SerialPort *port) noexcept override { port_ = port; }
    // The guest reads these when it has room.
    void type(const std::string &text);
    const std::string &output() const { return output_; }

  private:
    void feed() noexcept;

    SerialPort *port_ = nullptr;
    std::size_t limit_;
    std::string output_;
    std::string input_;
};

// Descriptors. Output is collected for a moment and written in one piece; a descriptor that takes
// no more holds the guest's transmitter back, or loses the output. Input is read a little ahead of
// the UART, or, with a filter, always: the key that ends a guest has to work while the guest reads
// nothing, and what a typist types into such a guest beyond the little is lost.
class StreamBackend : public SerialBackend {
  public:
    // Says what became of input before it reaches the guest: returns the number of bytes left in
    // place.
    using Filter = std::function<std::size_t(std::span<std::uint8_t>)>;
    enum class Blocked : std::uint8_t { hold_back, lose };

    StreamBackend(EventLoop &loop, Blocked blocked);
    ~StreamBackend() override;
    std::size_t transmit(std::span<const std::uint8_t> bytes) noexcept override;
    void receive_ready() noexcept override;
    void settle() noexcept override;
    void connect(SerialPort *port) noexcept override;
    void set_filter(Filter filter) { filter_ = std::move(filter); }
    // Either may be -1. The descriptors are not owned. `hang_up` is called when input ends. Throws
    // std::system_error.
    void open(int input, int output, std::function<void()> hang_up);
    // Writes what it can and forgets both descriptors.
    void close() noexcept;

  private:
    void listen() noexcept;
    void mute() noexcept;
    void on_input() noexcept;
    bool pull() noexcept;
    void feed() noexcept;
    bool wants_input() const { return filter_ || input_room() > 0; }
    std::size_t input_room() const { return waiting_.size() - waiting_count_; }
    void flush() noexcept;
    bool writable(int timeout_ms) const noexcept;

    EventLoop &loop_;
    Blocked blocked_;
    SerialPort *port_ = nullptr;
    int input_ = -1;
    int output_ = -1;
    Fd second_; // a duplicate, if both are one: epoll knows a descriptor only once
    bool socket_ = false;
    bool plain_file_ = false; // input that cannot be polled and never blocks
    std::function<void()> hang_up_;
    Filter filter_;
    EventLoop::Watch input_watch_ = 0;
    EventLoop::Watch output_watch_ = 0;
    std::array<std::uint8_t, 256> waiting_{}; // input that the UART has no room for yet
    std::size_t waiting_count_ = 0;
    std::array<std::uint8_t, 4096> buffer_{};
    std::size_t buffered_ = 0;
    bool starved_ = false; // the port was refused and waits for transmit_ready()
    Timer flush_timer_;
};

// What a backend needs from the machine that it is plugged into.
struct SerialHost {
    EventLoop &loop;
    PowerSink power;
    std::function<void(const std::string &)> notice; // tells the user, for instance the pty's name
};

using SerialFactory = std::function<std::unique_ptr<SerialBackend>(SerialHost)>;

// `spec` is stdio, pty, null, unix:PATH, file:PATH, or the path of a file to write. The factory
// throws std::system_error when what it names cannot be opened; an empty one is a bad spec.
SerialFactory serial_factory(const std::string &spec);

} // namespace machine
