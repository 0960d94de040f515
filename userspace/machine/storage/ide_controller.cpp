// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/ide_controller.hpp"

namespace machine::storage {

namespace {

constexpr unsigned master_bar = 4;
constexpr std::uint64_t master_bytes = 8; // of each channel
constexpr unsigned timing = 0x40;         // IDETIM of both channels; the rest are speeds
constexpr std::uint16_t decode_enable = 0x8000;

} // namespace

IdeController::IdeController(const std::array<IrqLine, 2> &lines, GuestMemory &ram)
    // Both channels at their ISA ports, for ever; a bus master.
    : Function({.vendor = 0x8086, .device = 0x7111, .class_code = 0x010180, .revision = 1}),
      channels_{IdeChannel{lines[0], ram}, IdeChannel{lines[1], ram}} {
    add_bar(master_bar, pci::BarKind::io, 2 * master_bytes);
    for (unsigned channel = 0; channel < 2; ++channel) {
        config().set<std::uint16_t>(timing + 2 * channel, decode_enable);
        config().set_writable<std::uint16_t>(timing + 2 * channel, 0xffff);
    }
    config().set_writable<std::uint8_t>(timing + 4, 0xff);         // SIDETIM
    config().set_writable<std::uint32_t>(timing + 8, 0x3333'000f); // UDMACTL, UDMATIM
}

bool IdeController::attach(PortBus &bus) {
    for (unsigned channel = 0; channel < 2; ++channel)
        if (!channels_[channel].attach(bus, command_ports[channel], control_ports[channel]))
            return false;
    return true;
}

void IdeController::plug(unsigned position, std::unique_ptr<IdeDrive> drive) {
    channels_.at(position / 2).plug(position % 2, std::move(drive));
}

std::uint64_t IdeController::read_bar(unsigned, std::uint64_t offset, unsigned size) noexcept {
    std::uint64_t value = 0;
    for (unsigned index = 0; index < size && offset + index < 2 * master_bytes; ++index) {
        const auto at = static_cast<unsigned>(offset + index);
        value |= std::uint64_t{channels_[at / master_bytes].read_master(at % master_bytes)}
                 << (8 * index);
    }
    return value;
}

void IdeController::write_bar(unsigned, std::uint64_t offset, unsigned size,
                              std::uint64_t value) noexcept {
    for (unsigned index = 0; index < size && offset + index < 2 * master_bytes; ++index) {
        const auto at = static_cast<unsigned>(offset + index);
        channels_[at / master_bytes].write_master(at % master_bytes,
                                                  static_cast<std::uint8_t>(value >> (8 * index)));
    }
}

} // namespace machine::storage
