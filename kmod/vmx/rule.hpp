// SPDX-License-Identifier: GPL-2.0-only
// rule.hpp - why a VM entry is refused, by name.
#pragma once
#include <cstdint>

namespace hwv::vmx {

// Numbers are shown to users (hwv_exit.invalid_rule): they stay. In hundreds by the sections of
// Intel SDM vol. 3, "VM Entries".
enum class Rule : std::uint32_t {
    none = 0,
    // "VM-Execution Control Fields"
    pin_reserved = 100,
    primary_reserved = 101,
    secondary_reserved = 102,
    cr3_target_count = 103,
    io_bitmap_address = 104,
    msr_bitmap_address = 105,
    virtual_apic_address = 106,
    tpr_threshold_reserved = 107,
    tpr_threshold_above_tpr = 108,
    apic_access_address = 109,
    apic_virtualization_without_tpr_shadow = 110,
    x2apic_with_apic_accesses = 111,
    posted_without_virtual_delivery = 112,
    posted_without_acknowledge = 113,
    posted_vector = 114,
    posted_descriptor_address = 115,
    vpid_zero = 116,
    ept_memory_type = 117,
    ept_walk_length = 118,
    ept_accessed_dirty = 119,
    ept_pointer_reserved = 120,
    pml_address = 121,
    tsc_multiplier_zero = 122,
    // "VM-Exit Control Fields"
    exit_reserved = 200,
    timer_saved_but_off = 201,
    exit_msr_store_address = 202,
    exit_msr_load_address = 203,
    // "VM-Entry Control Fields"
    entry_reserved = 300,
    entry_smm = 301,
    entry_msr_load_address = 302,
    event_reserved = 303,
    event_type = 304,
    event_vector = 305,
    event_error_code = 306, // delivered where it must not be, or the other way round
    event_error_code_reserved = 307,
    event_length = 308,
    // "Checks on Host Control Registers, MSRs, and SSP", "Checks on Host Segment and
    // Descriptor-Table Registers", "Checks Related to Address-Space Size"
    host_cr0 = 400,
    host_cr3 = 401,
    host_cr4 = 402,
    host_cet_without_wp = 403,
    host_sysenter = 404,
    host_perf_global_ctrl = 405,
    host_pat = 406,
    host_efer_reserved = 407,
    host_efer_mode = 408,
    host_selector = 409,
    host_selector_null = 410,
    host_base = 411,
    host_pae = 412,
    host_rip = 413,
    // "Checks on Guest Control Registers, Debug Registers, and MSRs"
    cr0_fixed = 500,
    paging_without_protection = 501,
    cr4_fixed = 502,
    cet_without_wp = 503,
    debugctl_reserved = 504,
    long_mode_without_paging = 505,
    long_mode_without_pae = 506,
    pcid_outside_long_mode = 507,
    cr3_reserved = 508,
    dr7_high = 509,
    sysenter = 510,
    perf_global_ctrl = 511,
    pat = 512,
    efer_reserved = 513,
    efer_lma = 514,
    efer_lme = 515,
    // "Checks on Guest Segment Registers"; to all of them add the hwv_segment_index
    segment_v8086_base = 600,
    segment_v8086_limit = 610,
    segment_v8086_rights = 620,
    segment_base = 630,
    segment_type = 640,
    segment_system = 650,
    segment_privilege = 660,
    segment_present = 670,
    segment_reserved = 680,
    segment_granularity = 690,
    segment_table = 700,
    segment_l_and_d = 710,
    segment_unusable = 720,
    // "Checks on Guest Descriptor-Table Registers", "Checks on Guest RIP, RFLAGS, and SSP"
    gdtr_base = 800,
    gdtr_limit = 801,
    idtr_base = 802,
    idtr_limit = 803,
    rip_high = 804,
    rip_canonical = 805,
    rflags_reserved = 806,
    rflags_vm = 807,
    rflags_if = 808,
    // "Checks on Guest Non-Register State"
    activity = 900,
    halted_with_privilege = 901,
    inactive_in_shadow = 902,
    event_while_inactive = 903,
    interruptibility_reserved = 904,
    two_shadows = 905,
    sti_shadow_without_if = 906,
    interrupt_in_shadow = 907,
    nmi_in_shadow = 908,
    smi_blocked = 909,
    nmi_while_blocked = 910,
    enclave_in_shadow = 911,
    pending_debug_reserved = 912,
    pending_debug_step = 913,
    pending_debug_rtm = 914,
    // "Checks on Guest Page-Directory-Pointer-Table Entries"; + index
    pdpte_reserved = 920,
    // hwv's own: what keeps the host's
    pin_required = 1000,
    primary_required = 1001,
    secondary_required = 1002,
    exit_required = 1003,
    entry_required = 1004,
    ports_open = 1005,
    tpr_open = 1006,
    enclaves_open = 1007,
    exception_required = 1008,
    control_unknown = 1009, // its fields are not among those that are checked
    caches_open = 1010,
    machine_check_open = 1011,
    machine_check_off = 1012,
    vmcs_link = 1013,
    // The CPU refused controls or host state that no rule is against: + its VM-instruction error.
    instruction_error = 2000,
};

constexpr Rule operator+(Rule rule, unsigned n) {
    return static_cast<Rule>(static_cast<std::uint32_t>(rule) + n);
}

} // namespace hwv::vmx
