// SPDX-License-Identifier: GPL-2.0-only
#include "machine/acpi_pm.hpp"

#include <utility>

namespace machine {

namespace {

// "PM1 Status Registers" and "PM1 Enable Registers".
constexpr std::uint16_t timer_status = 1 << 0;
constexpr std::uint16_t power_button_status = 1 << 8;
constexpr std::uint16_t wake_status = 1 << 15;
// TMR, GBL, PWRBTN, SLPBTN, RTC.
constexpr std::uint16_t enable_writable = 0x0721;
constexpr std::uint16_t status_clearable = enable_writable | wake_status | 1 << 4;
// "PM1 Control Registers": BM_RLD and SLP_TYP stay; SCI_EN is always one; GBL_RLS and SLP_EN read
// as zero.
constexpr std::uint16_t sci_enable = 1;
constexpr std::uint16_t control_writable = 0x1c02;
constexpr std::uint8_t control_high_sleep_enable = 1 << 5;
// "Sleep Control and Status Registers".
constexpr std::uint8_t sleep_enable = 1 << 5;

void put_byte(std::uint16_t &word, unsigned index, std::uint8_t value) {
    word = static_cast<std::uint16_t>((word & ~(0xff << (8 * index))) | value << (8 * index));
}

} // namespace

AcpiPm::AcpiPm(TimerQueue &timers, IrqLine sci, PowerSink power, Options options)
    : timers_(timers),
      sci_(sci),
      power_(std::move(power)),
      options_(options),
      timer_(timers, [this] { update(); }) {
    seen_half_ = ticks() >> (timer_bits() - 1);
}

bool AcpiPm::attach(PortBus &bus, std::uint16_t base) {
    const auto claim = [&](std::uint16_t offset, std::uint32_t count, unsigned width) {
        const auto first = static_cast<std::uint16_t>(base + offset);
        return bus.claim({.first = first, .count = count, .width = width}, *this, offset);
    };
    if (!claim(gpe0_offset, gpe0_length, 4)) return false;
    if (options_.hardware_reduced) return claim(sleep_control_offset, 2, 1);
    return claim(event_offset, 4, 4) && claim(control_offset, 2, 2) && claim(timer_offset, 4, 4);
}

void AcpiPm::catch_up() noexcept {
    // "Power Management Timer": TMR_STS is set whenever the most significant bit changes.
    const std::uint64_t half = ticks() >> (timer_bits() - 1);
    if (half != seen_half_) status_ |= timer_status;
    seen_half_ = half;
}

void AcpiPm::update() noexcept {
    catch_up();
    const bool fixed = !options_.hardware_reduced && (status_ & enable_) != 0;
    sci_.set(fixed || (gpe_status_ & gpe_enable_) != 0);
    if (!options_.hardware_reduced && (enable_ & timer_status) != 0 &&
        (status_ & timer_status) == 0)
        timer_.arm(ns_at_tick((seen_half_ + 1) << (timer_bits() - 1), timer_hz));
    else
        timer_.disarm();
}

std::uint8_t AcpiPm::read_byte(std::uint64_t offset) noexcept {
    const auto byte_of = [offset](std::uint64_t value, std::uint64_t first) {
        return static_cast<std::uint8_t>(value >> (8 * (offset - first)));
    };
    if (offset < event_offset + 2u) return byte_of(status_, event_offset);
    if (offset < event_offset + 4u) return byte_of(enable_, event_offset + 2u);
    if (offset >= control_offset && offset < control_offset + 2u)
        return byte_of(control_, control_offset);
    if (offset >= gpe0_offset && offset < gpe0_offset + 4u)
        return byte_of(gpe_status_, gpe0_offset);
    if (offset >= gpe0_offset + 4u && offset < gpe0_offset + 8u)
        return byte_of(gpe_enable_, gpe0_offset + 4u);
    return 0; // the sleep registers among them: WAK_STS never set, we do not come back from S5
}

std::uint64_t AcpiPm::read(std::uint64_t offset, unsigned size) noexcept {
    if (offset >= timer_offset && offset < timer_offset + 4u) {
        const std::uint64_t mask = (std::uint64_t{1} << timer_bits()) - 1;
        return (ticks() & mask) >> (8 * (offset - timer_offset));
    }
    catch_up();
    std::uint64_t value = 0;
    for (unsigned index = 0; index < size && index < 8; ++index)
        value |= static_cast<std::uint64_t>(read_byte(offset + index)) << (8 * index);
    return value;
}

void AcpiPm::write_byte(std::uint64_t offset, std::uint8_t value) noexcept {
    const auto index = static_cast<unsigned>(offset & 1);
    const auto in_word = static_cast<std::uint16_t>(value << (8 * index));
    if (offset < event_offset + 2u) {
        status_ &= static_cast<std::uint16_t>(~(in_word & status_clearable));
    } else if (offset < event_offset + 4u) {
        put_byte(enable_, index, value);
        enable_ &= enable_writable;
    } else if (offset >= control_offset && offset < control_offset + 2u) {
        put_byte(control_, index, value);
        control_ = (control_ & control_writable) | sci_enable;
        const unsigned type = control_ >> 10 & 7;
        if (index == 1 && (value & control_high_sleep_enable) != 0 && type == s5_sleep_type)
            power_({.kind = PowerEvent::Kind::poweroff});
    } else if (offset == sleep_control_offset) {
        if ((value & sleep_enable) != 0 && (value >> 2 & 7) == s5_sleep_type)
            power_({.kind = PowerEvent::Kind::poweroff});
    } else if (offset >= gpe0_offset && offset < gpe0_offset + 4u) {
        gpe_status_ &= ~(static_cast<std::uint32_t>(value) << (8 * (offset - gpe0_offset)));
    } else if (offset >= gpe0_offset + 4u && offset < gpe0_offset + 8u) {
        const auto shift = static_cast<unsigned>(8 * (offset - gpe0_offset - 4u));
        gpe_enable_ = (gpe_enable_ & ~(0xffu << shift)) | static_cast<std::uint32_t>(value)
                                                              << shift;
    }
}

void AcpiPm::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    catch_up();
    for (unsigned index = 0; index < size && index < 8; ++index)
        write_byte(offset + index, static_cast<std::uint8_t>(value >> (8 * index)));
    update();
}

void AcpiPm::press_power_button() noexcept {
    status_ |= power_button_status;
    update();
}

void AcpiPm::raise_gpe(unsigned gpe) noexcept {
    if (gpe >= 32) return;
    gpe_status_ |= 1u << gpe;
    update();
}

} // namespace machine
