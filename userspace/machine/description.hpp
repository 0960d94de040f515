// SPDX-License-Identifier: GPL-2.0-only
// What firmware tables say about the machine. Plain numbers: boot/ writes the tables from it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace machine {

struct SerialDescription {
    std::uint16_t port = 0;
    std::uint8_t irq = 0;
};

struct HpetDescription {
    std::uint64_t base = 0;
    std::uint32_t bytes = 0;
    std::uint32_t id = 0;              // the low half of its first register
    std::uint16_t shortest_period = 0; // in ticks
};

struct PciDescription {
    // Memory-mapped configuration, 1 MiB for each bus there is.
    std::uint64_t ecam_base = 0;
    std::uint64_t ecam_bytes = 0;
    // Windows for BARs; I/O has all ports but the eight of configuration.
    std::uint64_t memory_first = 0;
    std::uint64_t memory_last = 0;
    std::uint64_t memory64_first = 0;
    std::uint64_t memory64_bytes = 0;
    // The GSI at which pin 0-3 (INTA to INTD) of a device on bus 0 arrives; level, active low.
    unsigned (*gsi)(unsigned device, unsigned pin) = nullptr;
};

struct MachineDescription {
    // False: hardware-reduced ACPI, no PIC, no PIT, no fixed registers.
    bool legacy = true;

    struct {
        std::uint64_t base = 0;
        std::uint8_t id = 0;
        std::uint32_t first_gsi = 0;
        std::uint8_t pins = 0;
    } ioapic;
    // MADT interrupt source overrides: ISA IRQ 0 arrives at pin 2.
    std::uint8_t timer_gsi = 2;
    // ISA IRQ and GSI of the system control interrupt: level-triggered, active high.
    std::uint8_t sci_irq = 9;

    struct {
        std::uint16_t pm1_event = 0;   // 4 bytes; 0 if hardware-reduced
        std::uint16_t pm1_control = 0; // 2 bytes
        std::uint16_t timer = 0;       // 4 bytes
        bool timer_32_bit = false;
        std::uint16_t gpe0 = 0; // gpe0_length bytes, half status, half enable
        std::uint8_t gpe0_length = 0;
        std::uint16_t sleep_control = 0; // 1 byte; hardware-reduced only
        std::uint16_t sleep_status = 0;
        std::uint8_t s5_sleep_type = 0;
    } pm;

    struct {
        std::uint16_t port = 0;
        std::uint8_t value = 0;
    } reset;

    bool i8042 = false;    // IAPC_BOOT_ARCH bit 1: ports 0x60/0x64 are to be probed
    bool keyboard = false; // PNP0303 at IRQ 1
    bool vga = false;
    bool rtc = false; // PNP0B00 at 0x70/0x71, IRQ 8
    std::uint8_t rtc_century = 0x32;
    std::optional<std::uint16_t> panic_port;      // QEMU0001
    std::optional<std::uint16_t> debug_exit_port; // for information
    std::array<std::optional<SerialDescription>, 4> serial;
    std::optional<HpetDescription> hpet;
    std::optional<PciDescription> pci;
};

} // namespace machine
