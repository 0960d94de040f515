// SPDX-License-Identifier: GPL-2.0-only
#include "machine/i8042.hpp"

#include <utility>

#include "machine/scan_codes.hpp"

namespace machine {

namespace {

enum Status : std::uint8_t {
    status_output_full = 0x01,
    status_system = 0x04,
    status_command = 0x08,
    status_unlocked = 0x10,
    status_mouse = 0x20,
};
enum CommandByte : std::uint8_t {
    byte_interrupt = 0x01,
    byte_mouse_interrupt = 0x02,
    byte_system = 0x04,
    byte_keyboard_off = 0x10,
    byte_aux_off = 0x20,
    byte_translate = 0x40,
};
enum Command : std::uint8_t {
    read_ram = 0x20,
    write_ram = 0x60,
    disable_aux = 0xa7,
    enable_aux = 0xa8,
    test_aux = 0xa9,
    self_test = 0xaa,
    test_keyboard = 0xab,
    disable_keyboard = 0xad,
    enable_keyboard = 0xae,
    read_input_port = 0xc0,
    read_output_port = 0xd0,
    write_output_port = 0xd1,
    write_keyboard_output = 0xd2,
    write_aux_output = 0xd3,
    write_aux = 0xd4,
    close_a20 = 0xdd, // not IBM's, but of all later ones
    open_a20 = 0xdf,
    pulse = 0xf0,
};
constexpr std::uint8_t break_prefix = 0xf0;
constexpr std::uint8_t output_a20 = 0x02;

} // namespace

I8042::I8042(IrqLine keyboard, IrqLine mouse, PowerSink power, LowMemory &low_memory, bool plugged)
    : keyboard_irq_(keyboard),
      mouse_irq_(mouse),
      power_(std::move(power)),
      low_memory_(low_memory),
      plugged_(plugged) {
    // As a PC's firmware leaves it.
    ram_[0] = byte_interrupt | byte_system | byte_aux_off | byte_translate;
}

bool I8042::attach(PortBus &bus) {
    return bus.claim({.first = 0x60, .count = 1}, *this, 0) &&
           bus.claim({.first = 0x64, .count = 1}, *this, 1);
}

void I8042::update() noexcept {
    const auto wanted = [this](Source source, std::uint8_t bit) {
        return output_full_ && output_source_ == source && (ram_[0] & bit) != 0;
    };
    keyboard_irq_.set(wanted(Source::keyboard, byte_interrupt));
    mouse_irq_.set(wanted(Source::mouse, byte_mouse_interrupt));
}

void I8042::reply(std::uint8_t value, Source source) noexcept {
    output_ = value;
    output_full_ = true;
    output_source_ = source;
}

// "Scan Code Translation": of set 2's release, a prefix and the code, set 1 makes one byte.
std::uint8_t I8042::translated(std::uint8_t value) noexcept {
    const bool release = std::exchange(release_follows_, false);
    return static_cast<std::uint8_t>(to_set1(value) | (release ? 0x80 : 0));
}

bool I8042::refill_from(Ps2Device &device, Source source, std::uint8_t off) noexcept {
    if ((ram_[0] & off) != 0 || !device.has_byte()) return false;
    const std::uint8_t value = device.take();
    device.fill();
    if (source == Source::mouse || (ram_[0] & byte_translate) == 0) {
        reply(value, source);
    } else if (value == break_prefix) {
        release_follows_ = true;
        return refill_from(device, source, off); // with the code itself, which no prefix is
    } else {
        reply(translated(value), source);
    }
    return true;
}

void I8042::refill() noexcept {
    if (output_full_ || !plugged_) return;
    if (!refill_from(keyboard_, Source::keyboard, byte_keyboard_off))
        refill_from(mouse_, Source::mouse, byte_aux_off);
}

bool I8042::key(Key key, bool down) noexcept {
    const bool taken = plugged_ && keyboard_.key(key, down);
    refill();
    update();
    return taken;
}

void I8042::move_mouse(int x, int y, int wheel, std::uint8_t buttons) noexcept {
    mouse_.move(x, y, wheel, buttons);
    refill();
    update();
}

std::uint8_t I8042::output_port() const {
    return static_cast<std::uint8_t>(output_port_ | (low_memory_.a20_open() ? output_a20 : 0));
}

void I8042::set_output_port(std::uint8_t value) noexcept {
    output_port_ = static_cast<std::uint8_t>(value & ~output_a20);
    low_memory_.set_a20((value & output_a20) != 0);
    if ((value & 1) == 0) power_({.kind = PowerEvent::Kind::reset});
}

void I8042::command(std::uint8_t value) noexcept {
    pending_command_ = 0;
    switch (value >> 4) {
    case read_ram >> 4:
    case (read_ram >> 4) + 1: reply(ram_[value & 31]); break;
    case write_ram >> 4:
    case (write_ram >> 4) + 1: pending_command_ = value; break;
    case pulse >> 4:
        // "Pulse Output Port": bits 0-3, low, name the lines; line 0 is the processor's reset.
        if ((value & 1) == 0) power_({.kind = PowerEvent::Kind::reset});
        break;
    default: single_command(value); break;
    }
}

void I8042::single_command(std::uint8_t value) noexcept {
    const auto command_byte = [this](std::uint8_t bits, bool on) {
        ram_[0] = static_cast<std::uint8_t>(on ? ram_[0] | bits : ram_[0] & ~bits);
    };
    switch (value) {
    case disable_aux:
    case enable_aux: command_byte(byte_aux_off, value == disable_aux); break;
    case disable_keyboard:
    case enable_keyboard: command_byte(byte_keyboard_off, value == disable_keyboard); break;
    case self_test:
        command_byte(byte_system, true);
        reply(0x55);
        break;
    case test_aux: // without a mouse, its clock line is stuck low
        reply(plugged_ ? 0x00 : 0x01);
        break;
    case test_keyboard: reply(0x00); break;
    case read_input_port: // keyboard not locked
        reply(0x80);
        break;
    case read_output_port: reply(output_port()); break;
    case close_a20:
    case open_a20: low_memory_.set_a20(value == open_a20); break;
    case write_output_port:
    case write_keyboard_output:
    case write_aux_output:
    case write_aux: pending_command_ = value; break;
    default: break;
    }
}

void I8042::parameter(std::uint8_t value) noexcept {
    const std::uint8_t command = std::exchange(pending_command_, std::uint8_t{0});
    if (command >= write_ram && command < write_ram + 32) {
        ram_[command & 31] = value;
        return;
    }
    switch (command) {
    case write_output_port: set_output_port(value); break;
    case write_keyboard_output: reply(value, Source::keyboard); break;
    case write_aux_output: reply(value, plugged_ ? Source::mouse : Source::controller); break;
    case write_aux: to_device(mouse_, byte_aux_off, value); break;
    default: to_device(keyboard_, byte_keyboard_off, value); break;
    }
}

void I8042::to_device(Ps2Device &device, std::uint8_t off, std::uint8_t value) noexcept {
    // Writing to a device switches its clock on again.
    ram_[0] &= static_cast<std::uint8_t>(~off);
    if (!plugged_) return;
    device.receive(value);
    device.fill();
}

std::uint64_t I8042::read(std::uint64_t offset, unsigned) noexcept {
    if (offset != 0) {
        return static_cast<std::uint8_t>(
            (output_full_ ? status_output_full : 0) | (ram_[0] & byte_system ? status_system : 0) |
            (last_was_command_ ? status_command : 0) | status_unlocked |
            (output_full_ && output_source_ == Source::mouse ? status_mouse : 0));
    }
    const std::uint8_t value = output_;
    output_full_ = false;
    // The line drops between two keys, so that an edge-triggered controller sees both.
    update();
    refill();
    update();
    return value;
}

void I8042::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    const auto byte = static_cast<std::uint8_t>(value);
    last_was_command_ = offset != 0;
    if (offset != 0)
        command(byte);
    else
        parameter(byte);
    refill();
    update();
}

} // namespace machine
