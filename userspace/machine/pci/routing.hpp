// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "machine/interrupts.hpp"
#include "machine/pci/wiring.hpp"

namespace machine::pci {

// The eight interrupt wires of the board: each a wired OR of the pins on it, that ends at its pin
// of the IOAPIC and, where a route says so, at an ISA interrupt.
class Pirqs final : public IrqSink {
  public:
    static constexpr std::uint8_t unrouted = 0x80; // the route's bit 7

    explicit Pirqs(IrqSink &sink);
    void set_irq(unsigned pirq, bool level) noexcept override;
    // The ISA bridge's register for `pirq`: an ISA interrupt, or bit 7.
    void route(unsigned pirq, std::uint8_t route) noexcept;

  private:
    struct Wire {
        std::uint32_t holders = 0;
        IrqLine gsi;
        IrqLine isa;
        std::uint8_t route = unrouted;
    };
    IrqSink &sink_;
    std::array<Wire, pirq_count> wires_;
};

} // namespace machine::pci
