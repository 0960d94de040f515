// SPDX-License-Identifier: GPL-2.0-only
// exit.hpp - one VM exit in neutral words. Backends make it from a RawExit by a pure function;
// nobody else does.
#pragma once
#include <cstdint>
#include "cpu/apic_page.hpp"
#include "hwv.h"

namespace hwv {

using ExitReason = hwv_exit_reason;

// What the CPU was delivering into the guest when the exit came, to be delivered again; or what is
// to be injected.
struct Event {
    hwv_event_type type = HWV_EVENT_NONE;
    std::uint8_t vector = 0;
    bool has_error_code = false;
    std::uint16_t length = 0; // INT n, INT3, INTO: bytes of the instruction
    std::uint32_t error_code = 0;

    constexpr explicit operator bool() const { return type != HWV_EVENT_NONE; }
    constexpr bool operator==(const Event &) const = default;
};
static_assert(sizeof(Event) == 12); // without a hole: cleared in two stores

constexpr Event exception(std::uint8_t vector) { return {HWV_EVENT_EXCEPTION, vector}; }
constexpr Event exception(std::uint8_t vector, std::uint32_t code) {
    return {HWV_EVENT_EXCEPTION, vector, true, 0, code};
}

namespace vector {
inline constexpr std::uint8_t divide_error = 0, debug = 1, nmi = 2, breakpoint = 3, overflow = 4,
                              bound = 5, invalid_opcode = 6, device_not_available = 7,
                              double_fault = 8, invalid_tss = 10, not_present = 11,
                              stack_fault = 12, general_protection = 13, page_fault = 14,
                              math_fault = 16, alignment_check = 17, machine_check = 18, simd = 19,
                              control_protection = 21;
}

using IoAccess = hwv_exit_io; // as the user will read it, but for the data, and:
inline constexpr std::uint8_t segment_not_told = 0xff; // OUTS on a CPU that decodes nothing

struct FaultAccess {
    std::uint64_t gpa;
    bool write, fetch, present;
    bool in_table_walk; // the CPU was reading the guest's own page tables
};

struct ExceptionInfo {
    std::uint8_t vector;
    bool has_error_code;
    std::uint8_t software_length; // INT1, INT3 or INTO, where the CPU tells it: bytes
    std::uint32_t error_code;
    std::uint64_t address; // #PF: CR2
    std::uint64_t dr6;     // #DB, where the CPU tells it: bits to merge into DR6
};

struct RegisterAccess { // CR and DR moves, where the CPU decodes them
    std::uint8_t number;
    std::uint8_t gpr;
    bool write;
    bool decoded; // number and gpr are valid
    bool lmsw, clts;
    std::uint16_t source; // LMSW
};

struct TaskSwitch {
    std::uint16_t selector;
    bool iret, jump, has_error_code;
    std::uint32_t error_code;
};

// Without initializers: decode() writes each field once. Exit{} is all zero.
struct Exit {
    ExitReason reason;
    std::uint8_t length; // of the instruction; 0 = the CPU does not say
    Event delivering;    // interrupted by this exit
    std::uint64_t raw_reason;
    std::uint64_t raw_info[2];
    union {
        std::uint64_t none;
        IoAccess io;
        FaultAccess fault;
        ExceptionInfo exception;
        RegisterAccess reg;
        TaskSwitch task;
        std::uint64_t linear; // INVLPG, where the CPU decodes it
        cpu::ApicWrite apic;
        std::uint8_t host_vector; // HOST_INTERRUPT that the exit took from the host's APIC; else 0
    };
};

} // namespace hwv
