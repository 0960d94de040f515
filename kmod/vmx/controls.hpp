// SPDX-License-Identifier: GPL-2.0-only
// controls.hpp - bits of VMCS fields. Intel SDM vol. 3, "VM-Execution Control Fields", "VM-Exit
// Control Fields", "VM-Entry Control Fields", "Guest Non-Register State".
#pragma once
#include <cstdint>

namespace hwv::vmx {

// Pin-based VM-execution controls.
namespace pin {
inline constexpr std::uint32_t external_interrupt_exiting = 1u << 0, nmi_exiting = 1u << 3,
                               virtual_nmis = 1u << 5, preemption_timer = 1u << 6,
                               posted_interrupts = 1u << 7;
}

inline constexpr std::uint32_t timer_off = ~0u; // of the preemption timer's field

// Primary processor-based VM-execution controls.
namespace primary {
inline constexpr std::uint32_t interrupt_window_exiting = 1u << 2, use_tsc_offsetting = 1u << 3,
                               hlt_exiting = 1u << 7, invlpg_exiting = 1u << 9,
                               mwait_exiting = 1u << 10, rdpmc_exiting = 1u << 11,
                               rdtsc_exiting = 1u << 12, cr3_load_exiting = 1u << 15,
                               cr3_store_exiting = 1u << 16, tertiary_controls = 1u << 17,
                               cr8_load_exiting = 1u << 19, cr8_store_exiting = 1u << 20,
                               use_tpr_shadow = 1u << 21, nmi_window_exiting = 1u << 22,
                               mov_dr_exiting = 1u << 23, unconditional_io_exiting = 1u << 24,
                               use_io_bitmaps = 1u << 25, monitor_trap_flag = 1u << 27,
                               use_msr_bitmaps = 1u << 28, monitor_exiting = 1u << 29,
                               pause_exiting = 1u << 30, secondary_controls = 1u << 31;
}

// Secondary processor-based VM-execution controls.
namespace secondary {
inline constexpr std::uint32_t virtualize_apic_accesses = 1u << 0, enable_ept = 1u << 1,
                               descriptor_table_exiting = 1u << 2, enable_rdtscp = 1u << 3,
                               virtualize_x2apic_mode = 1u << 4, enable_vpid = 1u << 5,
                               wbinvd_exiting = 1u << 6, unrestricted_guest = 1u << 7,
                               apic_register_virtualization = 1u << 8,
                               virtual_interrupt_delivery = 1u << 9, pause_loop_exiting = 1u << 10,
                               rdrand_exiting = 1u << 11, enable_invpcid = 1u << 12,
                               enable_vm_functions = 1u << 13, vmcs_shadowing = 1u << 14,
                               encls_exiting = 1u << 15, rdseed_exiting = 1u << 16,
                               enable_pml = 1u << 17, ept_violation_ve = 1u << 18,
                               conceal_vmx_from_pt = 1u << 19, enable_xsaves = 1u << 20,
                               pasid_translation = 1u << 21, mode_based_execute_control = 1u << 22,
                               sub_page_write_permissions = 1u << 23,
                               pt_uses_guest_physical = 1u << 24, use_tsc_scaling = 1u << 25,
                               enable_user_wait_pause = 1u << 26, enable_pconfig = 1u << 27,
                               enclv_exiting = 1u << 28, bus_lock_detection = 1u << 30,
                               instruction_timeout = 1u << 31;
}

// VM-exit controls.
namespace exit_control {
inline constexpr std::uint32_t save_debug_controls = 1u << 2, host_address_space_size = 1u << 9,
                               load_perf_global_ctrl = 1u << 12,
                               acknowledge_interrupt_on_exit = 1u << 15, save_pat = 1u << 18,
                               load_pat = 1u << 19, save_efer = 1u << 20, load_efer = 1u << 21,
                               save_preemption_timer = 1u << 22, clear_bndcfgs = 1u << 23,
                               conceal_vmx_from_pt = 1u << 24, clear_rtit_ctl = 1u << 25,
                               clear_lbr_ctl = 1u << 26, clear_uinv = 1u << 27,
                               load_cet_state = 1u << 28, load_pkrs = 1u << 29,
                               save_perf_global_ctrl = 1u << 30, secondary_controls = 1u << 31;
}

// VM-entry controls.
namespace entry_control {
inline constexpr std::uint32_t load_debug_controls = 1u << 2, ia32e_mode_guest = 1u << 9,
                               entry_to_smm = 1u << 10, deactivate_dual_monitor = 1u << 11,
                               load_perf_global_ctrl = 1u << 13, load_pat = 1u << 14,
                               load_efer = 1u << 15, load_bndcfgs = 1u << 16,
                               conceal_vmx_from_pt = 1u << 17, load_rtit_ctl = 1u << 18,
                               load_uinv = 1u << 19, load_cet_state = 1u << 20,
                               load_lbr_ctl = 1u << 21, load_pkrs = 1u << 22;
}

namespace interruptibility {
inline constexpr std::uint32_t sti = 1u << 0, mov_ss = 1u << 1, smi = 1u << 2, nmi = 1u << 3,
                               enclave = 1u << 4;
}

namespace activity {
inline constexpr std::uint32_t active = 0, hlt = 1, shutdown = 2, wait_for_sipi = 3;
}

// Guest pending debug exceptions: DR6's bits, and one that says any of B0-B3 is enabled in DR7.
namespace pending_debug {
inline constexpr std::uint64_t breakpoints = 0xf, bus_lock = 1u << 11,
                               enabled_breakpoint = 1u << 12, single_step = 1u << 14,
                               rtm = 1u << 16;
}

// Interruption information: of an entry, an exit, and of what an exit interrupted (IDT-vectoring).
// SDM "VM-Entry Controls for Event Injection", "Information for VM Exits Due to Vectored Events".
namespace event {
inline constexpr std::uint32_t vector = 0xff, type_shift = 8, type = 7u << type_shift,
                               has_error_code = 1u << 11, valid = 1u << 31;
// of an exit: an IRET that faulted had ended the blocking of NMIs
inline constexpr std::uint32_t nmi_unblocked = 1u << 12;
enum Type : std::uint8_t {
    interrupt = 0,
    nmi = 2,
    exception = 3,
    software_interrupt = 4,  // INT n
    privileged_software = 5, // INT1
    software_exception = 6,  // INT3, INTO
    other = 7,               // entries: pending monitor trap flag
};
} // namespace event

// A segment's access rights. hwv_segment.attributes are bits 8-15 and 20-23 of a descriptor's upper
// word without the four limit bits between them; here the gap is there, and "unusable" is bit 16.
namespace access_rights {
inline constexpr std::uint32_t type = 0xf, s = 1u << 4, dpl_shift = 5, dpl = 3u << dpl_shift,
                               present = 1u << 7, avl = 1u << 12, l = 1u << 13, db = 1u << 14,
                               g = 1u << 15, unusable = 1u << 16;
inline constexpr std::uint32_t defined = type | s | dpl | present | avl | l | db | g | unusable;
} // namespace access_rights

constexpr std::uint32_t to_access_rights(std::uint16_t attributes) {
    return (attributes & 0xffu) | (attributes & 0x1f00u) << 4;
}
constexpr std::uint16_t to_attributes(std::uint32_t rights) {
    return static_cast<std::uint16_t>((rights & 0xff) | (rights >> 4 & 0x1f00));
}
static_assert(to_access_rights(0xa9b) == 0xa09b && to_attributes(0xc093) == 0xc93);
static_assert(to_access_rights(1u << 12) == access_rights::unusable);
static_assert(to_attributes(to_access_rights(0x1fff)) == 0x1fff);

} // namespace hwv::vmx
