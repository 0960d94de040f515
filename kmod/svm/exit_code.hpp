// SPDX-License-Identifier: GPL-2.0-only
// exit_code.hpp - why #VMEXIT happened, and what makes it happen. AMD APM vol. 2, appendix "SVM
// Intercept Exit Codes".
#pragma once
#include <cstdint>

namespace hwv::svm {

// An intercept has the number of its exit code: bit n of the intercept vector makes the CPU exit
// with code n.
// clang-format off: columns of the manual's table
enum class ExitCode : std::uint32_t {
    cr_read = 0x00, // + register
    cr_write = 0x10,
    dr_read = 0x20,
    dr_write = 0x30,
    exception = 0x40, // + vector
    intr = 0x60,
    nmi,
    smi,
    init,
    vintr,
    cr0_sel_write,
    idtr_read,
    gdtr_read,
    ldtr_read,
    tr_read,
    idtr_write,
    gdtr_write,
    ldtr_write,
    tr_write,
    rdtsc,
    rdpmc,
    pushf,
    popf,
    cpuid,
    rsm,
    iret,
    swint,
    invd,
    pause,
    hlt,
    invlpg,
    invlpga,
    ioio,
    msr,
    task_switch,
    ferr_freeze,
    shutdown,
    vmrun = 0x80,
    vmmcall,
    vmload,
    vmsave,
    stgi,
    clgi,
    skinit,
    rdtscp,
    icebp,
    wbinvd,
    monitor,
    mwait,
    mwait_armed,
    xsetbv,
    rdpru,
    efer_write_trap,
    cr_write_trap = 0x90, // + register
    invlpgb = 0xa0,
    invlpgb_illegal,
    invpcid,
    mcommit,
    tlbsync,
    buslock,
    idle_hlt,
    npf = 0x400,
    avic_incomplete_ipi,
    avic_noaccel,
    vmgexit,
    not_entered = 0xf000'0000, // of the codes reserved to the host's software: an SVM instruction
                               // of the world switch faulted
    stepped,                   // and of those: one instruction is done
    invalid = 0xffff'ffff,     // -1 in all 64 bits; not every implementation writes the upper half
};
// clang-format on

constexpr std::uint32_t number(ExitCode code) { return static_cast<std::uint32_t>(code); }
constexpr ExitCode operator+(ExitCode code, unsigned n) {
    return static_cast<ExitCode>(number(code) + n);
}

// The intercept vector: one bit for each exit code below 0xc0.
struct Intercepts {
    std::uint32_t words[6];

    constexpr bool has(ExitCode code) const {
        return words[number(code) / 32] >> number(code) % 32 & 1;
    }
    constexpr void set(ExitCode code, bool on = true) {
        const std::uint32_t bit = 1u << number(code) % 32;
        std::uint32_t &word = words[number(code) / 32];
        word = on ? word | bit : word & ~bit;
    }
};

} // namespace hwv::svm
