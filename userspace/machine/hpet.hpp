// SPDX-License-Identifier: GPL-2.0-only
// The High Precision Event Timer: a counter that everybody may read, and three comparators. Source:
// "IA-PC HPET (High Precision Event Timers) Specification", "Register Model" and "Theory of
// Operation". As in the 8254, nothing counts: every value is computed from the time that has
// passed.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/timers.hpp"

namespace machine {

// IRQ 0 and 8 on their way from the 8254 and the clock, which are cut off while the HPET has taken
// these over ("LegacyReplacement Route").
class LegacyRoute final : public IrqSink {
  public:
    static constexpr unsigned timer_irq = 0, clock_irq = 8;
    explicit LegacyRoute(IrqSink &sink) : timer_(sink, timer_irq), clock_(sink, clock_irq) {}
    void set_irq(unsigned irq, bool level) noexcept override;
    void replace(bool replaced) noexcept;

  private:
    void update() noexcept;

    IrqLine timer_;
    IrqLine clock_;
    bool timer_level_ = false;
    bool clock_level_ = false;
    bool replaced_ = false;
};

class Hpet final : public Device {
  public:
    static constexpr std::uint64_t base = 0xfed00000;
    static constexpr std::uint64_t length = 0x400;
    static constexpr std::uint64_t hz = 100'000'000;
    static constexpr unsigned comparators = 3;
    // A shorter period has its interrupts merged.
    static constexpr std::uint64_t shortest_wait_ns = 50'000;
    // Revision, last comparator, 64 bits, the legacy route, whose it is.
    static constexpr std::uint32_t id =
        0x8086'0000 | 1u << 15 | 1u << 13 | (comparators - 1) << 8 | 1;

    // `irqs` takes numbers as Machine::irq_line() does.
    Hpet(TimerQueue &timers, IrqSink &irqs, LegacyRoute &legacy);
    [[nodiscard]] bool attach(MmioBus &bus) { return bus.claim(base, length, *this); }
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

  private:
    struct Comparator {
        Comparator(TimerQueue &timers, std::function<void()> fire);
        bool level() const;
        bool enabled() const;
        bool periodic() const;
        std::uint64_t mask() const; // of the bits that are compared

        std::uint64_t config = 0;
        std::uint64_t value = ~std::uint64_t{0};
        std::uint64_t period = 0;
        Timer timer;
    };
    std::uint64_t counter() const;
    std::uint64_t read_register(std::uint64_t offset) noexcept;
    std::uint64_t read_comparator(const Comparator &comparator) const;
    void write_register(std::uint64_t offset, std::uint64_t value, std::uint64_t changed) noexcept;
    void write_config(std::uint64_t value) noexcept;
    void write_timer_config(unsigned number, std::uint64_t value, std::uint64_t changed) noexcept;
    void write_comparator(unsigned number, std::uint64_t value, std::uint64_t changed) noexcept;
    void write_status(std::uint64_t value) noexcept;
    void plan(unsigned number, std::uint64_t lateness) noexcept;
    void match(unsigned number) noexcept;
    void update_lines() noexcept;
    void pulse(unsigned number) noexcept;
    unsigned irq_of(unsigned number) const;
    bool running() const { return (config_ & 1) != 0; }
    bool replacing() const { return (config_ & 2) != 0; }

    TimerQueue &timers_;
    LegacyRoute &legacy_;
    std::uint64_t config_ = 0;
    std::uint64_t status_ = 0;
    std::uint64_t offset_ = 0; // while running: what the counter has more than the clock; else it
    std::array<IrqLine, 24> lines_;
    std::array<std::unique_ptr<Comparator>, comparators> comparators_;
};

} // namespace machine
