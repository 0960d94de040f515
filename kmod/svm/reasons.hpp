// SPDX-License-Identifier: GPL-2.0-only
// reasons.hpp - exit codes below 0xc0 in neutral names, as a table.
#pragma once
#include <array>
#include <cstdint>
#include "core/exit.hpp"
#include "svm/exit_code.hpp"

namespace hwv::svm::detail {

// Set in the table: the exit has more to say than its reason and length.
inline constexpr std::uint8_t with_details = 0x80;
static_assert(HWV_EXIT_CPU_REASONS < with_details);

constexpr bool has_details(ExitReason reason) {
    switch (reason) {
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_IO:
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS:
    case HWV_EXIT_EXCEPTION:
    case HWV_EXIT_TASK_SWITCH:
    case HWV_EXIT_INVLPG: return true;
    default: return false;
    }
}

struct ReasonTable {
    std::array<std::uint8_t, 0xc0> reasons{};

    constexpr void set(ExitCode code, ExitReason reason, unsigned count = 1) {
        for (unsigned i = 0; i < count; i++)
            reasons[number(code) + i] = reason | (has_details(reason) ? with_details : 0);
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

} // namespace hwv::svm::detail
