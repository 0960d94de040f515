// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>

#include "boot/bytes.hpp"

namespace boot {

// What an image that is packed by gzip may have in it.
constexpr std::size_t largest_unpacked = std::size_t{1} << 30;

bool is_gzip(ByteView file);

// The first member of a gzip file (RFC 1952); what follows is ignored. Throws Error where it is
// damaged, or has more than `most` bytes.
Bytes gunzip(ByteView file, std::size_t most = largest_unpacked);

} // namespace boot
