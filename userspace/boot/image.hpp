// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "boot/bytes.hpp"

namespace boot {

enum class ImageKind : std::uint8_t { unknown, bzimage, pvh, multiboot, multiboot2 };

// Recognises an image by its content alone. A kernel that is several at once counts as the one
// whose start information says most: multiboot 2, PVH, multiboot 1. Never throws: what is cut short
// is unknown, or found out by its loader.
ImageKind identify(ByteView image);

// As after --boot: linux, pvh, multiboot, multiboot2; nothing for another word.
std::optional<ImageKind> kind_named(std::string_view name);

// One line for the user on what an unknown image may be: "compressed (gzip): unpack it first", "not
// a kernel: ...".
std::string describe_unknown(ByteView image);

} // namespace boot
