// SPDX-License-Identifier: GPL-2.0-only
// reasons.hpp - basic exit reasons in neutral names, and what has to be read to decode each: a
// VMREAD costs as much as everything else that an exit needs.
#pragma once
#include <array>
#include <cstdint>
#include "core/exit.hpp"
#include "vmx/exit_code.hpp"

namespace hwv::vmx {

// Fields of RawExit that a reason says something by. Error codes count with their information.
namespace needs {
inline constexpr std::uint8_t qualification = 1 << 0, guest_physical = 1 << 1,
                              interruption = 1 << 2,
                              instruction_info = 1 << 3, // only of INS and OUTS
    length = 1 << 4,
                              vectoring = 1 << 5; // it may have interrupted a delivery
inline constexpr std::uint8_t details =
    qualification | guest_physical | interruption | instruction_info;
} // namespace needs

struct ReasonEntry {
    std::uint8_t reason;
    std::uint8_t needs;
};

// A reason that is not in the table.
inline constexpr ReasonEntry unknown_reason = {
    HWV_EXIT_UNKNOWN, needs::qualification | needs::guest_physical | needs::vectoring};

namespace detail {

struct ReasonTable {
    std::array<ReasonEntry, exit_codes> entries{};

    constexpr void set(ExitCode code, ExitReason reason, unsigned needed = 0) {
        entries[number(code)] = {static_cast<std::uint8_t>(reason),
                                 static_cast<std::uint8_t>(needed)};
    }
    constexpr void instruction(ExitCode code, ExitReason reason, unsigned needed = 0) {
        set(code, reason, needed | needs::length);
    }
};

constexpr void add_events(ReasonTable &t) {
    using enum ExitCode;
    t.set(exception_or_nmi, HWV_EXIT_EXCEPTION,
          needs::interruption | needs::qualification | needs::length | needs::vectoring);
    t.set(external_interrupt, HWV_EXIT_HOST_INTERRUPT, needs::interruption);
    t.set(triple_fault, HWV_EXIT_SHUTDOWN);
    t.set(init, HWV_EXIT_INIT);
    t.set(io_smi, HWV_EXIT_SMI);
    t.set(other_smi, HWV_EXIT_SMI);
    t.set(interrupt_window, HWV_EXIT_INTERRUPT_WINDOW);
    t.set(tpr_below_threshold, HWV_EXIT_INTERRUPT_WINDOW);
    t.set(nmi_window, HWV_EXIT_NMI_WINDOW);
    t.set(monitor_trap, HWV_EXIT_STEP);
    t.set(preemption_timer, HWV_EXIT_TIMER);
    t.set(virtualized_eoi, HWV_EXIT_APIC_WRITE, needs::qualification);
    t.set(apic_write, HWV_EXIT_APIC_WRITE, needs::qualification);
    t.set(task_switch, HWV_EXIT_TASK_SWITCH,
          needs::qualification | needs::length | needs::vectoring);
    t.set(ept_violation, HWV_EXIT_PAGE_FAULT,
          needs::qualification | needs::guest_physical | needs::vectoring);
}

constexpr void add_instructions(ReasonTable &t) {
    using enum ExitCode;
    t.instruction(cpuid, HWV_EXIT_CPUID);
    t.instruction(hlt, HWV_EXIT_HLT);
    t.instruction(invd, HWV_EXIT_INVD);
    t.instruction(invlpg, HWV_EXIT_INVLPG, needs::qualification);
    t.instruction(rdpmc, HWV_EXIT_RDPMC);
    t.instruction(rdtsc, HWV_EXIT_RDTSC);
    t.instruction(rdtscp, HWV_EXIT_RDTSCP);
    t.instruction(rsm, HWV_EXIT_RSM);
    t.instruction(vmcall, HWV_EXIT_HYPERCALL);
    t.instruction(cr_access, HWV_EXIT_CR_WRITE, needs::qualification); // or read, by it
    t.instruction(mov_dr, HWV_EXIT_DR_ACCESS, needs::qualification);
    t.instruction(io, HWV_EXIT_IO, needs::qualification | needs::instruction_info);
    t.instruction(rdmsr, HWV_EXIT_MSR_READ);
    t.instruction(wrmsr, HWV_EXIT_MSR_WRITE);
    t.instruction(mwait, HWV_EXIT_MWAIT);
    t.instruction(monitor, HWV_EXIT_MONITOR);
    t.instruction(pause, HWV_EXIT_PAUSE);
    t.instruction(gdtr_idtr, HWV_EXIT_DESCRIPTOR);
    t.instruction(ldtr_tr, HWV_EXIT_DESCRIPTOR);
    t.instruction(wbinvd, HWV_EXIT_WBINVD);
    t.instruction(xsetbv, HWV_EXIT_XSETBV);
    t.instruction(invpcid, HWV_EXIT_INVPCID);
}

// VMX's own instructions, and those that are not offered to guests and like them are answered by
// #UD.
constexpr void add_refused_instructions(ReasonTable &t) {
    using enum ExitCode;
    for (ExitCode code : {getsec,  vmclear, vmlaunch, vmptrld, vmptrst,   vmread, vmresume, vmwrite,
                          vmxoff,  vmxon,   invept,   invvpid, vmfunc,    encls,  enclv,    xsaves,
                          xrstors, pconfig, umwait,   tpause,  loadiwkey, enqcmd, enqcmds})
        t.instruction(code, HWV_EXIT_VIRT_INSTRUCTION);
}

constexpr ReasonTable make_reasons() {
    ReasonTable t;
    t.entries.fill(unknown_reason);
    add_events(t);
    add_instructions(t);
    add_refused_instructions(t);
    return t;
}

inline constexpr ReasonTable reasons = make_reasons();

} // namespace detail

// What is known of an exit with this reason (the whole field, entry failures apart).
constexpr ReasonEntry reason_entry(std::uint32_t reason) {
    const unsigned code = reason & exit_reason::basic;
    return code < exit_codes ? detail::reasons.entries[code] : unknown_reason;
}

static_assert(reason_entry(number(ExitCode::cpuid)).needs == needs::length);
static_assert(reason_entry(exit_reason::bus_lock | 10).reason == HWV_EXIT_CPUID);
static_assert(reason_entry(exit_codes).reason == HWV_EXIT_UNKNOWN);

} // namespace hwv::vmx
