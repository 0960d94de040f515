// SPDX-License-Identifier: GPL-2.0-only
#include "machine/legacy_ports.hpp"

#include <array>
#include <utility>

namespace machine {

namespace {

constexpr std::uint64_t port92_offset = 0;
constexpr std::uint8_t port92_a20 = 0x02;
constexpr std::uint8_t reset_cpu = 0x04;

} // namespace

ResetControl::ResetControl(PowerSink power, LowMemory &low_memory)
    : power_(std::move(power)), low_memory_(low_memory) {}

bool ResetControl::attach(PortBus &bus) {
    return bus.claim({.first = 0x92, .count = 1}, *this, port92_offset) &&
           bus.claim({.first = reset_port, .count = 1, .whole_only = true}, *this, reset_offset);
}

std::uint64_t ResetControl::read(std::uint64_t offset, unsigned) noexcept {
    if (offset != port92_offset) return reset_control_;
    return port92_ | (low_memory_.a20_open() ? port92_a20 : 0u);
}

void ResetControl::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    bool reset = false;
    if (offset == port92_offset) {
        // A rising edge of bit 0 resets.
        reset = (value & 1) != 0 && (port92_ & 1) == 0;
        port92_ = static_cast<std::uint8_t>(value & ~std::uint64_t{port92_a20});
        low_memory_.set_a20((value & port92_a20) != 0);
    } else if (offset == reset_offset) {
        // A rising edge of RST_CPU resets, hard or soft as bit 1 says.
        reset = (value & reset_cpu) != 0 && (reset_control_ & reset_cpu) == 0;
        reset_control_ = static_cast<std::uint8_t>(value & 0x0e);
    }
    if (reset) power_({.kind = PowerEvent::Kind::reset});
}

DebugExit::DebugExit(PowerSink power) : power_(std::move(power)) {}

bool DebugExit::attach(PortBus &bus, std::uint16_t port) {
    return bus.claim({.first = port, .count = 4, .width = 4}, *this);
}

std::uint64_t DebugExit::read(std::uint64_t, unsigned size) noexcept { return undriven(size); }

void DebugExit::write(std::uint64_t, unsigned, std::uint64_t value) noexcept {
    power_(
        {.kind = PowerEvent::Kind::debug_exit, .code = static_cast<std::uint32_t>(value << 1 | 1)});
}

PanicReport::PanicReport(PowerSink power) : power_(std::move(power)) {}

bool PanicReport::attach(PortBus &bus, std::uint16_t port) {
    return bus.claim({.first = port, .count = 1}, *this);
}

std::uint64_t PanicReport::read(std::uint64_t, unsigned) noexcept {
    return panicked | crash_loaded;
}

void PanicReport::write(std::uint64_t, unsigned, std::uint64_t value) noexcept {
    if ((value & panicked) != 0)
        power_({.kind = PowerEvent::Kind::panic, .code = static_cast<std::uint32_t>(value)});
}

DebugConsole::DebugConsole(DebugSink sink) : sink_(std::move(sink)) {}

bool DebugConsole::attach(PortBus &bus) {
    return bus.claim({.first = 0xe9, .count = 1}, *this) &&
           bus.claim({.first = 0x402, .count = 1}, *this);
}

std::uint64_t DebugConsole::read(std::uint64_t, unsigned) noexcept { return 0xe9; }

void DebugConsole::write(std::uint64_t, unsigned, std::uint64_t value) noexcept {
    const std::array<std::uint8_t, 1> byte{static_cast<std::uint8_t>(value)};
    if (sink_) sink_(byte);
}

bool PostCode::attach(PortBus &bus) {
    return bus.claim({.first = 0x80, .count = 1}, *this) &&
           bus.claim({.first = 0xed, .count = 1}, *this, 1);
}

std::uint64_t PostCode::read(std::uint64_t offset, unsigned) noexcept {
    return offset == 0 ? last_ : 0xff;
}

void PostCode::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    if (offset == 0) last_ = static_cast<std::uint8_t>(value);
}

} // namespace machine
