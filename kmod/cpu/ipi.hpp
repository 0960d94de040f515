// SPDX-License-Identifier: GPL-2.0-only
// ipi.hpp - one interrupt message, from an ICR, an MSI or an irqfd, and its way to the local APICs
// of a VM. Manual: Intel SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)": "Issuing
// Interprocessor Interrupts", "Determining IPI Destination", "Message Signalled Interrupts".
#pragma once
#include <atomic>
#include <cstdint>

namespace hwv::cpu {

// As encoded in ICR, LVT entries and MSI data.
enum class DeliveryMode : std::uint8_t {
    fixed,
    lowest_priority,
    smi,
    reserved,
    nmi,
    init,
    start_up,
    extint
};

enum class Shorthand : std::uint8_t { none, self, all, others };

// A destination that means every local APIC, physical or logical. An 8-bit 0xff is widened to it
// when a message is made, so that the width of the sender's destination field need not travel
// along.
inline constexpr std::uint32_t broadcast = 0xffff'ffff;

struct InterruptMessage {
    std::uint32_t destination = 0; // APIC id, or logical destination
    DeliveryMode mode = DeliveryMode::fixed;
    Shorthand shorthand = Shorthand::none;
    std::uint8_t vector = 0;
    bool logical = false;
    bool level = false; // level-triggered, asserted

    constexpr bool operator==(const InterruptMessage &) const = default;
};

constexpr std::uint32_t widen_destination(std::uint8_t destination) {
    return destination == 0xff ? broadcast : destination;
}

// The MSI at `address` with `data`. Bits 11:5 of the address are bits 14:8 of the destination
// (KVM's extended destination id). False: no interrupt message (address outside 0xfeexxxxx,
// reserved or start-up delivery mode).
bool decode_msi(std::uint64_t address, std::uint32_t data, InterruptMessage &out);

// ICR as one 64-bit value. `wide`: x2APIC form, the destination is the whole upper half.
// Level-triggered INIT de-assert and reserved modes send nothing: false.
bool decode_icr(std::uint64_t icr, bool wide, InterruptMessage &out);

// The logical id that an x2APIC has by its physical one.
constexpr std::uint32_t x2apic_logical_id(std::uint32_t id) {
    return (id >> 4) << 16 | 1u << (id & 0xf);
}

// What of a local APIC decides whether it is meant by a destination.
struct Address {
    std::uint32_t id;
    std::uint32_t logical; // LDR: bits 31:24 in xAPIC mode, all 32 in x2APIC mode
    std::uint32_t format;  // DFR; xAPIC only
    bool x2apic;
};

bool matches(const InterruptMessage &message, const Address &address);

// The messages' way. A Bus models:
//   unsigned size()                      ids are below this
//   Apic *apic(unsigned id)              nullptr: no vCPU with that id
//   void notify(Apic &)                  wakes or kicks the vCPU: it has something new
//   std::atomic<std::uint32_t> &turn()   where the next lowest-priority arbitration starts
// and its Apic is LocalApic or looks like it: present(), address(), arbitrable(), accept(message)
// -> Acceptance.
enum class Acceptance : std::uint8_t {
    refused,   // not for this APIC in its state
    coalesced, // was pending already: nobody needs to be woken
    accepted,
};

namespace detail {

template <typename Bus>
unsigned hand_over(Bus &bus, unsigned id, const InterruptMessage &message) {
    auto *apic = bus.apic(id);
    if (!apic || !apic->present()) return 0;
    const Acceptance result = apic->accept(message);
    if (result == Acceptance::accepted) bus.notify(*apic);
    return result != Acceptance::refused;
}

template <typename Bus>
bool meant(Bus &bus, unsigned id, const InterruptMessage &message, unsigned source) {
    switch (message.shorthand) {
    case Shorthand::self: return id == source;
    case Shorthand::all: return true;
    case Shorthand::others: return id != source;
    case Shorthand::none: break;
    }
    auto *apic = bus.apic(id);
    return apic && apic->present() && matches(message, apic->address());
}

// Lowest priority: the task priorities of running vCPUs are in their CPUs, so that the turn
// decides, fairly.
template <typename Bus>
unsigned arbitrate(Bus &bus, const InterruptMessage &message, unsigned source) {
    const unsigned size = bus.size();
    const unsigned start = bus.turn().load(std::memory_order_relaxed);
    for (unsigned step = 0; step < size; ++step) {
        const unsigned id = (start + step) % size;
        auto *apic = bus.apic(id);
        if (!apic || !meant(bus, id, message, source) || !apic->arbitrable()) continue;
        bus.turn().store((id + 1) % size, std::memory_order_relaxed);
        return hand_over(bus, id, message);
    }
    return 0;
}

} // namespace detail

inline constexpr unsigned no_source = ~0u;

// Delivers to all that are meant; `source` is the sender's id, or no_source for devices. Any
// context. Returns how many accepted.
template <typename Bus>
unsigned deliver(Bus &bus, const InterruptMessage &message, unsigned source = no_source) {
    if (message.mode == DeliveryMode::lowest_priority)
        return detail::arbitrate(bus, message, source);
    if (message.shorthand == Shorthand::self) return detail::hand_over(bus, source, message);
    // One physical destination is the common case and needs no search: an APIC's id is its vCPU's.
    if (message.shorthand == Shorthand::none && !message.logical &&
        message.destination != broadcast)
        return message.destination < bus.size()
                   ? detail::hand_over(bus, message.destination, message)
                   : 0;
    unsigned accepted = 0;
    for (unsigned id = 0; id < bus.size(); ++id)
        if (detail::meant(bus, id, message, source))
            accepted += detail::hand_over(bus, id, message);
    return accepted;
}

} // namespace hwv::cpu
