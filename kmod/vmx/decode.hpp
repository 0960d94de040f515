// SPDX-License-Identifier: GPL-2.0-only
// decode.hpp - RawExit -> Exit, pure. From here on nobody knows that the CPU is Intel's. Intel SDM
// vol. 3, "VM-Exit Information Fields", "Recording VM-Exit Information and Updating VM-Entry
// Control Fields".
#pragma once
#include "vmx/controls.hpp"
#include "vmx/event.hpp"
#include "vmx/reasons.hpp"

namespace hwv::vmx {

// What the VMCS said when the guest stopped. `qualification`, `guest_physical` and `vectoring` are
// zero where they were not read; what else the reason does not need may be anything.
struct RawExit {
    std::uint32_t reason; // the whole field
    std::uint32_t length;
    std::uint64_t qualification;
    std::uint64_t rip;
    std::uint64_t guest_physical;
    std::uint32_t interruption, interruption_error;
    std::uint32_t vectoring, vectoring_error;
    std::uint32_t instruction_info;
    std::uint32_t entry_length; // vectoring has a software event: its instruction's length
    std::uint32_t rule;         // entry failure: what the checker found
    std::uint32_t not_entered;  // a VMX instruction of the world switch faulted: all else is zero
};

// I/O: does the exit need instruction_info?
constexpr bool is_string_io(std::uint64_t qualification) { return qualification >> 4 & 1; }

namespace detail {

// SDM "Exit Qualification for I/O Instructions", "Format of the VM-Exit Instruction-Information
// Field as Used for INS and OUTS".
constexpr IoAccess decode_io(const RawExit &raw) {
    const std::uint64_t q = raw.qualification;
    IoAccess io{};
    io.port = q >> 16 & 0xffff;
    io.size = (q & 7) + 1;
    io.write = !(q >> 3 & 1);
    io.string = is_string_io(q);
    if (!io.string) return io;
    io.rep = q >> 5 & 1;
    io.address_size = 2u << (raw.instruction_info >> 7 & 3);
    if (io.write) io.segment = raw.instruction_info >> 15 & 7; // INS has ES, and says nothing
    return io;
}

// SDM "Exit Qualification for EPT Violations". Without a linear address the CPU was loading the
// page-directory pointers.
constexpr FaultAccess decode_violation(const RawExit &raw) {
    const std::uint64_t q = raw.qualification;
    return {raw.guest_physical, (q & 2) != 0, (q & 4) != 0, (q & 0x78) != 0, (q >> 7 & 3) != 3};
}

// SDM "Exit Qualification for Control-Register Accesses".
constexpr RegisterAccess decode_cr(std::uint64_t q) {
    enum { to_cr, from_cr, clts, lmsw };
    const unsigned type = q >> 4 & 3;
    RegisterAccess reg{};
    reg.decoded = true;
    reg.number = q & 15;
    reg.gpr = q >> 8 & 15;
    reg.write = type != from_cr;
    reg.clts = type == clts;
    reg.lmsw = type == lmsw;
    reg.source = reg.lmsw ? q >> 16 & 0xffff : 0;
    return reg;
}

// SDM "Exit Qualification for MOV DR".
constexpr RegisterAccess decode_dr(std::uint64_t q) {
    RegisterAccess reg{};
    reg.decoded = true;
    reg.number = q & 7;
    reg.gpr = q >> 8 & 15;
    reg.write = !(q >> 4 & 1);
    return reg;
}

// SDM "Information for VM Exits Due to Vectored Events", "Exit Qualification for Debug Exceptions".
constexpr void decode_vectored(const RawExit &raw, Exit &exit) {
    const std::uint8_t v = raw.interruption & event::vector;
    const unsigned type = (raw.interruption & event::type) >> event::type_shift;
    const bool software = is_software(raw.interruption);
    const bool code = raw.interruption & event::has_error_code;
    constexpr std::uint64_t dr6 = 0x600f; // bits 11 and 16 mean the opposite there
    exit.length = software ? raw.length : 0;
    if (type == event::nmi)
        exit.reason = HWV_EXIT_HOST_NMI;
    else if (v == vector::machine_check)
        exit.reason = HWV_EXIT_MACHINE_CHECK;
    else
        exit.exception = {.vector = v,
                          .has_error_code = code,
                          .software_length = exit.length,
                          .error_code = code ? raw.interruption_error : 0,
                          .address = v == vector::page_fault ? raw.qualification : 0,
                          .dr6 = v == vector::debug ? raw.qualification & dr6 : 0};
}

// SDM "Exit Qualification for Task Switches". Through a gate the length is that of a software
// event, if it was one.
constexpr void decode_task_switch(const RawExit &raw, Exit &exit) {
    enum { call, iret, jmp, gate };
    const unsigned source = raw.qualification >> 30 & 3;
    const Event &e = exit.delivering;
    exit.task = {static_cast<std::uint16_t>(raw.qualification), source == iret, source == jmp,
                 e.has_error_code, e.error_code};
    if (source == gate) exit.length = e.length;
}

// SDM "EOI Virtualization": bits 7:0 are the vector; "APIC-Write VM Exits": bits 11:0 are the
// offset on the page.
constexpr cpu::ApicWrite decode_apic_write(const RawExit &raw) {
    if (basic(raw.reason) == ExitCode::virtualized_eoi)
        return {cpu::apic_reg::eoi, static_cast<std::uint8_t>(raw.qualification)};
    return {static_cast<std::uint32_t>(raw.qualification & 0xfff), 0};
}

constexpr void decode_details(const RawExit &raw, Exit &exit) {
    switch (exit.reason) {
    case HWV_EXIT_PAGE_FAULT: exit.fault = decode_violation(raw); break;
    case HWV_EXIT_CR_WRITE:
        exit.reg = decode_cr(raw.qualification);
        if (!exit.reg.write) exit.reason = HWV_EXIT_CR_READ;
        break;
    case HWV_EXIT_DR_ACCESS: exit.reg = decode_dr(raw.qualification); break;
    case HWV_EXIT_EXCEPTION: decode_vectored(raw, exit); break;
    case HWV_EXIT_TASK_SWITCH: decode_task_switch(raw, exit); break;
    case HWV_EXIT_INVLPG: exit.linear = raw.qualification; break;
    case HWV_EXIT_APIC_WRITE: exit.apic = decode_apic_write(raw); break;
    case HWV_EXIT_HOST_INTERRUPT:
        if (raw.interruption & event::valid) exit.host_vector = raw.interruption & event::vector;
        break;
    default: break;
    }
}

// The guest did not run: the fields of exits are those of the exit before.
constexpr Exit decode_failure(const RawExit &raw) {
    Exit exit{.raw_reason = raw.reason};
    if (raw.not_entered) return exit;
    const bool machine_check = basic(raw.reason) == ExitCode::entry_machine_check;
    exit.reason = machine_check ? HWV_EXIT_MACHINE_CHECK : HWV_EXIT_INVALID_STATE;
    exit.raw_info[0] = machine_check ? 0 : raw.rule;
    exit.raw_info[1] = raw.qualification;
    return exit;
}

} // namespace detail

[[gnu::always_inline]] constexpr Exit decode(const RawExit &raw) {
    Exit exit;
    if (raw.not_entered || (raw.reason & exit_reason::entry_failure)) [[unlikely]] {
        exit = detail::decode_failure(raw);
        return exit;
    }
    const ReasonEntry entry = reason_entry(raw.reason);
    exit.none = 0;
    exit.reason = static_cast<ExitReason>(entry.reason);
    exit.length = static_cast<std::uint8_t>(entry.needs & needs::length ? raw.length : 0);
    exit.raw_reason = raw.reason;
    exit.raw_info[0] = raw.qualification;
    exit.raw_info[1] = raw.guest_physical;
    if (raw.vectoring & event::valid) [[unlikely]]
        exit.delivering = to_event(raw.vectoring, raw.vectoring_error, raw.entry_length);
    if (exit.reason == HWV_EXIT_IO) // the one that counts
        exit.io = detail::decode_io(raw);
    else if (entry.needs & needs::details)
        detail::decode_details(raw, exit);
    return exit;
}

// An IRET that ended the blocking of NMIs and then faulted is executed again: NMIs have to be
// blocked again. SDM "Information About NMI Unblocking Due to IRET".
constexpr bool iret_unblocked_nmis(const RawExit &raw) {
    if ((raw.vectoring & event::valid) || (raw.reason & exit_reason::entry_failure)) return false;
    switch (basic(raw.reason)) {
    case ExitCode::exception_or_nmi:
        return (raw.interruption & event::nmi_unblocked) &&
               (raw.interruption & event::vector) != vector::double_fault;
    case ExitCode::ept_violation:
    case ExitCode::pml_full: return raw.qualification & event::nmi_unblocked;
    default: return false;
    }
}

static_assert(decode({.reason = 10, .length = 2}).length == 2);
static_assert(decode({.reason = 48, .length = 2, .qualification = 0x182}).length == 0);
static_assert(decode({.reason = 28, .qualification = 0x10}).reason == HWV_EXIT_CR_READ);
static_assert(decode({.reason = 1u << 31 | 33, .rule = 7}).raw_info[0] == 7);
static_assert(decode({.reason = 45, .qualification = 0x152}).apic.vector == 0x52);
static_assert(decode({.reason = 10, .not_entered = 1}).reason == HWV_EXIT_NONE);

} // namespace hwv::vmx
