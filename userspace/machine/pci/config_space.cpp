// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pci/config_space.hpp"

#include <stdexcept>

namespace machine::pci {

namespace {

constexpr std::uint16_t has_capabilities = 1u << 4; // status register

} // namespace

std::uint32_t ConfigSpace::read(unsigned offset, unsigned bytes) const noexcept {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < bytes && i < 4 && offset + i < size; ++i)
        value |= std::uint32_t{bytes_[offset + i]} << (8 * i);
    return value;
}

void ConfigSpace::write(unsigned offset, unsigned bytes, std::uint32_t value) noexcept {
    for (unsigned i = 0; i < bytes && i < 4 && offset + i < size; ++i) {
        const auto mask = writable_[offset + i];
        const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
        bytes_[offset + i] =
            static_cast<std::uint8_t>((bytes_[offset + i] & ~mask) | (byte & mask));
    }
}

unsigned ConfigSpace::add_capability(std::uint8_t id, unsigned length) {
    const unsigned at = free_;
    if (length > size - at) throw std::length_error("PCI capabilities do not fit");
    free_ += (length + 3) & ~3u;
    bytes_[at] = id;
    bytes_[at + 1] = bytes_[reg::capabilities];
    bytes_[reg::capabilities] = static_cast<std::uint8_t>(at);
    set<std::uint16_t>(reg::status, get<std::uint16_t>(reg::status) | has_capabilities);
    return at;
}

} // namespace machine::pci
