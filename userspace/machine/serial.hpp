// SPDX-License-Identifier: GPL-2.0-only
// The line between a UART and whatever the host plugs into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace machine {

// What a UART offers to the host's side of the line; called under the machine's lock.
class SerialPort {
  public:
    virtual ~SerialPort() = default;
    // How many characters it can take now without loss.
    virtual std::size_t receive_space() const noexcept = 0;
    virtual void receive(std::span<const std::uint8_t> bytes) noexcept = 0;
    // The host's side can take output again after a transmit() that took less than it was given.
    virtual void transmit_ready() noexcept = 0;
};

// The host's side of the line, as a UART sees it; called under the machine's lock.
class SerialBackend {
  public:
    virtual ~SerialBackend() = default;
    // Takes as many as it can, at once, and says how many. If fewer than given, it calls
    // transmit_ready() later.
    virtual std::size_t transmit(std::span<const std::uint8_t> bytes) noexcept = 0;
    // receive_space() was 0 and is not any more.
    virtual void receive_ready() noexcept = 0;
    // The machine stops: writes out what is still on its way, within a second.
    virtual void settle() noexcept {}
    // The UART at the other end; null before it goes away.
    virtual void connect(SerialPort *port) noexcept = 0;
};

} // namespace machine
