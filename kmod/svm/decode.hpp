// SPDX-License-Identifier: GPL-2.0-only
// decode.hpp - RawExit -> Exit, pure. From here on nobody knows that the CPU is AMD's. AMD APM vol.
// 2, appendix "SVM Intercept Exit Codes", and the sections of the single intercepts in "Secure
// Virtual Machine".
#pragma once
#include <array>
#include "core/exit.hpp"
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

struct ReasonTable {
    std::array<std::uint8_t, 0xc0> reasons{};

    constexpr void set(ExitCode code, ExitReason reason, unsigned count = 1) {
        for (unsigned i = 0; i < count; i++)
            reasons[number(code) + i] = reason;
    }
};

constexpr void add_events(ReasonTable &t) {
    t.set(ExitCode::exception, HWV_EXIT_EXCEPTION, 32);
    t.set(ExitCode::exception + vector::machine_check, HWV_EXIT_MACHINE_CHECK);
    t.set(ExitCode::intr, HWV_EXIT_HOST_INTERRUPT);
    t.set(ExitCode::nmi, HWV_EXIT_HOST_NMI);
    t.set(ExitCode::smi, HWV_EXIT_SMI);
    t.set(ExitCode::init, HWV_EXIT_INIT);
    t.set(ExitCode::vintr, HWV_EXIT_INTERRUPT_WINDOW);
    t.set(ExitCode::iret, HWV_EXIT_NMI_WINDOW); // IRET ends the blocking of NMIs
    t.set(ExitCode::task_switch, HWV_EXIT_TASK_SWITCH);
    t.set(ExitCode::shutdown, HWV_EXIT_SHUTDOWN);
}

constexpr void add_instructions(ReasonTable &t) {
    t.set(ExitCode::cr_read, HWV_EXIT_CR_READ, 16);
    t.set(ExitCode::cr_write, HWV_EXIT_CR_WRITE, 16);
    t.set(ExitCode::dr_read, HWV_EXIT_DR_ACCESS, 32); // and dr_write
    t.set(ExitCode::cr0_sel_write, HWV_EXIT_CR_WRITE);
    t.set(ExitCode::idtr_read, HWV_EXIT_DESCRIPTOR, 8);
    t.set(ExitCode::rdtsc, HWV_EXIT_RDTSC);
    t.set(ExitCode::rdpmc, HWV_EXIT_RDPMC);
    t.set(ExitCode::cpuid, HWV_EXIT_CPUID);
    t.set(ExitCode::rsm, HWV_EXIT_RSM);
    t.set(ExitCode::invd, HWV_EXIT_INVD);
    t.set(ExitCode::pause, HWV_EXIT_PAUSE);
    t.set(ExitCode::hlt, HWV_EXIT_HLT);
    t.set(ExitCode::invlpg, HWV_EXIT_INVLPG);
    t.set(ExitCode::ioio, HWV_EXIT_IO);
    t.set(ExitCode::msr, HWV_EXIT_MSR_READ); // or write, by EXITINFO1
    t.set(ExitCode::vmmcall, HWV_EXIT_HYPERCALL);
    t.set(ExitCode::rdtscp, HWV_EXIT_RDTSCP);
    t.set(ExitCode::wbinvd, HWV_EXIT_WBINVD);
    t.set(ExitCode::monitor, HWV_EXIT_MONITOR);
    t.set(ExitCode::mwait, HWV_EXIT_MWAIT, 2);
    t.set(ExitCode::xsetbv, HWV_EXIT_XSETBV);
    t.set(ExitCode::rdpru, HWV_EXIT_RDPRU);
    t.set(ExitCode::invpcid, HWV_EXIT_INVPCID);
    t.set(ExitCode::idle_hlt, HWV_EXIT_HLT);
}

// SVM's own instructions, and those that are not offered to guests and like them are answered by
// #UD.
constexpr void add_refused_instructions(ReasonTable &t) {
    t.set(ExitCode::invlpga, HWV_EXIT_VIRT_INSTRUCTION);
    t.set(ExitCode::vmrun, HWV_EXIT_VIRT_INSTRUCTION);
    t.set(ExitCode::vmload, HWV_EXIT_VIRT_INSTRUCTION, 5); // VMSAVE STGI CLGI SKINIT
    t.set(ExitCode::invlpgb, HWV_EXIT_VIRT_INSTRUCTION, 2);
    t.set(ExitCode::mcommit, HWV_EXIT_VIRT_INSTRUCTION, 2); // TLBSYNC
}

constexpr std::array<std::uint8_t, 0xc0> make_reasons() {
    ReasonTable t;
    t.set(static_cast<ExitCode>(0), HWV_EXIT_UNKNOWN, 0xc0);
    add_events(t);
    add_instructions(t);
    add_refused_instructions(t);
    return t.reasons;
}

inline constexpr std::array<std::uint8_t, 0xc0> reasons = make_reasons();

// APM "IOIO Intercepts", EXITINFO1.
constexpr IoAccess decode_io(std::uint64_t info) {
    IoAccess io{};
    io.port = info >> 16 & 0xffff;
    io.size = info >> 4 & 7;          // bits 4, 5, 6: 1, 2, 4 bytes
    io.address_size = info >> 6 & 14; // bits 7, 8, 9: 2, 4, 8 bytes
    io.write = !(info & 1);
    io.string = info & 4;
    io.rep = info & 8;
    io.segment = info >> 10 & 7;
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

constexpr ExceptionInfo decode_exception(const RawExit &raw, std::uint8_t v) {
    const bool code = v == vector::double_fault || v == vector::alignment_check ||
                      v == vector::control_protection ||
                      (v >= vector::invalid_tss && v <= vector::page_fault);
    return {v, code, code ? static_cast<std::uint32_t>(raw.info1) : 0,
            v == vector::page_fault ? raw.info2 : 0, 0};
}

// APM "Task Switch Intercept".
constexpr TaskSwitch decode_task_switch(const RawExit &raw) {
    const bool code = raw.info2 >> 44 & 1;
    return {static_cast<std::uint16_t>(raw.info1), (raw.info2 >> 36 & 1) != 0,
            (raw.info2 >> 38 & 1) != 0, code, code ? static_cast<std::uint32_t>(raw.info2) : 0};
}

constexpr std::uint8_t length(std::uint64_t rip, std::uint64_t next) {
    const std::uint64_t bytes = next - rip;
    return next && bytes <= 15 ? bytes : 0;
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

constexpr void decode_beyond_table(const RawExit &raw, ExitCode code, Exit &exit) {
    exit.reason = HWV_EXIT_UNKNOWN;
    if (code == ExitCode::npf) {
        exit.reason = HWV_EXIT_PAGE_FAULT;
        exit.fault = decode_npf(raw);
    } else if (code == ExitCode::invalid) {
        exit.reason = HWV_EXIT_INVALID_STATE;
        exit.raw_info[0] = raw.rule;
    } else if (code == ExitCode::not_entered) {
        exit.reason = HWV_EXIT_NONE;
    }
}

} // namespace detail

[[gnu::always_inline]] constexpr Exit decode(const RawExit &raw) {
    const auto code = static_cast<ExitCode>(static_cast<std::uint32_t>(raw.code));
    Exit exit;
    exit.raw_reason = raw.code;
    exit.raw_info[0] = raw.info1;
    exit.raw_info[1] = raw.info2;
    if (raw.int_info & event::valid) exit.delivering = detail::delivering(raw);
    if (number(code) >= detail::reasons.size()) {
        detail::decode_beyond_table(raw, code, exit);
        return exit;
    }
    exit.reason = static_cast<ExitReason>(detail::reasons[number(code)]);
    exit.length = detail::length(raw.rip, raw.next_rip);
    switch (exit.reason) {
    case HWV_EXIT_MSR_READ:
        if (raw.info1) exit.reason = HWV_EXIT_MSR_WRITE;
        break;
    case HWV_EXIT_IO:
        exit.io = detail::decode_io(raw.info1);
        exit.length = detail::length(raw.rip, raw.info2); // on every CPU
        break;
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS: exit.reg = detail::decode_register(raw, code); break;
    case HWV_EXIT_EXCEPTION:
        exit.exception = detail::decode_exception(raw, number(code) & 31);
        break;
    case HWV_EXIT_TASK_SWITCH: exit.task = detail::decode_task_switch(raw); break;
    case HWV_EXIT_INVLPG: exit.linear = raw.decode_assists ? raw.info1 : 0; break;
    default: break;
    }
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
