// SPDX-License-Identifier: GPL-2.0-only
// The machine's memory, under the names that loaders use.
#pragma once

#include "boot/bytes.hpp"
#include "machine/guest_memory.hpp"

namespace boot {

using machine::four_gib;
using machine::GpaRange;
using machine::GuestMemory;
using machine::pc_ram_layout;
using machine::pci_hole_start;
using machine::RamRegion;

} // namespace boot
