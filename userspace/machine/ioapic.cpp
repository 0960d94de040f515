// SPDX-License-Identifier: GPL-2.0-only
#include "machine/ioapic.hpp"

namespace machine {

namespace {

constexpr std::uint64_t select_offset = 0x00;
constexpr std::uint64_t window_offset = 0x10;
constexpr std::uint64_t eoi_offset = 0x40;

constexpr std::uint8_t id_index = 0;
constexpr std::uint8_t version_index = 1;
constexpr std::uint8_t arbitration_index = 2;
constexpr std::uint8_t first_entry_index = 0x10;
constexpr std::uint32_t version = 0x20;

constexpr std::uint64_t remote_irr = std::uint64_t{1} << 14;
constexpr std::uint64_t level_mode = std::uint64_t{1} << 15;
constexpr std::uint64_t masked = std::uint64_t{1} << 16;
// Vector to trigger mode and mask, the destination, and its extension in bits 49-55.
constexpr std::uint64_t writable = 0xfffe'0000'0001'afff;

constexpr unsigned lowest_priority = 1;

unsigned delivery_mode(std::uint64_t entry) { return static_cast<unsigned>(entry >> 8) & 7; }

} // namespace

bool IoApic::attach(MmioBus &bus, std::uint64_t base) { return bus.claim(base, length, *this); }

std::uint64_t IoApic::read(std::uint64_t offset, unsigned) noexcept {
    switch (offset) {
    case select_offset: return select_;
    case window_offset: return read_register(select_);
    default: return 0;
    }
}

void IoApic::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    switch (offset) {
    case select_offset: select_ = static_cast<std::uint8_t>(value); break;
    case window_offset: write_register(select_, static_cast<std::uint32_t>(value)); break;
    case eoi_offset: eoi(static_cast<std::uint8_t>(value)); break;
    default: break;
    }
}

std::uint32_t IoApic::read_register(std::uint8_t index) const noexcept {
    if (index == id_index || index == arbitration_index) return id_;
    if (index == version_index) return version | (pins - 1) << 16;
    const unsigned pin = (index - first_entry_index) / 2u;
    if (index < first_entry_index || pin >= pins) return 0;
    return static_cast<std::uint32_t>(entries_[pin] >> (index % 2 != 0 ? 32 : 0));
}

void IoApic::write_register(std::uint8_t index, std::uint32_t value) noexcept {
    if (index == id_index) {
        id_ = value & 0x0f000000;
        return;
    }
    const unsigned pin = (index - first_entry_index) / 2u;
    if (index >= first_entry_index && pin < pins) write_entry(pin, index % 2 != 0, value);
}

void IoApic::write_entry(unsigned pin, bool high, std::uint32_t value) noexcept {
    const std::uint64_t half = high ? 0xffffffff'00000000 : 0xffffffff;
    const std::uint64_t placed = static_cast<std::uint64_t>(value) << (high ? 32 : 0);
    const std::uint64_t mask = writable & half;
    std::uint64_t &entry = entries_[pin];
    entry = (entry & ~mask) | (placed & mask);
    // Remote IRR has no meaning for edges; systems without an EOI register clear it by switching an
    // entry to edge and back.
    if ((entry & level_mode) == 0) entry &= ~remote_irr;
    update_level_vectors();
    service_level(pin);
}

void IoApic::update_level_vectors() noexcept {
    VectorBitmap vectors{};
    for (const std::uint64_t entry : entries_)
        // A masked entry still waits for the EOI of what it sent before.
        if ((entry & level_mode) != 0 && ((entry & masked) == 0 || (entry & remote_irr) != 0))
            vectors[(entry & 0xff) / 64] |= std::uint64_t{1} << (entry % 64);
    if (vectors == level_vectors_) return;
    level_vectors_ = vectors;
    eoi_sink_.level_vectors(vectors);
}

void IoApic::send(unsigned pin) noexcept {
    const std::uint64_t entry = entries_[pin];
    const auto destination = static_cast<std::uint32_t>(entry >> 56);
    const auto extension = static_cast<std::uint32_t>(entry >> 49) & 0x7f;
    const auto logical = static_cast<std::uint32_t>(entry >> 11) & 1;
    const unsigned mode = delivery_mode(entry);
    const bool level = (entry & level_mode) != 0;
    // SDM volume 3, "Message Address Register Format" and "Message Data Register Format": the
    // redirection hint is what lets a message go to the lowest priority of several processors.
    const std::uint64_t address = 0xfee00000u | destination << 12 | extension << 5 |
                                  (mode == lowest_priority ? 1u << 3 : 0) | logical << 2;
    const std::uint32_t data =
        static_cast<std::uint32_t>(entry & 0xff) | mode << 8 | (level ? 1u << 14 | 1u << 15 : 0);
    messages_.deliver(address, data);
}

void IoApic::service_level(unsigned pin) noexcept {
    std::uint64_t &entry = entries_[pin];
    const bool asserted = (lines_ >> pin & 1) != 0;
    if (!asserted || (entry & level_mode) == 0 || (entry & (masked | remote_irr)) != 0) return;
    entry |= remote_irr;
    send(pin);
}

void IoApic::set_pin(unsigned pin, bool level) noexcept {
    if (pin >= pins) return;
    const std::uint32_t mask = 1u << pin;
    const bool rising = level && (lines_ & mask) == 0;
    lines_ = level ? lines_ | mask : lines_ & ~mask;
    const std::uint64_t entry = entries_[pin];
    if ((entry & level_mode) != 0)
        service_level(pin);
    else if (rising && (entry & masked) == 0)
        // An edge on a masked pin is lost ("Interrupt Mask").
        send(pin);
}

void IoApic::eoi(std::uint8_t vector) noexcept {
    for (unsigned pin = 0; pin < pins; ++pin) {
        std::uint64_t &entry = entries_[pin];
        if ((entry & 0xff) != vector || (entry & remote_irr) == 0) continue;
        entry &= ~remote_irr;
        service_level(pin);
    }
    update_level_vectors();
}

} // namespace machine
