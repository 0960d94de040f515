// SPDX-License-Identifier: GPL-2.0-only
// capabilities.hpp - what this CPU's VMX can do, read once: the controls that every guest runs
// with, and what is missing. Intel SDM vol. 3, appendix "VMX Capability Reporting Facility".
#pragma once
#include <cstdint>
#include "hwv.h"
#include "npt/format_ept.hpp"
#include "vmx/checker.hpp"

namespace hwv::vmx {

struct Capabilities {
    hwv_unusable unusable = HWV_UNUSABLE_NO_VIRT; // HWV_USABLE, or the first thing that is missing
    std::uint32_t revision = 0;                   // of VMCSs
    CheckerFacts facts{};                         // the capability MSRs
    npt::EptCaps ept;
    bool invept_context = false; // else only all at once
    bool vpid = false;           // and all that hwv needs of it
    bool tsc_aux = false;        // RDTSCP or RDPID: the MSR exists
    bool perf_global_ctrl = false;
    bool pebs = false;
    bool l1d_flush = false; // IA32_FLUSH_CMD
    bool timer = false;     // the preemption timer, which counts every 2^timer_shift TSC ticks
    std::uint8_t timer_shift = 0;
    bool apicv = false;  // apic_controls, and they may be used
    bool posted = false; // interrupts too, by the host's vector facts.posted_vector

    // What guests run with unless they are in a state that says otherwise.
    std::uint32_t pin_controls() const;
    std::uint32_t primary_controls() const;
    std::uint32_t secondary_controls() const;
    std::uint32_t exit_controls() const;
    std::uint32_t entry_controls() const;
};

// On while the CPU works on a guest's local APIC: "APIC Virtualization and Virtual Interrupts".
inline constexpr std::uint32_t apic_controls = secondary::virtualize_x2apic_mode |
                                               secondary::apic_register_virtualization |
                                               secondary::virtual_interrupt_delivery;

Capabilities read_capabilities(); // of the CPU that runs this; says in the log what is missing

std::uint64_t features(const Capabilities &capabilities); // HWV_FEATURE_* of the CPU's VMX

} // namespace hwv::vmx
