// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "boot/load.hpp"

namespace boot {

// Linux boot protocol, 2.06 and later ("The Linux/x86 Boot Protocol" in the kernel's
// documentation).
bool is_bzimage(ByteView image);
Entry load_bzimage(GuestMemory &memory, ByteView image, const Payload &payload);

} // namespace boot
