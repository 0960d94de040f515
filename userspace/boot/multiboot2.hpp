// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "boot/load.hpp"

namespace boot {

// Multiboot2 specification, version 2.0: ELF32 or ELF64 for i386, or any file with the addresses in
// its header. Started at its 32-bit entry, as on a PC with a BIOS.
bool is_multiboot2(ByteView image);
// `name` becomes the first word of the command line, as in multiboot 1.
Entry load_multiboot2(GuestMemory &memory, ByteView image, const Payload &payload,
                      const std::string &name);

} // namespace boot
