// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pci/chipset.hpp"

#include "machine/pci/host.hpp"

namespace machine::pci {

namespace {

constexpr std::uint16_t intel = 0x8086;
constexpr unsigned pirq_a_route = 0x60, pirq_e_route = 0x68;

void all_writable(ConfigSpace &config) {
    for (unsigned at = reg::first_free; at < ConfigSpace::size; at += 4)
        config.set_writable<std::uint32_t>(at, 0xffff'ffff);
}

} // namespace

HostBridge::HostBridge() : Function({.vendor = intel, .device = 0x29c0, .class_code = 0x060000}) {
    all_writable(config());
}

void HostBridge::config_written(unsigned offset, unsigned size) noexcept {
    if (offset < pciexbar + 8 && offset + size > pciexbar)
        host().place_ecam(config().get<std::uint64_t>(pciexbar));
    if (offset < pam0 + LowMemory::pam_registers && offset + size > pam0)
        host().wiring().low_memory.protect(config().get<LowMemory::Pam>(pam0));
}

IsaBridge::IsaBridge(Pirqs &pirqs)
    : Function({.vendor = intel, .device = 0x2918, .class_code = 0x060100, .revision = 2}),
      pirqs_(pirqs) {
    all_writable(config());
    // Intel ICH9 data sheet, "PCICMD" of the LPC interface: these are always on.
    config().set(reg::command,
                 static_cast<std::uint16_t>(command::io | command::memory | command::master));
    config().set_writable<std::uint16_t>(reg::command, command::no_intx);
    for (unsigned i = 0; i < pirq_count / 2; ++i) {
        config().set(pirq_a_route + i, Pirqs::unrouted);
        config().set(pirq_e_route + i, Pirqs::unrouted);
    }
}

void IsaBridge::update_routes() noexcept {
    for (unsigned i = 0; i < pirq_count; ++i)
        pirqs_.route(i,
                     config().get<std::uint8_t>(i < 4 ? pirq_a_route + i : pirq_e_route + i - 4));
}

void IsaBridge::set_default_routes() noexcept {
    for (unsigned i = 0; i < pirq_count; ++i)
        config().set(i < 4 ? pirq_a_route + i : pirq_e_route + i - 4,
                     static_cast<std::uint8_t>(isa_irq_of(i)));
    update_routes();
}

void IsaBridge::config_written(unsigned offset, unsigned size) noexcept {
    if (offset < pirq_e_route + 4 && offset + size > pirq_a_route) update_routes();
}

} // namespace machine::pci
