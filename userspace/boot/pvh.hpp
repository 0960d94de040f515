// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "boot/load.hpp"

namespace boot {

// ELF with the note XEN_ELFNOTE_PHYS32_ENTRY ("x86/HVM direct boot ABI" in Xen's documentation).
bool is_pvh(ByteView image);
Entry load_pvh(GuestMemory &memory, ByteView image, const Payload &payload);

} // namespace boot
