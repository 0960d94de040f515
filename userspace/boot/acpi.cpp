// SPDX-License-Identifier: GPL-2.0-only
#include "boot/acpi.hpp"

#include <algorithm>
#include <numeric>

#include "boot/memory_map.hpp"

namespace boot {
namespace {

constexpr std::uint64_t header_bytes = 36;
constexpr std::uint64_t rsdp_bytes = 36;
constexpr std::uint64_t table_alignment = 64; // what the FACS asks for, enough for all

void append_text(Bytes &to, std::string_view text) {
    for (const char c : text)
        to.push_back(static_cast<std::byte>(c));
}

std::uint8_t checksum(ByteView bytes) {
    const auto sum =
        std::accumulate(bytes.begin(), bytes.end(), 0U, [](unsigned total, std::byte b) {
            return total + std::to_integer<unsigned>(b);
        });
    return static_cast<std::uint8_t>(0x100 - (sum & 0xff));
}

// Generic Address Structure in system I/O space. The access size is 1, 2, 3 for 1, 2, 4 bytes;
// larger blocks (GPE) are accessed by bytes.
void put_io_address(Bytes &table, std::uint64_t at, std::uint16_t port, unsigned bytes) {
    constexpr std::uint8_t system_io = 1;
    put(table, at, system_io);
    put(table, at + 1, static_cast<std::uint8_t>(bytes * 8));
    put(table, at + 2, std::uint8_t{0});
    put(table, at + 3, static_cast<std::uint8_t>(bytes == 4 ? 3 : bytes == 2 ? 2 : 1));
    put(table, at + 4, std::uint64_t{port});
}

// Fixed feature flags and boot architecture flags ("Fixed ACPI Description Table").
constexpr std::uint32_t fadt_wbinvd = 1 << 0;
constexpr std::uint32_t fadt_proc_c1 = 1 << 2;
constexpr std::uint32_t fadt_power_button_none = 1 << 4;
constexpr std::uint32_t fadt_sleep_button_none = 1 << 5;
constexpr std::uint32_t fadt_rtc_wake_none = 1 << 6;
constexpr std::uint32_t fadt_timer_32bit = 1 << 8;
constexpr std::uint32_t fadt_reset_register = 1 << 10;
constexpr std::uint32_t fadt_hardware_reduced = 1 << 20;
constexpr std::uint16_t arch_legacy_devices = 1 << 0;
constexpr std::uint16_t arch_8042 = 1 << 1;
constexpr std::uint16_t arch_no_vga = 1 << 2;
constexpr std::uint16_t arch_no_rtc = 1 << 5;

void put_full_hardware(Bytes &table, const AcpiConfig &config) {
    put(table, 46, std::uint16_t{config.sci_irq});
    put(table, 56, std::uint32_t{config.pm1_event});
    put(table, 64, std::uint32_t{config.pm1_control});
    put(table, 88, std::uint8_t{4}); // PM1_EVT_LEN
    put(table, 89, std::uint8_t{2}); // PM1_CNT_LEN
    put_io_address(table, 148, config.pm1_event, 4);
    put_io_address(table, 172, config.pm1_control, 2);
    if (config.gpe0 != 0) {
        put(table, 80, std::uint32_t{config.gpe0});
        put(table, 92, config.gpe0_length);
        put_io_address(table, 220, config.gpe0, config.gpe0_length);
    }
    if (config.pm_timer == 0) return;
    put(table, 76, std::uint32_t{config.pm_timer});
    put(table, 91, std::uint8_t{4}); // PM_TMR_LEN
    put_io_address(table, 208, config.pm_timer, 4);
}

std::uint32_t fadt_flags(const AcpiConfig &config) {
    const auto common = fadt_wbinvd | fadt_proc_c1 | fadt_sleep_button_none | fadt_reset_register;
    if (config.hardware_reduced) return common | fadt_power_button_none | fadt_hardware_reduced;
    return common | fadt_rtc_wake_none | (config.power_button ? 0 : fadt_power_button_none) |
           (config.pm_timer_32_bit ? fadt_timer_32bit : 0);
}

std::uint16_t fadt_boot_architecture(const AcpiConfig &config) {
    unsigned flags = config.vga ? 0 : arch_no_vga;
    if (!config.uarts.empty() || config.i8042) flags |= arch_legacy_devices;
    if (config.i8042) flags |= arch_8042;
    if (!config.rtc) flags |= arch_no_rtc;
    return static_cast<std::uint16_t>(flags);
}

// Interrupt Source Override; flags: polarity in bits 0-1, trigger in bits 2-3 ("MPS INTI Flags").
void append_override(Bytes &body, std::uint8_t source, std::uint32_t gsi, std::uint16_t flags) {
    append(body, std::uint8_t{2});
    append(body, std::uint8_t{10});
    append(body, std::uint8_t{0}); // ISA
    append(body, source);
    append(body, gsi);
    append(body, flags);
}

constexpr std::uint16_t as_the_bus = 0;
constexpr std::uint16_t level_high = 1 | 3 << 2;
constexpr std::uint32_t first_x2apic_id = 255; // 255 is the broadcast id of xAPIC

void append_processor(Bytes &body, std::uint32_t uid, std::uint32_t apic_id) {
    constexpr std::uint32_t enabled = 1;
    if (apic_id < first_x2apic_id && uid < 255) {
        append(body, std::uint8_t{0});
        append(body, std::uint8_t{8});
        append(body, static_cast<std::uint8_t>(uid));
        append(body, static_cast<std::uint8_t>(apic_id));
        append(body, enabled);
        return;
    }
    append(body, std::uint8_t{9});
    append(body, std::uint8_t{16});
    append(body, std::uint16_t{0});
    append(body, apic_id);
    append(body, enabled);
    append(body, uid);
}

// LINT1 of all processors is NMI.
void append_nmi(Bytes &body, bool x2apic) {
    append(body, std::uint8_t{4});
    append(body, std::uint8_t{6});
    append(body, std::uint8_t{0xff});
    append(body, as_the_bus);
    append(body, std::uint8_t{1});
    if (!x2apic) return;
    append(body, std::uint8_t{0xa});
    append(body, std::uint8_t{12});
    append(body, as_the_bus);
    append(body, std::uint32_t{0xffff'ffff});
    append(body, std::uint8_t{1});
    append(body, std::uint8_t{0});
    append(body, std::uint16_t{0});
}

Bytes build_rsdp(std::uint64_t rsdt, std::uint64_t xsdt) {
    Bytes rsdp;
    append_text(rsdp, "RSD PTR ");
    append(rsdp, std::uint8_t{0});
    append_text(rsdp, "HWV   ");
    append(rsdp, std::uint8_t{2});
    append(rsdp, static_cast<std::uint32_t>(rsdt));
    append(rsdp, static_cast<std::uint32_t>(rsdp_bytes));
    append(rsdp, xsdt);
    append(rsdp, std::uint32_t{0}); // extended checksum and three reserved bytes
    put(rsdp, 8, checksum(ByteView{rsdp}.first(20)));
    put(rsdp, 32, checksum(rsdp));
    return rsdp;
}

} // namespace

Bytes seal_table(const char (&signature)[5], std::uint8_t revision, const Bytes &body) {
    Bytes table;
    append_text(table, signature);
    append(table, static_cast<std::uint32_t>(header_bytes + body.size()));
    append(table, revision);
    append(table, std::uint8_t{0}); // checksum
    append_text(table, "HWV   ");
    append_text(table, "HWVPC   ");
    append(table, std::uint32_t{1});
    append_text(table, "HWV ");
    append(table, std::uint32_t{1});
    table.insert(table.end(), body.begin(), body.end());
    put(table, 9, checksum(table));
    return table;
}

AcpiConfig acpi_config(const machine::MachineDescription &pc, std::uint32_t vcpus) {
    AcpiConfig config;
    config.apic_ids.resize(vcpus);
    std::iota(config.apic_ids.begin(), config.apic_ids.end(), 0U);
    config.io_apic_id = pc.ioapic.id;
    config.io_apic_base = static_cast<std::uint32_t>(pc.ioapic.base);
    config.pit_on_gsi2 = pc.legacy && pc.timer_gsi == 2;
    config.legacy_pics = pc.legacy;
    config.hardware_reduced = !pc.legacy;
    config.uarts.clear();
    for (const auto &serial : pc.serial)
        if (serial) config.uarts.push_back({serial->port, serial->irq});
    config.rtc = pc.rtc;
    config.rtc_century = pc.rtc_century;
    config.i8042 = pc.i8042;
    config.keyboard = pc.keyboard;
    config.vga = pc.vga;
    config.panic_port = pc.panic_port.value_or(0);
    config.pm1_event = pc.pm.pm1_event;
    config.pm1_control = pc.pm.pm1_control;
    config.pm_timer = pc.pm.timer;
    config.pm_timer_32_bit = pc.pm.timer_32_bit;
    config.gpe0 = pc.legacy ? pc.pm.gpe0 : std::uint16_t{0};
    config.gpe0_length = pc.pm.gpe0_length;
    config.sleep_control = pc.pm.sleep_control;
    config.sleep_status = pc.pm.sleep_status;
    config.s5_type = pc.pm.s5_sleep_type;
    config.sci_irq = pc.sci_irq;
    config.reset_port = pc.reset.port;
    config.reset_value = pc.reset.value;
    config.hpet = pc.hpet;
    config.pci = pc.pci;
    return config;
}

Bytes build_fadt(const AcpiConfig &config, std::uint64_t facs, std::uint64_t dsdt) {
    constexpr std::uint64_t fadt_bytes = 276; // revision 6
    Bytes table(fadt_bytes);
    if (!config.hardware_reduced) {
        put(table, 36, static_cast<std::uint32_t>(facs));
        put_full_hardware(table, config);
    } else {
        put_io_address(table, 244, config.sleep_control, 1);
        put_io_address(table, 256, config.sleep_status, 1);
    }
    put(table, 40, static_cast<std::uint32_t>(dsdt));
    put(table, 96, std::uint16_t{0xfff}); // P_LVL2_LAT above 100: no C2
    put(table, 98, std::uint16_t{0xfff}); // P_LVL3_LAT above 1000: no C3
    if (config.rtc) put(table, 108, config.rtc_century);
    put(table, 109, fadt_boot_architecture(config));
    put(table, 112, fadt_flags(config));
    put_io_address(table, 116, config.reset_port, 1);
    put(table, 128, config.reset_value);
    put(table, 140, dsdt); // X_DSDT; X_FIRMWARE_CTRL stays 0 as the FACS is below 4 GiB
    return seal_table("FACP", 6, Bytes(table.begin() + header_bytes, table.end()));
}

Bytes build_facs() {
    Bytes facs;
    append_text(facs, "FACS");
    append(facs, std::uint32_t{64});
    facs.resize(64);
    put(facs, 32, std::uint8_t{2}); // version
    return facs;
}

Bytes build_madt(const AcpiConfig &config) {
    Bytes body;
    append(body, static_cast<std::uint32_t>(config.local_apic));
    append(body, std::uint32_t{config.legacy_pics && !config.hardware_reduced}); // PCAT_COMPAT
    std::uint32_t uid = 0;
    bool x2apic = false;
    for (const auto apic_id : config.apic_ids) {
        x2apic |= apic_id >= first_x2apic_id;
        append_processor(body, uid++, apic_id);
    }
    if (config.io_apic) {
        append(body, std::uint8_t{1});
        append(body, std::uint8_t{12});
        append(body, config.io_apic_id);
        append(body, std::uint8_t{0});
        append(body, config.io_apic_base);
        append(body, std::uint32_t{0}); // first GSI
        if (config.pit_on_gsi2) append_override(body, 0, 2, as_the_bus);
        if (!config.hardware_reduced)
            append_override(body, config.sci_irq, config.sci_irq, level_high);
    }
    append_nmi(body, x2apic);
    return seal_table("APIC", 4, body);
}

// "Memory-mapped Enhanced Configuration Space Base Address Description Table", PCI Firmware
// Specification.
Bytes build_mcfg(const AcpiConfig &config) {
    Bytes body(8);
    append(body, config.pci->ecam_base);
    append(body, std::uint16_t{0}); // segment
    append(body, std::uint8_t{0});  // first and last bus
    append(body, static_cast<std::uint8_t>((config.pci->ecam_bytes >> 20) - 1));
    append(body, std::uint32_t{0});
    return seal_table("MCFG", 1, body);
}

// "The ACPI 2.0 HPET Description Table", IA-PC HPET Specification.
Bytes build_hpet(const AcpiConfig &config) {
    constexpr std::uint32_t memory_of_64_bits = 64 << 8; // Generic Address Structure
    Bytes body;
    append(body, config.hpet->id);
    append(body, memory_of_64_bits);
    append(body, config.hpet->base);
    append(body, std::uint8_t{0}); // the first of its kind
    append(body, config.hpet->shortest_period);
    append(body, std::uint8_t{0}); // nothing said of what else is in its page
    return seal_table("HPET", 1, body);
}

AcpiTables build_acpi(const AcpiConfig &config, std::uint64_t base) {
    AcpiTables result;
    result.base = base;
    const auto place = [&](const Bytes &table) {
        result.blob.resize(align_up(result.blob.size(), table_alignment));
        const auto at = base + result.blob.size();
        result.blob.insert(result.blob.end(), table.begin(), table.end());
        result.tables.push_back({at, table.size()});
        return at;
    };
    const auto facs = place(build_facs());
    const auto dsdt = place(build_dsdt(config));
    Bytes rsdt;
    Bytes xsdt;
    std::vector<Bytes> listed{build_fadt(config, facs, dsdt), build_madt(config)};
    if (config.hpet) listed.push_back(build_hpet(config));
    if (config.pci) listed.push_back(build_mcfg(config));
    for (const auto &table : listed) {
        const auto at = place(table);
        append(rsdt, static_cast<std::uint32_t>(at));
        append(xsdt, at);
    }
    const auto rsdt_at = place(seal_table("RSDT", 1, rsdt));
    const auto xsdt_at = place(seal_table("XSDT", 1, xsdt));
    result.rsdp = build_rsdp(rsdt_at, xsdt_at);
    return result;
}

std::uint64_t write_acpi(GuestMemory &memory, const AcpiConfig &config) {
    const auto rsdp_at = firmware_area.start;
    const auto tables = build_acpi(config, rsdp_at + table_alignment);
    const auto end = tables.base + tables.blob.size();
    if (end > firmware_area.end() || !memory.is_ram(rsdp_at, end - rsdp_at))
        throw Error("ACPI tables need " + std::to_string((end - rsdp_at) / 1024 + 1) + " KiB at " +
                    hex(rsdp_at) + " and do not fit");
    memory.write(rsdp_at, tables.rsdp);
    memory.write(tables.base, tables.blob);
    return rsdp_at;
}

} // namespace boot
