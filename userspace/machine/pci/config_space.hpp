// SPDX-License-Identifier: GPL-2.0-only
// The 256 bytes by which a function is found and configured (PCI Local Bus Specification,
// "Configuration Space").
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace machine::pci {

namespace reg {
constexpr unsigned vendor = 0x00, device = 0x02, command = 0x04, status = 0x06, revision = 0x08;
constexpr unsigned header_type = 0x0e, bar0 = 0x10, subsystem_vendor = 0x2c, subsystem = 0x2e;
constexpr unsigned rom = 0x30, capabilities = 0x34, interrupt_line = 0x3c, interrupt_pin = 0x3d;
constexpr unsigned first_free = 0x40;
} // namespace reg

namespace command {
constexpr std::uint16_t io = 1u << 0, memory = 1u << 1, master = 1u << 2, no_intx = 1u << 10;
}

class ConfigSpace {
  public:
    static constexpr unsigned size = 256;

    // As the guest does it: of a write only the writable bits change. What lies outside reads as 0.
    std::uint32_t read(unsigned offset, unsigned bytes) const noexcept;
    void write(unsigned offset, unsigned bytes, std::uint32_t value) noexcept;

    // As the device does it. `offset` is the device's own choice, never the guest's.
    template <typename T>
    T get(unsigned offset) const {
        T value;
        std::memcpy(&value, &bytes_.at(offset), sizeof value);
        return value;
    }
    template <typename T>
    void set(unsigned offset, T value) {
        std::memcpy(&bytes_.at(offset), &value, sizeof value);
    }
    template <typename T>
    void set_writable(unsigned offset, T mask) {
        std::memcpy(&writable_.at(offset), &mask, sizeof mask);
    }

    // Puts a capability of `length` bytes at the head of the list; its offset. Throws
    // std::length_error when there is no room.
    unsigned add_capability(std::uint8_t id, unsigned length);

  private:
    std::array<std::uint8_t, size> bytes_{};
    std::array<std::uint8_t, size> writable_{};
    unsigned free_ = reg::first_free;
};

} // namespace machine::pci
