// SPDX-License-Identifier: GPL-2.0-only
// exit_code.hpp - why a VM exit happened. Intel SDM vol. 3, appendix "VMX Basic Exit Reasons".
#pragma once
#include <cstdint>

namespace hwv::vmx {

// clang-format off: columns of the manual's table
enum class ExitCode : std::uint16_t {
    exception_or_nmi = 0,
    external_interrupt,
    triple_fault,
    init,
    sipi,
    io_smi,
    other_smi,
    interrupt_window,
    nmi_window,
    task_switch,
    cpuid = 10,
    getsec,
    hlt,
    invd,
    invlpg,
    rdpmc,
    rdtsc,
    rsm,
    vmcall,
    vmclear,
    vmlaunch = 20,
    vmptrld,
    vmptrst,
    vmread,
    vmresume,
    vmwrite,
    vmxoff,
    vmxon,
    cr_access,
    mov_dr,
    io = 30,
    rdmsr,
    wrmsr,
    invalid_guest_state, // entry failure
    msr_loading,         // entry failure
    mwait = 36,
    monitor_trap,
    monitor = 39,
    pause = 40,
    entry_machine_check, // entry failure
    tpr_below_threshold = 43,
    apic_access,
    virtualized_eoi,
    gdtr_idtr,
    ldtr_tr,
    ept_violation,
    ept_misconfiguration,
    invept = 50,
    rdtscp,
    preemption_timer,
    invvpid,
    wbinvd, // and WBNOINVD
    xsetbv,
    apic_write,
    rdrand,
    invpcid,
    vmfunc,
    encls = 60,
    rdseed,
    pml_full,
    xsaves,
    xrstors,
    pconfig,
    sub_page,
    umwait,
    tpause,
    loadiwkey,
    enclv = 70,
    enqcmd = 72, // its PASID has no translation
    enqcmds,
    bus_lock,
    timeout, // of an instruction
};
// clang-format on

inline constexpr unsigned exit_codes = 76;

constexpr std::uint16_t number(ExitCode code) { return static_cast<std::uint16_t>(code); }

// The whole field "exit reason": the basic reason is its lower half.
namespace exit_reason {
inline constexpr std::uint32_t basic = 0xffff, bus_lock = 1u << 26, enclave = 1u << 27,
                               pending_trap = 1u << 28, from_root = 1u << 29,
                               entry_failure = 1u << 31;
}

constexpr ExitCode basic(std::uint32_t reason) {
    return static_cast<ExitCode>(reason & exit_reason::basic);
}

static_assert(number(ExitCode::vmxon) == 27 && number(ExitCode::msr_loading) == 34);
static_assert(number(ExitCode::ept_violation) == 48 && number(ExitCode::invvpid) == 53);
static_assert(number(ExitCode::xrstors) == 64 && number(ExitCode::timeout) == exit_codes - 1);
static_assert(basic(exit_reason::entry_failure | 33) == ExitCode::invalid_guest_state);

} // namespace hwv::vmx
