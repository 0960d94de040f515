// SPDX-License-Identifier: GPL-2.0-only
// The keyboard controller, with or without a keyboard and a mouse. Source: IBM PS/2 Hardware
// Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/low_memory.hpp"
#include "machine/power.hpp"
#include "machine/ps2.hpp"

namespace machine {

// Device offsets: 0 the data port 0x60, 1 the command and status port 0x64.
class I8042 final : public Device {
  public:
    I8042(IrqLine keyboard, IrqLine mouse, PowerSink power, LowMemory &low_memory, bool plugged);
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    // The user's doing. False if there is no keyboard, or the guest has not taken what came before.
    bool key(Key key, bool down) noexcept;
    std::size_t keys_free() const { return keyboard_.strokes_free(); }
    void move_mouse(int x, int y, int wheel, std::uint8_t buttons) noexcept;
    bool plugged() const { return plugged_; }
    std::uint8_t leds() const { return keyboard_.leds(); }

  private:
    enum class Source : std::uint8_t { controller, keyboard, mouse };
    void reply(std::uint8_t value, Source source = Source::controller) noexcept;
    void refill() noexcept;
    bool refill_from(Ps2Device &device, Source source, std::uint8_t off) noexcept;
    void command(std::uint8_t value) noexcept;
    void single_command(std::uint8_t value) noexcept;
    void parameter(std::uint8_t value) noexcept;
    void to_device(Ps2Device &device, std::uint8_t off, std::uint8_t value) noexcept;
    std::uint8_t translated(std::uint8_t value) noexcept;
    std::uint8_t output_port() const;
    void set_output_port(std::uint8_t value) noexcept;
    void update() noexcept;

    IrqLine keyboard_irq_;
    IrqLine mouse_irq_;
    PowerSink power_;
    LowMemory &low_memory_;
    bool plugged_;
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    std::array<std::uint8_t, 32> ram_{}; // byte 0 is the command byte
    std::uint8_t output_ = 0;
    bool output_full_ = false;
    Source output_source_ = Source::controller;
    bool release_follows_ = false;    // of set 2's two bytes for it, the first one came
    std::uint8_t output_port_ = 0x01; // no reset; A20 is the gate's
    std::uint8_t pending_command_ = 0;
    bool last_was_command_ = false;
};

} // namespace machine
