// SPDX-License-Identifier: GPL-2.0-only
#include "machine/firmware/rom.hpp"

#include <algorithm>
#include <stdexcept>

namespace machine::firmware {

namespace {

constexpr std::uint64_t one_mib = 1u << 20;
constexpr std::uint64_t shadow_bytes = 128u << 10;

std::uint64_t checked(std::uint64_t size) {
    if (size == 0 || size % rom_granule != 0 || size > largest_rom)
        throw std::invalid_argument("not a firmware image: its size is no multiple of 4 KiB up to "
                                    "16 MiB");
    return size;
}

} // namespace

Rom::Rom(ByteView image, MemorySlots &slots) : pages_(checked(image.size())) {
    std::copy(image.begin(), image.end(), pages_.bytes().begin());
    if (!slots.map(gpa(), pages_.bytes(), true))
        throw std::runtime_error("the firmware's place below 4 GiB is taken");
}

void Rom::shadow(GuestMemory &ram) const {
    const std::uint64_t size = std::min<std::uint64_t>(pages_.bytes().size(), shadow_bytes);
    ram.write(one_mib - size, pages_.bytes().last(size));
}

} // namespace machine::firmware
