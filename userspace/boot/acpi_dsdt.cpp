// SPDX-License-Identifier: GPL-2.0-only
#include <string>

#include "boot/acpi.hpp"
#include "boot/aml.hpp"

namespace boot {
namespace {

using aml::Code;
using aml::operator+;
using aml::operator+=;

constexpr std::uint64_t sta_all = 0xf; // present, enabled, shown, working

Code legacy_device(std::string_view path, std::string_view id, unsigned uid, const Code &where) {
    return aml::device(path, aml::name("_HID", aml::eisa_id(id)) +
                                 aml::name("_UID", aml::integer(uid)) +
                                 aml::name("_STA", aml::integer(sta_all)) +
                                 aml::name("_CRS", aml::resources(where)));
}

std::string numbered(const char *stem, std::size_t number) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string text{stem};
    while (text.size() < 4)
        text += digits[number >> (4 * (3 - text.size())) & 0xf];
    return text;
}

Code legacy_devices(const AcpiConfig &config) {
    Code code;
    for (std::size_t i = 0; i < config.uarts.size(); ++i)
        code +=
            legacy_device("COM" + std::to_string(i + 1), "PNP0501", static_cast<unsigned>(i + 1),
                          aml::io_port(config.uarts[i].port, 8) + aml::irq(config.uarts[i].irq));
    if (config.rtc) code += legacy_device("RTC", "PNP0B00", 0, aml::io_port(0x70, 2) + aml::irq(8));
    if (config.hpet)
        code += legacy_device(
            "HPET", "PNP0103", 0,
            aml::memory32(static_cast<std::uint32_t>(config.hpet->base), config.hpet->bytes));
    if (config.keyboard) {
        code += legacy_device("KBD", "PNP0303", 0,
                              aml::io_port(0x60, 1) + aml::io_port(0x64, 1) + aml::irq(1));
        code += legacy_device("MOU", "PNP0F13", 0, aml::irq(12));
    }
    return code;
}

Code pvpanic_device(std::uint16_t port) {
    return aml::device("PEVT", aml::name("_HID", aml::string("QEMU0001")) +
                                   aml::name("_STA", aml::integer(sta_all)) +
                                   aml::name("_CRS", aml::resources(aml::io_port(port, 1))));
}

Code virtio_device(const AcpiVirtioMmio &device, std::size_t index) {
    const auto where =
        aml::memory32(device.base, device.size) + aml::interrupt(device.gsi, false, false);
    return aml::device(numbered("V", index), aml::name("_HID", aml::string("LNRO0005")) +
                                                 aml::name("_UID", aml::integer(index)) +
                                                 aml::name("_CCA", aml::integer(1)) +
                                                 aml::name("_CRS", aml::resources(where)));
}

Code pci_routing(const machine::PciDescription &pci) {
    std::vector<Code> routes;
    for (std::uint32_t device = 0; device < 32; ++device)
        for (std::uint32_t pin = 0; pin < 4; ++pin)
            routes.push_back(aml::package({aml::integer(device << 16 | 0xffff), aml::integer(pin),
                                           aml::integer(0), aml::integer(pci.gsi(device, pin))}));
    return aml::package(routes);
}

Code pci_bridge(const machine::PciDescription &pci) {
    const auto last_bus = static_cast<std::uint16_t>((pci.ecam_bytes >> 20) - 1);
    auto windows = aml::bus_range(0, last_bus) + aml::io_port(0xcf8, 8) + aml::io_range(0, 0xcf7) +
                   aml::io_range(0xd00, 0xffff) +
                   aml::memory_range32(static_cast<std::uint32_t>(pci.memory_first),
                                       static_cast<std::uint32_t>(pci.memory_last));
    if (pci.memory64_bytes != 0)
        windows +=
            aml::memory_range64(pci.memory64_first, pci.memory64_first + (pci.memory64_bytes - 1));
    return aml::device("PCI0", aml::name("_HID", aml::eisa_id("PNP0A03")) +
                                   aml::name("_UID", aml::integer(0)) +
                                   aml::name("_BBN", aml::integer(0)) +
                                   aml::name("_CRS", aml::resources(windows)) +
                                   aml::name("_PRT", pci_routing(pci)));
}

// Systems use mapped configuration space only where a device of the board reserves it.
Code board_resources(const machine::PciDescription &pci) {
    return aml::device(
        "MBRD",
        aml::name("_HID", aml::eisa_id("PNP0C02")) + aml::name("_UID", aml::integer(0)) +
            aml::name("_CRS",
                      aml::resources(aml::memory32(static_cast<std::uint32_t>(pci.ecam_base),
                                                   static_cast<std::uint32_t>(pci.ecam_bytes)))));
}

Code processor(std::size_t uid) {
    return aml::device(numbered("C", uid), aml::name("_HID", aml::string("ACPI0007")) +
                                               aml::name("_UID", aml::integer(uid)));
}

} // namespace

Bytes build_dsdt(const AcpiConfig &config) {
    Code devices = legacy_devices(config);
    if (config.panic_port != 0) devices += pvpanic_device(config.panic_port);
    for (std::size_t i = 0; i < config.virtio.size(); ++i)
        devices += virtio_device(config.virtio[i], i);
    if (config.pci) devices += pci_bridge(*config.pci) + board_resources(*config.pci);
    for (std::size_t i = 0; i < config.apic_ids.size(); ++i)
        devices += processor(i);
    const auto type = aml::integer(config.s5_type);
    const auto zero = aml::integer(0);
    const auto code =
        aml::name("\\_S5", aml::package({type, type, zero, zero})) + aml::scope("\\_SB", devices);
    Bytes body;
    for (const auto byte : code)
        body.push_back(std::byte{byte});
    return seal_table("DSDT", 2, body); // revision 2: integers have 64 bits
}

} // namespace boot
