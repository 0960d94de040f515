// SPDX-License-Identifier: GPL-2.0-only
// checker.hpp - would VMRUN refuse this VMCB, and does it keep the host safe? Pure. Run before an
// entry whose control state changed (before every entry in debug builds), so that a refused guest
// keeps its state and the rule has a name.
#pragma once
#include <initializer_list>
#include "svm/vmcb.hpp"

namespace hwv::svm {

// Numbers are shown to users (hwv_exit.invalid_rule): they stay.
enum class Rule : std::uint32_t {
    none = 0,
    // AMD APM vol. 2, "VMRUN Instruction", "Canonicalization and Consistency Checks"
    efer_svme_clear = 1,
    cr0_nw_without_cd = 2,
    cr0_high_bits = 3,
    cr3_reserved_bits = 4,
    cr4_reserved_bits = 5,
    dr6_high_bits = 6,
    dr7_high_bits = 7,
    efer_reserved_bits = 8,
    long_mode_without_pae = 9,
    long_mode_without_protection = 10,
    long_mode_cs_l_and_d = 11,
    vmrun_not_intercepted = 12,
    map_address = 13,
    asid_zero = 14,
    event_type = 15,
    event_vector = 16,
    nested_cr3_address = 17,
    pat_type = 18,
    // hwv's own: what keeps the host's
    nested_paging_off = 64,
    interrupts_not_masked = 65,
    intercept_missing = 66,
    machine_check_off = 67,
};

// Intercepts without which a guest reaches the host, or stops it.
constexpr Intercepts required_intercepts() {
    Intercepts i{};
    using enum ExitCode;
    // SVM's own instructions take host-physical addresses
    for (ExitCode code : {vmrun, vmmcall, vmload, vmsave, stgi, clgi, skinit, invlpga})
        i.set(code);
    // a guest that loops in delivering #DB or #AC never lets go of the CPU; a machine check is the
    // host's
    for (unsigned v : {1u, 17u, 18u})
        i.set(exception + v);
    // events of the host
    for (ExitCode code : {intr, nmi, smi, init, shutdown, ferr_freeze})
        i.set(code);
    // the host's ports, MSRs, counters, caches, power states
    for (ExitCode code : {ioio, msr, rdpmc, rdpru, cpuid, hlt, invd, wbinvd, monitor, mwait,
                          mwait_armed, xsetbv, rsm})
        i.set(code);
    // broadcasts to other CPUs' TLBs
    for (ExitCode code : {invlpgb, invlpgb_illegal, tlbsync, mcommit})
        i.set(code);
    return i;
}

// `address_bits`: physical addresses that the CPU takes, the encryption mask included.
Rule check(const Vmcb &vmcb, std::uint64_t address_bits);

} // namespace hwv::svm
