// SPDX-License-Identifier: GPL-2.0-only
// The keyboard controller, with or without a keyboard. Source: IBM PS/2 Hardware Interface
// Technical Reference, "Keyboard and Auxiliary Device Controller". There is no auxiliary device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/power.hpp"

namespace machine {

// Device offsets: 0 the data port 0x60, 1 the command and status port 0x64.
class I8042 final : public Device {
  public:
    I8042(IrqLine irq1, PowerSink power, bool keyboard);
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    // A byte from the keyboard; false if there is none or its buffer is full.
    bool type(std::uint8_t scancode) noexcept;

  private:
    void reply(std::uint8_t value) noexcept;
    bool queue(std::uint8_t value) noexcept;
    void refill() noexcept;
    void command(std::uint8_t value) noexcept;
    void single_command(std::uint8_t value) noexcept;
    void parameter(std::uint8_t value) noexcept;
    void to_keyboard(std::uint8_t value) noexcept;
    void set_output_port(std::uint8_t value) noexcept;
    void update() noexcept;

    IrqLine irq1_;
    PowerSink power_;
    bool keyboard_;
    std::array<std::uint8_t, 32> ram_{}; // byte 0 is the command byte
    std::array<std::uint8_t, 16> keys_{};
    std::size_t first_key_ = 0;
    std::size_t key_count_ = 0;
    std::uint8_t output_ = 0;
    bool output_full_ = false;
    bool output_from_keyboard_ = false;
    std::uint8_t output_port_ = 0x03; // no reset, A20 on
    std::uint8_t pending_command_ = 0;
    std::uint8_t pending_keyboard_ = 0;
    bool last_was_command_ = false;
};

} // namespace machine
