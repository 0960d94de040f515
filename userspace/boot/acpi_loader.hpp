// SPDX-License-Identifier: GPL-2.0-only
// The ACPI tables for a firmware that decides by itself where they lie.
#pragma once

#include "boot/acpi.hpp"

namespace boot {

// Three files for the firmware ("QEMU Firmware Configuration", "etc/table-loader"): tables whose
// pointers count from the file's beginning, the RSDP, and the commands by which the firmware
// allocates both, turns the pointers into addresses and seals the tables again.
struct AcpiFiles {
    Bytes tables;
    Bytes rsdp;
    Bytes loader;
};

inline constexpr const char *acpi_tables_file = "etc/acpi/tables";
inline constexpr const char *acpi_rsdp_file = "etc/acpi/rsdp";
inline constexpr const char *acpi_loader_file = "etc/table-loader";

AcpiFiles acpi_files(const AcpiConfig &config);

} // namespace boot
