// SPDX-License-Identifier: GPL-2.0-only
// decode.hpp - RawExit -> Exit, pure. From here on nobody knows that the CPU is AMD's. AMD APM vol.
// 2, appendix "SVM Intercept Exit Codes", and the sections of the single intercepts in "Secure
// Virtual Machine".
#pragma once
#include "core/exit.hpp"
#include "svm/reasons.hpp"
#include "svm/vmcb.hpp"

namespace hwv::svm {

// What the VMCB said when the guest stopped.
struct RawExit {
    std::uint64_t code;
    std::uint64_t info1;
    std::uint64_t info2;
    std::uint64_t int_info; // EXITINTINFO
    std::uint64_t rip;
    std::uint64_t next_rip; // 0: the CPU does not say
    std::uint32_t rule;     // ExitCode::invalid: what the checker found
    bool decode_assists;
    bool own_event;               // int_info is what this entry injected, not what the guest raised
    std::uint8_t software_length; // own_event of type software: its instruction's length
};

// EVENTINJ, EXITINTINFO <-> Event.
constexpr Event to_event(std::uint64_t word) {
    if (!(word & event::valid)) return {}; // the other bits may be left from before
    Event e{HWV_EVENT_INTERRUPT, static_cast<std::uint8_t>(word & event::vector)};
    switch ((word & event::type) >> event::type_shift) {
    case event::interrupt: return e;
    case event::nmi: e.type = HWV_EVENT_NMI; return e;
    case event::software: e.type = HWV_EVENT_SOFTWARE; return e;
    default: e.type = HWV_EVENT_EXCEPTION; break;
    }
    e.has_error_code = word & event::has_error_code;
    e.error_code = e.has_error_code ? word >> event::error_code_shift : 0;
    return e;
}

constexpr std::uint64_t from_event(const Event &e) {
    constexpr std::uint8_t types[] = {0, event::interrupt, event::nmi, event::exception,
                                      event::software};
    if (!e) return 0;
    std::uint64_t word =
        e.vector | static_cast<std::uint64_t>(types[e.type]) << event::type_shift | event::valid;
    if (e.has_error_code)
        word |= event::has_error_code | static_cast<std::uint64_t>(e.error_code)
                                            << event::error_code_shift;
    return word;
}

namespace detail {

// APM "IOIO Intercepts", EXITINFO1; of the segment, "Decode Assists".
constexpr IoAccess decode_io(std::uint64_t info, bool decode_assists) {
    IoAccess io{};
    io.port = info >> 16 & 0xffff;
    io.size = info >> 4 & 7;          // bits 4, 5, 6: 1, 2, 4 bytes
    io.address_size = info >> 6 & 14; // bits 7, 8, 9: 2, 4, 8 bytes
    io.write = !(info & 1);
    io.string = info >> 2 & 1;
    io.rep = info >> 3 & 1;
    io.segment = decode_assists ? info >> 10 & 7 : segment_not_told;
    return io;
}

// APM "Nested versus Guest Page Faults, Fault Ordering".
constexpr FaultAccess decode_npf(const RawExit &raw) {
    const std::uint64_t e = raw.info1;
    return {raw.info2, (e & 2) != 0, (e & 16) != 0, (e & 1) != 0, (e >> 33 & 1) != 0};
}

// APM "CR Intercepts", "MOV-DR Intercepts" under "Decode Assists".
constexpr RegisterAccess decode_register(const RawExit &raw, ExitCode code) {
    RegisterAccess reg{};
    const bool cr = code < ExitCode::dr_read, selective = code == ExitCode::cr0_sel_write;
    reg.number = selective ? 0 : number(code) & 15;
    reg.write = selective || (number(code) & 16);
    reg.gpr = raw.info1 & 15;
    // CLTS, LMSW and SMSW leave bit 63 clear; a selective exit says nothing.
    reg.decoded = raw.decode_assists && !selective && (!cr || raw.info1 >> 63);
    return reg;
}

constexpr std::uint8_t length(std::uint64_t rip, std::uint64_t next) {
    const std::uint64_t bytes = next - rip;
    return next && bytes <= 15 ? bytes : 0;
}

constexpr ExceptionInfo decode_exception(const RawExit &raw, std::uint8_t v) {
    const bool code = v == vector::double_fault || v == vector::alignment_check ||
                      v == vector::control_protection ||
                      (v >= vector::invalid_tss && v <= vector::page_fault);
    const std::uint32_t error = code ? static_cast<std::uint32_t>(raw.info1) : 0;
    // "#BP (Breakpoint)", "#OF (Overflow)": RIP is still at the instruction
    const bool software = v == vector::breakpoint || v == vector::overflow;
    const std::uint8_t bytes = software ? length(raw.rip, raw.next_rip) : 0;
    return {v, code, bytes, error, v == vector::page_fault ? raw.info2 : 0, 0};
}

// APM "Task Switch Intercept".
constexpr TaskSwitch decode_task_switch(const RawExit &raw) {
    const bool code = raw.info2 >> 44 & 1;
    return {static_cast<std::uint16_t>(raw.info1), (raw.info2 >> 36 & 1) != 0,
            (raw.info2 >> 38 & 1) != 0, code, code ? static_cast<std::uint32_t>(raw.info2) : 0};
}

// What was being delivered. A software interrupt is delivered again by executing its instruction
// again: RIP is still there, length 0 says so. INT3 and INTO are reported as exceptions.
constexpr Event delivering(const RawExit &raw) {
    Event e = to_event(raw.int_info);
    if (raw.own_event)
        e.length = raw.software_length;
    else if (e.type == HWV_EVENT_EXCEPTION &&
             (e.vector == vector::breakpoint || e.vector == vector::overflow))
        e = {HWV_EVENT_SOFTWARE, e.vector};
    return e;
}

constexpr void decode_details(const RawExit &raw, ExitCode code, Exit &exit) {
    switch (exit.reason) {
    case HWV_EXIT_MSR_READ:
        if (raw.info1) exit.reason = HWV_EXIT_MSR_WRITE;
        break;
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS: exit.reg = decode_register(raw, code); break;
    case HWV_EXIT_EXCEPTION: exit.exception = decode_exception(raw, number(code) & 31); break;
    case HWV_EXIT_TASK_SWITCH: exit.task = decode_task_switch(raw); break;
    case HWV_EXIT_INVLPG: exit.linear = raw.decode_assists ? raw.info1 : 0; break;
    default: break;
    }
}

constexpr void decode_beyond_table(const RawExit &raw, ExitCode code, Exit &exit) {
    exit.length = 0;
    if (code == ExitCode::npf) {
        exit.reason = HWV_EXIT_PAGE_FAULT;
        exit.fault = decode_npf(raw);
    } else if (code == ExitCode::invalid) {
        exit.reason = HWV_EXIT_INVALID_STATE;
        exit.raw_info[0] = raw.rule;
    } else if (code == ExitCode::not_entered) {
        exit.reason = HWV_EXIT_NONE;
    } else if (code == ExitCode::stepped) {
        exit.reason = HWV_EXIT_STEP;
    }
}

} // namespace detail

[[gnu::always_inline]] constexpr Exit decode(const RawExit &raw) {
    const auto code = static_cast<ExitCode>(static_cast<std::uint32_t>(raw.code));
    const bool known = number(code) < detail::reasons.size();
    const std::uint8_t entry =
        known ? detail::reasons[number(code)] : std::uint8_t{HWV_EXIT_UNKNOWN};
    Exit exit;
    exit.none = 0;
    exit.reason = static_cast<ExitReason>(entry & ~detail::with_details);
    exit.length = detail::length(raw.rip, raw.next_rip);
    exit.raw_reason = raw.code;
    exit.raw_info[0] = raw.info1;
    exit.raw_info[1] = raw.info2;
    if (raw.int_info & event::valid) [[unlikely]]
        exit.delivering = detail::delivering(raw);
    if (!known)
        detail::decode_beyond_table(raw, code, exit);
    else if (exit.reason == HWV_EXIT_IO) { // the one that counts
        exit.io = detail::decode_io(raw.info1, raw.decode_assists);
        exit.length = detail::length(raw.rip, raw.info2); // on every CPU
    } else if (entry & detail::with_details)
        detail::decode_details(raw, code, exit);
    return exit;
}

static_assert(decode({.code = 0x72, .rip = 0x1000, .next_rip = 0x1002}).length == 2);
static_assert(decode({.code = 0x7c, .info1 = 1}).reason == HWV_EXIT_MSR_WRITE);
static_assert(decode({.code = 0xffff'ffff}).reason == HWV_EXIT_INVALID_STATE);
static_assert(decode({.code = ~0ull}).reason == HWV_EXIT_INVALID_STATE);
static_assert(
    decode({.code = 0x400, .info1 = 1ull << 33 | 6, .info2 = 0xfee00000}).fault.in_table_walk);
static_assert(!decode({.code = 0x60, .int_info = 0x030e}).delivering);

} // namespace hwv::svm
