// SPDX-License-Identifier: GPL-2.0-only
// Devices of a port or two: reset switches, exit and panic reports, debug output.
#pragma once

#include <cstdint>
#include <span>

#include "machine/bus.hpp"
#include "machine/low_memory.hpp"
#include "machine/power.hpp"

namespace machine {

// Port 0x92: fast A20 gate and fast reset. Port 0xcf9: the chipset's reset control register (ICH
// data sheets, "Reset Control Register").
class ResetControl final : public Device {
  public:
    ResetControl(PowerSink power, LowMemory &low_memory);
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    static constexpr std::uint16_t reset_port = 0xcf9;
    // By which the device knows that port, for who claims it in its place.
    static constexpr std::uint64_t reset_offset = 1;
    // Full reset; what the FADT's RESET_VALUE has to say.
    static constexpr std::uint8_t reset_value = 0x0e;

  private:
    PowerSink power_;
    LowMemory &low_memory_;
    std::uint8_t port92_ = 0; // but A20's bit
    std::uint8_t reset_control_ = 0;
};

// A value written to port 0xf4 ends the machine with the exit status (value << 1) | 1, which is
// never 0.
class DebugExit final : public Device {
  public:
    explicit DebugExit(PowerSink power);
    [[nodiscard]] bool attach(PortBus &bus, std::uint16_t port = default_port);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    static constexpr std::uint16_t default_port = 0xf4;

  private:
    PowerSink power_;
};

// Port 0x505: reads which events it knows; a kernel that panics writes one of them.
class PanicReport final : public Device {
  public:
    explicit PanicReport(PowerSink power);
    [[nodiscard]] bool attach(PortBus &bus, std::uint16_t port = default_port);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    static constexpr std::uint16_t default_port = 0x505;
    static constexpr std::uint8_t panicked = 1;
    static constexpr std::uint8_t crash_loaded = 2; // a crash kernel takes over: not the end

  private:
    PowerSink power_;
};

// Where text from port 0xe9 or 0x402 goes.
using DebugSink = std::function<void(std::span<const std::uint8_t>)>;

// Ports 0xe9 (reads 0xe9, by which a guest knows that it is there) and 0x402, where firmware
// writes.
class DebugConsole final : public Device {
  public:
    explicit DebugConsole(DebugSink sink);
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

  private:
    DebugSink sink_;
};

// Port 0x80 keeps the last POST code. Writes to it, or to 0xed, are also how systems wait a
// microsecond.
class PostCode final : public Device {
  public:
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    std::uint8_t last() const { return last_; }

  private:
    std::uint8_t last_ = 0;
};

} // namespace machine
