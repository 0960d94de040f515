// SPDX-License-Identifier: GPL-2.0-only
// ACPI's hardware: the fixed register blocks, or the two sleep registers of a hardware-reduced
// platform. Source: ACPI specification, "ACPI Hardware Specification". The platform is always in
// ACPI mode: there is no SMI_CMD port and SCI_EN reads as one.
#pragma once

#include <cstdint>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/power.hpp"
#include "machine/timers.hpp"

namespace machine {

// Device offsets are the ports' distances from `base`, below.
class AcpiPm final : public Device {
  public:
    // Layout relative to the base port.
    static constexpr std::uint16_t default_base = 0x600;
    static constexpr std::uint16_t event_offset = 0x00;   // PM1a_EVT_BLK, 4 bytes
    static constexpr std::uint16_t control_offset = 0x04; // PM1a_CNT_BLK, 2 bytes
    static constexpr std::uint16_t timer_offset = 0x08;   // PM_TMR_BLK, 4 bytes
    static constexpr std::uint16_t sleep_control_offset = 0x10;
    static constexpr std::uint16_t sleep_status_offset = 0x11;
    static constexpr std::uint16_t gpe0_offset = 0x20; // GPE0_BLK, status then enable
    static constexpr std::uint16_t gpe0_length = 8;
    // What the DSDT's \_S5 object names. Each machine has its own, and who reads no DSDT, as OVMF,
    // takes that of QEMU's for granted.
    static constexpr std::uint8_t s5_sleep_type = 0;
    static constexpr std::uint64_t timer_hz = 3579545;

    struct Options {
        bool hardware_reduced = false; // the sleep registers and GPE0 only
        bool timer_32_bit = true;
    };

    AcpiPm(TimerQueue &timers, IrqLine sci, PowerSink power, Options options);
    [[nodiscard]] bool attach(PortBus &bus, std::uint16_t base = default_base);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    void press_power_button() noexcept;
    // A device's general-purpose event happened; 0 to 31.
    void raise_gpe(unsigned gpe) noexcept;

  private:
    std::uint64_t ticks() const { return ticks_at(timers_.clock().now(), timer_hz); }
    unsigned timer_bits() const { return options_.timer_32_bit ? 32 : 24; }
    std::uint8_t read_byte(std::uint64_t offset) noexcept;
    void write_byte(std::uint64_t offset, std::uint8_t value) noexcept;
    void catch_up() noexcept;
    void update() noexcept;

    TimerQueue &timers_;
    IrqLine sci_;
    PowerSink power_;
    Options options_;
    std::uint16_t status_ = 0;
    std::uint16_t enable_ = 0;
    std::uint16_t control_ = 1;
    std::uint32_t gpe_status_ = 0;
    std::uint32_t gpe_enable_ = 0;
    std::uint64_t seen_half_ =
        0; // timer's most significant bit, counted, up to where TMR_STS is known
    Timer timer_;
};

} // namespace machine
