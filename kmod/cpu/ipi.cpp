// SPDX-License-Identifier: GPL-2.0-only
// ipi.cpp - decoding of interrupt messages and the match of destinations.
#include "cpu/ipi.hpp"

namespace hwv::cpu {
namespace {

constexpr std::uint64_t msi_window = 0xfee0'0000;
constexpr std::uint64_t msi_window_mask = ~0xf'ffffull;
constexpr std::uint32_t trigger_level = 1u << 15;
constexpr std::uint32_t level_assert = 1u << 14;
constexpr std::uint32_t flat_format = 0xf;

constexpr bool flat_match(std::uint8_t logical, std::uint8_t wanted) { return logical & wanted; }

constexpr bool cluster_match(std::uint8_t logical, std::uint8_t wanted) {
    return logical >> 4 == wanted >> 4 && (logical & wanted & 0xf);
}

constexpr bool x2apic_match(std::uint32_t logical, std::uint32_t wanted) {
    return logical >> 16 == wanted >> 16 && (logical & wanted & 0xffff);
}

static_assert(flat_match(0x04, 0x06) && !flat_match(0x04, 0x03));
static_assert(cluster_match(0x21, 0x23) && !cluster_match(0x21, 0x13) &&
              !cluster_match(0x21, 0x22));
static_assert(x2apic_match(x2apic_logical_id(0x25), 0x0002'0020) &&
              !x2apic_match(x2apic_logical_id(5), 0x0002'0020));

} // namespace

bool decode_msi(std::uint64_t address, std::uint32_t data, InterruptMessage &out) {
    if ((address & msi_window_mask) != msi_window) return false;
    const auto mode = static_cast<DeliveryMode>(data >> 8 & 7);
    if (mode == DeliveryMode::reserved || mode == DeliveryMode::start_up) return false;
    const auto low = static_cast<std::uint8_t>(address >> 12);
    const auto high = static_cast<std::uint32_t>(address >> 5 & 0x7f);
    out = {};
    out.destination = high ? high << 8 | low : widen_destination(low);
    out.mode = mode;
    out.vector = static_cast<std::uint8_t>(data);
    out.logical = address >> 2 & 1;
    // the assert bit is taken for granted: a de-assert message has nothing to do at a local APIC
    out.level = data & trigger_level;
    return true;
}

bool decode_icr(std::uint64_t icr, bool wide, InterruptMessage &out) {
    const auto low = static_cast<std::uint32_t>(icr);
    const auto high = static_cast<std::uint32_t>(icr >> 32);
    const auto mode = static_cast<DeliveryMode>(low >> 8 & 7);
    if (mode == DeliveryMode::reserved || mode == DeliveryMode::extint) return false;
    // INIT level de-assert only synchronized arbitration ids, long ago
    if (mode == DeliveryMode::init && (low & trigger_level) && !(low & level_assert)) return false;
    out = {};
    out.destination = wide ? high : widen_destination(static_cast<std::uint8_t>(high >> 24));
    out.mode = mode;
    out.shorthand = static_cast<Shorthand>(low >> 18 & 3);
    out.vector = static_cast<std::uint8_t>(low);
    out.logical = low >> 11 & 1;
    // IPIs are edge-triggered whatever the trigger bit says ("Interrupt Command Register (ICR)",
    // trigger mode)
    out.level = false;
    return true;
}

bool matches(const InterruptMessage &message, const Address &address) {
    if (message.destination == broadcast) return true;
    if (!message.logical) return message.destination == address.id;
    if (address.x2apic) return x2apic_match(address.logical, message.destination);
    if (message.destination > 0xff) return false;
    const auto own = static_cast<std::uint8_t>(address.logical >> 24);
    const auto wanted = static_cast<std::uint8_t>(message.destination);
    return address.format >> 28 == flat_format ? flat_match(own, wanted)
                                               : cluster_match(own, wanted);
}

} // namespace hwv::cpu
