// SPDX-License-Identifier: GPL-2.0-only
// entry_state.hpp - what the checker judges, out of the VMCS: some hundred reads, for entries that
// failed and for debug builds.
#pragma once
#include "vmx/checker.hpp"
#include "vmx/vmcs.hpp"

namespace hwv::vmx {

// `read(field, index)`: the value of the field that stands `index` fields behind `field`. The
// virtual TPR is not in the VMCS.
template <typename Read>
Controls read_control_fields(const Read &read, std::uint8_t virtual_tpr) {
    using namespace field;
    return {.pin = read(pin_controls, 0),
            .primary = read(primary_controls, 0),
            .secondary = read(secondary_controls, 0),
            .exit = read(exit_controls, 0),
            .entry = read(entry_controls, 0),
            .exception_bitmap = read(exception_bitmap, 0),
            .cr3_target_count = read(cr3_target_count, 0),
            .tpr_threshold = read(tpr_threshold, 0),
            .vpid = read(vpid, 0),
            .posted_vector = read(posted_vector, 0),
            .virtual_tpr = virtual_tpr,
            .cr0_mask = read(cr0_mask, 0),
            .cr4_mask = read(cr4_mask, 0),
            .io_bitmap_a = read(io_bitmap_a, 0),
            .io_bitmap_b = read(io_bitmap_b, 0),
            .msr_bitmap = read(msr_bitmap, 0),
            .virtual_apic = read(virtual_apic, 0),
            .apic_access = read(apic_access, 0),
            .posted_descriptor = read(posted_descriptor, 0),
            .ept_pointer = read(ept_pointer, 0),
            .pml_address = read(pml_address, 0),
            .tsc_multiplier = read(tsc_multiplier, 0),
            .exit_msr_store = read(exit_msr_store, 0),
            .exit_msr_load = read(exit_msr_load, 0),
            .entry_msr_load = read(entry_msr_load, 0),
            .exit_msr_store_count = read(exit_msr_store_count, 0),
            .exit_msr_load_count = read(exit_msr_load_count, 0),
            .entry_msr_load_count = read(entry_msr_load_count, 0),
            .entry_interruption = read(entry_interruption, 0),
            .entry_error_code = read(entry_error_code, 0),
            .entry_instruction_length = read(entry_instruction_length, 0)};
}

template <typename Read>
HostState read_host_fields(const Read &read) {
    using namespace field;
    return {.cr0 = read(host_cr0, 0),
            .cr3 = read(host_cr3, 0),
            .cr4 = read(host_cr4, 0),
            .efer = read(host_efer, 0),
            .pat = read(host_pat, 0),
            .perf_global_ctrl = read(host_perf_global_ctrl, 0),
            .es = read(host_es_selector, 0),
            .cs = read(host_cs_selector, 0),
            .ss = read(host_ss_selector, 0),
            .ds = read(host_ds_selector, 0),
            .fs = read(host_fs_selector, 0),
            .gs = read(host_gs_selector, 0),
            .tr = read(host_tr_selector, 0),
            .fs_base = read(host_fs_base, 0),
            .gs_base = read(host_gs_base, 0),
            .tr_base = read(host_tr_base, 0),
            .gdtr_base = read(host_gdtr_base, 0),
            .idtr_base = read(host_idtr_base, 0),
            .sysenter_esp = read(host_sysenter_esp, 0),
            .sysenter_eip = read(host_sysenter_eip, 0),
            .rip = read(host_rip, 0)};
}

template <typename Read>
GuestState read_guest_fields(const Read &read) {
    using namespace field;
    GuestState g{.cr0 = read(guest_cr0, 0),
                 .cr3 = read(guest_cr3, 0),
                 .cr4 = read(guest_cr4, 0),
                 .efer = read(guest_efer, 0),
                 .pat = read(guest_pat, 0),
                 .perf_global_ctrl = read(guest_perf_global_ctrl, 0),
                 .dr7 = read(guest_dr7, 0),
                 .debugctl = read(guest_debugctl, 0),
                 .sysenter_esp = read(guest_sysenter_esp, 0),
                 .sysenter_eip = read(guest_sysenter_eip, 0),
                 .segments = {},
                 .gdtr = {read(guest_gdtr_base, 0), read(guest_gdtr_limit, 0)},
                 .idtr = {read(guest_idtr_base, 0), read(guest_idtr_limit, 0)},
                 .rip = read(guest_rip, 0),
                 .rflags = read(guest_rflags, 0),
                 .activity = read(guest_activity, 0),
                 .interruptibility = read(guest_interruptibility, 0),
                 .pending_debug = read(guest_pending_debug, 0),
                 .vmcs_link = read(vmcs_link, 0),
                 .pdptes = {}};
    for (unsigned i = 0; i < HWV_SEGMENTS; i++)
        g.segments[i] = {.selector = read(guest_es_selector, i),
                         .access_rights = read(guest_es_access_rights, i),
                         .limit = read(guest_es_limit, i),
                         .base = read(guest_es_base, i)};
    for (unsigned i = 0; i < 4; i++)
        g.pdptes[i] = read(guest_pdpte_0, i);
    return g;
}

template <typename Read>
EntryState read_entry_state(const Read &read, std::uint8_t virtual_tpr) {
    return {read_control_fields(read, virtual_tpr), read_host_fields(read),
            read_guest_fields(read)};
}

} // namespace hwv::vmx
