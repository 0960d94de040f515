// SPDX-License-Identifier: GPL-2.0-only
#pragma once
#include "hwvctl/devices.hpp"
#include "machine/machine.hpp"

namespace hwvctl {

// Disks that shall be there, then CD-ROMs, on the cables in their order. Throws UsageError for too
// many, std::exception of what cannot be opened.
void add_ide(machine::Machine &machine, const Devices &devices);

} // namespace hwvctl
