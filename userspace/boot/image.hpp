// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "boot/bytes.hpp"

namespace boot {

enum class ImageKind : std::uint8_t { unknown, bzimage, pvh, multiboot };

// Recognises an image by its content alone. A kernel that is both PVH and multiboot counts as PVH,
// whose start information says more. Never throws: what is cut short is unknown, or found out by
// its loader.
ImageKind identify(ByteView image);

// One line for the user on what an unknown image may be: "compressed (gzip): unpack it first", "not
// a kernel: ...".
std::string describe_unknown(ByteView image);

} // namespace boot
