// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "boot/load.hpp"

namespace boot {

// Multiboot specification 0.6.96 (version 1): ELF32, or any file with the addresses in its header.
bool is_multiboot(ByteView image);
// `name` becomes the first word of the command line, as boot loaders do.
Entry load_multiboot(GuestMemory &memory, ByteView image, const Payload &payload,
                     const std::string &name);

} // namespace boot
