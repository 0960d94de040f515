// SPDX-License-Identifier: GPL-2.0-only
// injection.hpp - an exception while another one is being delivered. Intel SDM "Interrupt 8 -
// Double Fault Exception (#DF)", table "Conditions for Generating a Double Fault".
#pragma once
#include "core/exit.hpp"

namespace hwv {

enum class FaultClass : std::uint8_t { benign, contributory, page_fault, double_fault };

constexpr FaultClass fault_class(const Event &e) {
    if (e.type != HWV_EVENT_EXCEPTION) return FaultClass::benign;
    switch (e.vector) {
    case vector::divide_error:
    case vector::invalid_tss:
    case vector::not_present:
    case vector::stack_fault:
    case vector::general_protection: return FaultClass::contributory;
    case vector::page_fault: return FaultClass::page_fault;
    case vector::double_fault: return FaultClass::double_fault;
    default: return FaultClass::benign;
    }
}

// The frame of a fault has RF set, so that an instruction breakpoint at it does not hit again. AMD
// APM vol. 2 "RFLAGS.RF"; of #DB, DR6 would have to tell whether it is one.
constexpr bool is_fault(const Event &e) {
    switch (e.vector) {
    case vector::debug:
    case vector::breakpoint:
    case vector::overflow:
    case vector::double_fault:
    case vector::machine_check: return false;
    default: return e.type == HWV_EVENT_EXCEPTION;
    }
}

// What `second` becomes while `first` is being delivered. An event of type NONE stands for shutdown
// (triple fault).
constexpr Event combine(const Event &first, const Event &second) {
    const FaultClass a = fault_class(first), b = fault_class(second);
    if (a == FaultClass::double_fault && b != FaultClass::benign) return {};
    const bool contributory = a == FaultClass::contributory && b == FaultClass::contributory;
    const bool page = a == FaultClass::page_fault &&
                      (b == FaultClass::contributory || b == FaultClass::page_fault);
    return contributory || page ? exception(vector::double_fault, 0) : second;
}

static_assert(combine({}, exception(vector::page_fault, 2)).vector == vector::page_fault);
static_assert(combine(exception(vector::page_fault, 0), exception(vector::page_fault, 2)).vector ==
              vector::double_fault);
static_assert(combine(exception(vector::general_protection, 0), exception(vector::page_fault, 2))
                  .vector == vector::page_fault);
static_assert(!combine(exception(vector::double_fault, 0),
                       exception(vector::general_protection, 0)));

} // namespace hwv
