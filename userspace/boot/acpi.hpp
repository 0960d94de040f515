// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "boot/bytes.hpp"
#include "boot/guest_memory.hpp"
#include "machine/description.hpp"

namespace boot {

// A device that sits on fixed ports with one ISA interrupt.
struct AcpiUart {
    std::uint16_t port = 0x3f8;
    std::uint8_t irq = 4;
};

struct AcpiVirtioMmio {
    std::uint32_t base = 0;
    std::uint32_t size = 0x1000;
    std::uint32_t gsi = 0;
};

// Which pieces of the PC there are to be told of, and where. The default is the PC that hwv's
// devices make.
struct AcpiConfig {
    std::vector<std::uint32_t> apic_ids{0}; // one for each vCPU; from 255 on as x2APIC
    std::uint64_t local_apic = 0xfee0'0000;
    bool io_apic = true;
    std::uint8_t io_apic_id = 0;
    std::uint32_t io_apic_base = 0xfec0'0000;
    bool pit_on_gsi2 = true; // ISA interrupt 0 arrives at IOAPIC pin 2
    bool legacy_pics = true;
    std::vector<AcpiUart> uarts{{}};
    bool rtc = true;
    std::uint8_t rtc_century = 0x32; // CMOS index
    bool i8042 = false;              // ports 0x60 and 0x64 are there
    bool keyboard = false;           // and a keyboard and a mouse behind them
    bool vga = false;
    std::uint16_t panic_port = 0; // pvpanic's, 0: none
    std::vector<AcpiVirtioMmio> virtio;
    std::optional<machine::HpetDescription> hpet;
    std::optional<machine::PciDescription> pci;

    // No ACPI timer, events or SCI, only sleep control and reset ("Hardware-Reduced ACPI").
    bool hardware_reduced = false;
    bool power_button = true;          // in the fixed registers
    std::uint16_t pm1_event = 0x600;   // 4 bytes
    std::uint16_t pm1_control = 0x604; // 2 bytes
    std::uint16_t pm_timer = 0x608;    // 4 bytes; 0: none
    bool pm_timer_32_bit = true;
    std::uint16_t gpe0 = 0; // 0: none
    std::uint8_t gpe0_length = 0;
    std::uint16_t sleep_control = 0x610; // 1 byte, hardware-reduced alone
    std::uint16_t sleep_status = 0x611;  // 1 byte, hardware-reduced alone
    std::uint8_t sci_irq = 9;
    std::uint16_t reset_port = 0xcf9;
    std::uint8_t reset_value = 0x0e;
    std::uint8_t s5_type = 5; // what SLP_TYP holds to power off
};

// The same from what the machine says of itself; vCPU i has APIC id i.
AcpiConfig acpi_config(const machine::MachineDescription &pc, std::uint32_t vcpus);

struct AcpiTables {
    Bytes rsdp; // signature, checksums, addresses of what follows
    Bytes blob; // everything else, to be put at `base`
    std::uint64_t base = 0;
    std::vector<GpaRange> tables; // each table's place, in the order it was laid out
};

// Pure: the bytes of all tables, laid out from `base` on (64-byte aligned, below 4 GiB).
AcpiTables build_acpi(const AcpiConfig &config, std::uint64_t base);

// Puts the tables into the firmware area below 1 MiB, where an OS also finds the RSDP by searching.
// Returns the RSDP's address. Throws Error when they do not fit there.
std::uint64_t write_acpi(GuestMemory &memory, const AcpiConfig &config);

// The pieces, for tests and for those that lay out tables themselves.
Bytes build_dsdt(const AcpiConfig &config);
Bytes build_madt(const AcpiConfig &config);
Bytes build_fadt(const AcpiConfig &config, std::uint64_t facs, std::uint64_t dsdt);
// Where PCI configuration is mapped; only for a config with PCI.
Bytes build_mcfg(const AcpiConfig &config);
Bytes build_hpet(const AcpiConfig &config); // only for a config with one
Bytes build_facs();

// A header for `body` with length and checksum ("System Description Table Header").
Bytes seal_table(const char (&signature)[5], std::uint8_t revision, const Bytes &body);

} // namespace boot
