// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "boot/load.hpp"

namespace boot {

// Multiboot specification 0.6.96 (version 1): ELF32, or any file with the addresses in its header.
bool is_multiboot(ByteView image);
// `name` becomes the first word of the command line, as boot loaders do.
Entry load_multiboot(GuestMemory &memory, ByteView image, const Payload &payload,
                     const std::string &name);

// The fields of the address tag, the same in both versions' headers.
struct LoadAddresses {
    std::uint64_t header = 0;
    std::uint64_t load = 0;
    std::uint64_t load_end = 0; // 0: the whole file
    std::uint64_t bss_end = 0;  // 0: none
};
// Loads an image whose header, at `header_at` in the file, says itself where; returns what it
// takes.
GpaRange load_by_addresses(GuestMemory &memory, ByteView image, std::uint64_t header_at,
                           const LoadAddresses &addresses);

} // namespace boot
