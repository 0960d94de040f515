// SPDX-License-Identifier: GPL-2.0-only
// The board's fixed choices: where PCI lies in the address space, and which wire an interrupt pin
// is soldered to. The firmware tables say the same to the guest.
#pragma once

#include <cstdint>

namespace machine::pci {

constexpr unsigned devices_per_bus = 32, functions_per_device = 8;

// Of the mapped configuration space only bus 0 is told of: Linux looks for devices on every bus
// that it hears of in that way, by 16,000 exits.
constexpr std::uint64_t ecam_base = 0xb000'0000, ecam_bytes = 256u << 20, bus_bytes = 1u << 20;
constexpr std::uint64_t memory_first = 0xc000'0000, memory_last = 0xfebf'ffff;
constexpr std::uint64_t memory64_bytes = std::uint64_t{16} << 30;
constexpr std::uint64_t memory64_first(std::uint64_t end_of_ram) {
    constexpr std::uint64_t gib = 1u << 30;
    return end_of_ram <= 4 * gib ? 4 * gib : (end_of_ram + gib - 1) & ~(gib - 1);
}
// From here on BARs are placed: no legacy device has ports above.
constexpr std::uint16_t io_first = 0xc000;

// Eight wires, PIRQA to PIRQH, end at the IOAPIC's pins from 16 on, and at the ISA interrupt that
// the ISA bridge routes each to. Pins (0 is INTA) are rotated from device to device; chipset
// devices, from 25 on, are wired straight.
constexpr unsigned pirq_count = 8, first_gsi = 16;
constexpr unsigned pirq_of(unsigned device, unsigned pin) {
    return device < 25 ? (device + pin) % pirq_count : pin % pirq_count;
}
constexpr unsigned gsi_of(unsigned device, unsigned pin) {
    return first_gsi + pirq_of(device, pin);
}
// What firmware sets the routes to.
constexpr unsigned isa_irq_of(unsigned pirq) { return pirq % 4 < 2 ? 10 : 11; }

} // namespace machine::pci
