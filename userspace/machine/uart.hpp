// SPDX-License-Identifier: GPL-2.0-only
// The 16550A serial port. Source: National Semiconductor PC16550D data sheet, "Registers".
// Characters take no time on the line, whatever the divisor says: that is what a guest's console
// wants.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/serial.hpp"

namespace machine {

class Uart final : public Device, public SerialPort {
  public:
    static constexpr unsigned ports = 8;
    static constexpr std::size_t fifo_size = 16;

    // `backend` may be null: a port with nothing plugged in.
    Uart(IrqLine irq, SerialBackend *backend);
    ~Uart() override;
    Uart(const Uart &) = delete;
    Uart &operator=(const Uart &) = delete;
    [[nodiscard]] bool attach(PortBus &bus, std::uint16_t base);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    std::size_t receive_space() const noexcept override;
    void receive(std::span<const std::uint8_t> bytes) noexcept override;
    void transmit_ready() noexcept override;

  private:
    // A ring of sixteen, or of one while FIFOs are off.
    struct Fifo {
        std::array<std::uint8_t, fifo_size> bytes{};
        std::size_t first = 0;
        std::size_t count = 0;
        void push(std::uint8_t byte);
        std::uint8_t pop();
        void clear() { first = count = 0; }
    };
    std::size_t depth() const { return (fcr_ & 1) != 0 ? fifo_size : 1; }
    bool loopback() const { return (mcr_ & 0x10) != 0; }
    bool divisor_access() const { return (lcr_ & 0x80) != 0; }
    std::size_t trigger_level() const;
    std::uint8_t pending_interrupt() const;
    std::uint8_t read_receiver() noexcept;
    std::uint8_t read_identification() noexcept;
    std::uint8_t line_status() const;
    void write_transmitter(std::uint8_t value) noexcept;
    void write_fifo_control(std::uint8_t value) noexcept;
    void write_interrupt_enable(std::uint8_t value) noexcept;
    void drain() noexcept;
    void store(std::uint8_t byte) noexcept;
    void set_modem(std::uint8_t inputs) noexcept;
    std::uint8_t modem_inputs() const;
    void offer_space(std::size_t space_before) noexcept;
    void update() noexcept;

    IrqLine irq_;
    SerialBackend *backend_;
    Fifo received_;
    Fifo transmitting_;
    std::uint16_t divisor_ = 12; // 9600 baud, what firmware leaves behind
    std::uint8_t ier_ = 0;
    std::uint8_t fcr_ = 0;
    std::uint8_t lcr_ = 0;
    std::uint8_t mcr_ = 0;
    std::uint8_t msr_ = 0;
    std::uint8_t scratch_ = 0;
    bool overrun_ = false;
    bool transmitter_empty_pending_ = false;
};

} // namespace machine
