// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "assist/emulate.hpp"

namespace assist {

// What the exit for INS and OUTS says (struct hwv_exit_io).
struct StringIo {
    std::uint16_t port = 0;
    unsigned size = 0; // bytes: 1, 2, 4
    bool is_write = false;
    bool repeat = false;
    unsigned segment = HWV_DS; // OUTS: of the source
    unsigned address_size = 0; // bytes: 2, 4, 8
    std::uint64_t next_rip = 0;
};

class PortAccess {
  public:
    virtual ~PortAccess() = default;
    virtual std::uint32_t in(std::uint16_t port, unsigned size) = 0;
    virtual void out(std::uint16_t port, unsigned size, std::uint32_t value) = 0;
    // Many elements of `size` bytes in a row, for the same port.
    virtual void in_many(std::uint16_t port, unsigned size, std::span<std::byte> to) = 0;
    virtual void out_many(std::uint16_t port, unsigned size, std::span<const std::byte> from) = 0;
};

// Does the port accesses and the guest's memory accesses, moves rSI, rDI, rCX and RIP. The same
// rules as for emulate(): an exception in the middle leaves the finished iterations, and at most
// 4096 bytes are moved by one call.
Outcome complete_string_io(hwv_regs &regs, const Environment &environment, const StringIo &io,
                           PortAccess &ports);

} // namespace assist
