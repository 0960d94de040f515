// SPDX-License-Identifier: GPL-2.0-only
// The MC146818A real-time clock and its battery-backed memory. Source: Motorola MC146818A data
// sheet, "Registers", "Update Cycle"; the memory-size bytes are the PC's convention ("CMOS RAM" of
// RBIL).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/timers.hpp"

namespace machine {

// Device offsets: 0 the index port 0x70, 1 the data port 0x71.
class Rtc final : public Device {
  public:
    Rtc(TimerQueue &timers, IrqLine irq8);
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    // Bytes of memory below and above 4 GiB, into the bytes where old systems look for them.
    void set_memory(std::uint64_t below_4g, std::uint64_t above_4g) noexcept;
    // Kinds of drives, 0 for none, where a PC emulator's BIOS looks for them (Bochs's, SeaBIOS's).
    void set_boot_order(std::uint8_t first, std::uint8_t second, std::uint8_t third) noexcept;
    // Bit 7 of the index port: no NMI may reach a processor.
    bool nmi_masked() const { return nmi_masked_; }
    std::uint8_t cmos(std::uint8_t index) const { return ram_[index & 127]; }

  private:
    // Seconds since 1970 in the guest's reckoning, and the nanoseconds into the current one.
    std::int64_t guest_second() const;
    std::int64_t guest_phase() const;
    bool dividing() const { return (ram_[0x0a] >> 4 & 7) == 2; }
    bool frozen() const { return (ram_[0x0b] & 0x80) != 0 || !dividing(); }
    std::uint8_t encode(unsigned value) const;
    unsigned decode(std::uint8_t value) const;
    std::uint8_t encode_hour(unsigned hour) const;
    unsigned decode_hour(std::uint8_t value) const;
    void store_time() noexcept;
    void adopt_time() noexcept;
    std::uint8_t read_register(std::uint8_t index) noexcept;
    void write_register(std::uint8_t index, std::uint8_t value) noexcept;
    void write_time(std::uint8_t index, std::uint8_t value) noexcept;
    void write_control(std::uint8_t index, std::uint8_t value) noexcept;
    bool alarm_matches(std::uint8_t alarm, unsigned value, bool hour) const;
    std::optional<std::int64_t> next_alarm(std::int64_t after) const;
    unsigned period_shift() const;
    std::uint64_t periods() const;
    void catch_up() noexcept;
    void plan() noexcept;

    TimerQueue &timers_;
    IrqLine irq8_;
    std::array<std::uint8_t, 128> ram_{};
    std::uint8_t index_ = 0;
    bool nmi_masked_ = false;
    std::int64_t offset_ = 0;       // guest's clock minus the host's: whole seconds
    std::int64_t phase_ = 0;        // and the rest in ns, less than a second
    std::int64_t seen_second_ = 0;  // UF and AF are up to date until here
    std::uint64_t seen_period_ = 0; // PF is up to date until here
    Timer timer_;
};

} // namespace machine
