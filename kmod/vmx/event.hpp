// SPDX-License-Identifier: GPL-2.0-only
// event.hpp - interruption information <-> Event. Intel SDM vol. 3, "VM-Entry Controls for Event
// Injection", "Information for VM Exits That Occur During Event Delivery".
#pragma once
#include "core/exit.hpp"
#include "vmx/controls.hpp"

namespace hwv::vmx {

// INT n, INT1, INT3, INTO: then the exit has the instruction's length.
constexpr bool is_software(std::uint32_t information) {
    const unsigned type = (information & event::type) >> event::type_shift;
    return type >= event::software_interrupt && type <= event::software_exception;
}

// Three fields for one entry.
struct Injection {
    std::uint32_t interruption = 0, error_code = 0, length = 0;

    constexpr bool operator==(const Injection &) const = default;
};

constexpr Event to_event(std::uint32_t information, std::uint32_t error_code,
                         std::uint32_t length) {
    if (!(information & event::valid)) return {};
    Event e{HWV_EVENT_SOFTWARE, static_cast<std::uint8_t>(information & event::vector)};
    if (is_software(information)) {
        e.length = static_cast<std::uint8_t>(length);
        return e;
    }
    switch ((information & event::type) >> event::type_shift) {
    case event::interrupt: e.type = HWV_EVENT_INTERRUPT; return e;
    case event::nmi: e.type = HWV_EVENT_NMI; return e;
    case event::exception: e.type = HWV_EVENT_EXCEPTION; break;
    default: return {};
    }
    e.has_error_code = information & event::has_error_code;
    e.error_code = e.has_error_code ? error_code : 0;
    return e;
}

// INT1, INT3 and INTO are one byte long, INT n two: only that tells them apart. With a prefix they
// go as INT n, which differs in virtual-8086 mode and by the gate's DPL for INT1.
constexpr event::Type software_type(const Event &e) {
    if (e.length != 1) return event::software_interrupt;
    return e.vector == vector::debug ? event::privileged_software : event::software_exception;
}

// `protected_mode`: CR0.PE. In real mode the CPU refuses error codes, and pushes none. A software
// event without a length runs again by itself at RIP: nothing to inject.
constexpr Injection from_event(const Event &e, bool protected_mode) {
    constexpr event::Type types[] = {event::interrupt, event::interrupt, event::nmi,
                                     event::exception};
    const bool software = e.type == HWV_EVENT_SOFTWARE;
    if (!e || (software && !e.length)) return {};
    const unsigned type = software ? software_type(e) : types[e.type];
    Injection in{e.vector | type << event::type_shift | event::valid, 0, e.length};
    if (e.type == HWV_EVENT_EXCEPTION && e.has_error_code && protected_mode) {
        in.interruption |= event::has_error_code;
        in.error_code = e.error_code;
    }
    return in;
}

static_assert(from_event({HWV_EVENT_SOFTWARE, 3, false, 1}, true).interruption == 0x8000'0603);
static_assert(from_event({HWV_EVENT_SOFTWARE, 3, false, 2}, true).interruption == 0x8000'0403);
static_assert(from_event(exception(13, 0), false).interruption == 0x8000'030d);

} // namespace hwv::vmx
