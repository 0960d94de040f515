// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pci/routing.hpp"

namespace machine::pci {

namespace {

// IRQs 0-2, 8 and 13 belong to the board ("PIRQ[n]_ROUT - PIRQ[A,B,C,D] Routing Control Register",
// ICH9 data sheet).
constexpr bool routable(std::uint8_t route) { return route < 16 && (0xdef8 >> route & 1) != 0; }

} // namespace

Pirqs::Pirqs(IrqSink &sink)
    : sink_(sink),
      wires_{{{0, {sink, 16}, {sink, 0}},
              {0, {sink, 17}, {sink, 0}},
              {0, {sink, 18}, {sink, 0}},
              {0, {sink, 19}, {sink, 0}},
              {0, {sink, 20}, {sink, 0}},
              {0, {sink, 21}, {sink, 0}},
              {0, {sink, 22}, {sink, 0}},
              {0, {sink, 23}, {sink, 0}}}} {
    static_assert(first_gsi == 16 && pirq_count == 8);
}

void Pirqs::set_irq(unsigned pirq, bool level) noexcept {
    if (pirq >= pirq_count) return;
    Wire &wire = wires_[pirq];
    wire.holders = level ? wire.holders + 1 : wire.holders - 1;
    wire.gsi.set(wire.holders > 0);
    if (wire.route != unrouted) wire.isa.set(wire.holders > 0);
}

void Pirqs::route(unsigned pirq, std::uint8_t route) noexcept {
    if (pirq >= pirq_count) return;
    Wire &wire = wires_[pirq];
    if (!routable(route)) route = unrouted;
    if (route == wire.route) return;
    wire.isa.set(false);
    wire.route = route;
    if (route == unrouted) return;
    wire.isa = IrqLine{sink_, route};
    wire.isa.set(wire.holders > 0);
}

} // namespace machine::pci
