// SPDX-License-Identifier: GPL-2.0-only
// The 8254 interval timer and port 0x61, which gates its channel 2 and shows its output. Source:
// Intel 8254 data sheet, "Mode Definitions", "Read Operations"; port 0x61: ICH data sheets, "NMI
// Status and Control Register". Nothing counts: every value is computed from the time that has
// passed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/timers.hpp"

namespace machine {

// One counter; times are in ticks of its clock, 1,193,182 Hz.
class PitCounter {
  public:
    static constexpr std::uint64_t hz = 1193182;

    // `control` is the control word without the select bits; from here on the count is awaited.
    void set_control(std::uint8_t control, std::uint64_t now) noexcept;
    void write(std::uint8_t value, std::uint64_t now) noexcept;
    std::uint8_t read(std::uint64_t now) noexcept;
    void latch_count(std::uint64_t now) noexcept;
    void latch_status(std::uint64_t now) noexcept;
    void set_gate(bool gate, std::uint64_t now) noexcept;
    bool gate() const { return gate_; }
    bool output(std::uint64_t now) noexcept;
    // The next tick after `now` at which OUT goes from low to high, if it ever does by itself.
    std::optional<std::uint64_t> next_rise(std::uint64_t now) noexcept;
    unsigned mode() const { return mode_; }

  private:
    void start(std::uint32_t count, std::uint64_t tick) noexcept;
    void load(std::uint32_t count, std::uint64_t now) noexcept;
    void advance(std::uint64_t now) noexcept;
    std::uint64_t elapsed(std::uint64_t now) const;
    std::uint16_t count(std::uint64_t now) noexcept;
    std::uint32_t modulus() const { return bcd_ ? 10000 : 65536; }
    std::uint32_t decode(std::uint16_t raw) const;
    bool periodic() const { return mode_ == 2 || mode_ == 3; }
    bool triggered() const { return mode_ == 1 || mode_ == 5; }

    std::uint8_t control_ = 0x30;
    unsigned mode_ = 0;
    bool bcd_ = false;
    bool gate_ = true;
    bool running_ = false; // a count was loaded into the counting element
    bool paused_ = false;  // by the gate
    bool null_count_ = true;
    bool write_high_next_ = false;
    bool read_high_next_ = false;
    std::uint8_t low_byte_ = 0;
    std::uint32_t period_ = 65536; // what is being counted, 1 to 65536
    std::uint32_t reload_ = 65536; // what the guest wrote last
    std::uint64_t start_ = 0;      // tick at which the counting element was loaded
    std::uint64_t paused_after_ = 0;
    std::optional<std::uint64_t> switch_at_; // periodic modes: when reload_ becomes period_
    std::optional<std::uint16_t> latched_count_;
    std::optional<std::uint8_t> latched_status_;
};

// Device offsets: 0-3 the timer's ports 0x40-0x43, 4 port 0x61.
class Pit final : public Device {
  public:
    Pit(TimerQueue &timers, IrqLine irq0);
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

  private:
    std::uint64_t now() const { return ticks_at(timers_.clock().now(), PitCounter::hz); }
    void write_control(std::uint8_t value) noexcept;
    std::uint8_t read_port61() noexcept;
    void plan() noexcept;
    void rise() noexcept;

    TimerQueue &timers_;
    IrqLine irq0_;
    std::array<PitCounter, 3> counters_;
    std::uint8_t port61_ = 0; // bit 0 gate of channel 2, bit 1 speaker, bits 2-3 checks off
    Timer timer_;
};

} // namespace machine
