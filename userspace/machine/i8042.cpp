// SPDX-License-Identifier: GPL-2.0-only
#include "machine/i8042.hpp"

#include <utility>

namespace machine {

namespace {

enum Status : std::uint8_t {
    status_output_full = 0x01,
    status_system = 0x04,
    status_command = 0x08,
    status_unlocked = 0x10,
};
enum CommandByte : std::uint8_t {
    byte_interrupt = 0x01,
    byte_system = 0x04,
    byte_keyboard_off = 0x10,
    byte_aux_off = 0x20,
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
    pulse = 0xf0,
};
enum Keyboard : std::uint8_t {
    set_leds = 0xed,
    echo = 0xee,
    scancode_set = 0xf0,
    identify = 0xf2,
    typematic = 0xf3,
    keyboard_reset = 0xff,
    acknowledge = 0xfa,
    test_passed = 0xaa,
};

} // namespace

I8042::I8042(IrqLine irq1, PowerSink power, bool keyboard)
    : irq1_(irq1), power_(std::move(power)), keyboard_(keyboard) {
    ram_[0] = byte_interrupt | byte_system | byte_aux_off;
}

bool I8042::attach(PortBus &bus) {
    return bus.claim({.first = 0x60, .count = 1}, *this, 0) &&
           bus.claim({.first = 0x64, .count = 1}, *this, 1);
}

void I8042::update() noexcept {
    irq1_.set(output_full_ && output_from_keyboard_ && (ram_[0] & byte_interrupt) != 0);
}

void I8042::reply(std::uint8_t value) noexcept {
    output_ = value;
    output_full_ = true;
    output_from_keyboard_ = false;
}

bool I8042::queue(std::uint8_t value) noexcept {
    if (!keyboard_ || key_count_ >= keys_.size()) return false;
    keys_[(first_key_ + key_count_) % keys_.size()] = value;
    ++key_count_;
    return true;
}

void I8042::refill() noexcept {
    if (output_full_ || key_count_ == 0 || (ram_[0] & byte_keyboard_off) != 0) return;
    output_ = keys_[first_key_];
    first_key_ = (first_key_ + 1) % keys_.size();
    --key_count_;
    output_full_ = true;
    output_from_keyboard_ = true;
}

bool I8042::type(std::uint8_t scancode) noexcept {
    const bool queued = queue(scancode);
    refill();
    update();
    return queued;
}

void I8042::set_output_port(std::uint8_t value) noexcept {
    output_port_ = value;
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
    case test_aux: // clock line stuck low: nothing is plugged in
        reply(0x01);
        break;
    case test_keyboard: reply(0x00); break;
    case read_input_port: // keyboard not locked
        reply(0x80);
        break;
    case read_output_port: reply(output_port_); break;
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
    case write_keyboard_output:
        reply(value);
        output_from_keyboard_ = true;
        break;
    case write_aux_output: reply(value); break;
    case write_aux: // lost: nobody answers
        break;
    default: to_keyboard(value); break;
    }
}

void I8042::to_keyboard(std::uint8_t value) noexcept {
    // Writing to the keyboard switches its clock on again.
    ram_[0] &= static_cast<std::uint8_t>(~byte_keyboard_off);
    if (!keyboard_) return;
    const std::uint8_t expecting = std::exchange(pending_keyboard_, std::uint8_t{0});
    if (expecting != 0) {
        queue(acknowledge);
        // Parameter 0 of this command asks for the set in use.
        if (expecting == scancode_set && value == 0) queue(2);
        return;
    }
    switch (value) {
    case echo: queue(echo); break;
    case identify:
        queue(acknowledge);
        queue(0xab);
        queue(0x83);
        break;
    case keyboard_reset:
        key_count_ = 0;
        queue(acknowledge);
        queue(test_passed);
        break;
    case set_leds:
    case scancode_set:
    case typematic:
        pending_keyboard_ = value;
        queue(acknowledge);
        break;
    default: queue(acknowledge); break;
    }
}

std::uint64_t I8042::read(std::uint64_t offset, unsigned) noexcept {
    if (offset != 0) {
        return static_cast<std::uint8_t>(
            (output_full_ ? status_output_full : 0) | (ram_[0] & byte_system ? status_system : 0) |
            (last_was_command_ ? status_command : 0) | status_unlocked);
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
