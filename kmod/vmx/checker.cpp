// SPDX-License-Identifier: GPL-2.0-only
// Intel SDM vol. 3, "Checks on VMX Controls and Host-State Area". What hwv's own rules exclude is
// not asked again.
#include "vmx/checker.hpp"
#include <initializer_list>
#include "vmx/event.hpp"

namespace hwv::vmx {

namespace {

// What would let the guest do more than hwv knows of.
constexpr std::uint32_t unknown_secondary =
    secondary::enable_vm_functions | secondary::vmcs_shadowing | secondary::ept_violation_ve |
    secondary::pasid_translation | secondary::sub_page_write_permissions |
    secondary::pt_uses_guest_physical | secondary::enable_user_wait_pause |
    secondary::enable_pconfig | secondary::instruction_timeout;
constexpr std::uint32_t unknown_exit = exit_control::load_cet_state | exit_control::load_pkrs |
                                       exit_control::save_perf_global_ctrl |
                                       exit_control::secondary_controls;
constexpr std::uint32_t unknown_entry = entry_control::load_bndcfgs | entry_control::load_rtit_ctl |
                                        entry_control::load_uinv | entry_control::load_cet_state |
                                        entry_control::load_lbr_ctl | entry_control::load_pkrs;

bool tpr_is_the_guests(std::uint32_t primary_controls) {
    constexpr std::uint32_t cr8 = primary::cr8_load_exiting | primary::cr8_store_exiting;
    return (primary_controls & primary::use_tpr_shadow) || (primary_controls & cr8) == cr8;
}

Rule check_own(const Controls &c, const CheckerFacts &facts) {
    if (required_pin & ~c.pin) return Rule::pin_required;
    if (required_primary & ~c.primary) return Rule::primary_required;
    if (required_secondary & ~c.secondary) return Rule::secondary_required;
    if (required_exit & ~c.exit) return Rule::exit_required;
    if (required_entry & ~c.entry) return Rule::entry_required;
    if (!(c.primary & (primary::unconditional_io_exiting | primary::use_io_bitmaps)))
        return Rule::ports_open;
    if (!tpr_is_the_guests(c.primary)) return Rule::tpr_open;
    constexpr std::uint32_t enclaves = secondary::encls_exiting | secondary::enclv_exiting;
    if (enclaves & facts.secondary.may & ~c.secondary) return Rule::enclaves_open;
    if (required_exceptions & ~c.exception_bitmap) return Rule::exception_required;
    if ((c.primary & primary::tertiary_controls) || (c.secondary & unknown_secondary) ||
        (c.exit & unknown_exit) || (c.entry & unknown_entry))
        return Rule::control_unknown;
    // VM exits leave these two as they are: the guest's would be the host's.
    if ((cr0::cd | cr0::nw) & ~c.cr0_mask) return Rule::caches_open;
    return cr4::mce & ~c.cr4_mask ? Rule::machine_check_open : Rule::none;
}

bool address_valid(std::uint64_t address, std::uint64_t alignment, const CheckerFacts &facts) {
    return !(address & (alignment - 1)) && !(address >> facts.physical_bits);
}

bool list_valid(std::uint64_t address, std::uint32_t count, const CheckerFacts &facts) {
    constexpr unsigned entry = 16;
    const std::uint64_t last = address + std::uint64_t{count} * entry - 1;
    return !count || (address_valid(address, entry, facts) && !(last >> facts.physical_bits));
}

Rule check_reserved(const Controls &c, const CheckerFacts &facts) {
    if (!facts.pin(c.pin)) return Rule::pin_reserved;
    if (!facts.primary(c.primary)) return Rule::primary_reserved;
    if (!facts.secondary(c.secondary)) return Rule::secondary_reserved;
    if (!facts.exit(c.exit)) return Rule::exit_reserved;
    return facts.entry(c.entry) ? Rule::none : Rule::entry_reserved;
}

Rule check_apic(const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint32_t need_shadow = secondary::virtualize_x2apic_mode |
                                          secondary::apic_register_virtualization |
                                          secondary::virtual_interrupt_delivery;
    const bool accesses = c.secondary & secondary::virtualize_apic_accesses;
    const bool delivery = c.secondary & secondary::virtual_interrupt_delivery;
    if (accesses && !address_valid(c.apic_access, 4096, facts)) return Rule::apic_access_address;
    if (accesses && (c.secondary & secondary::virtualize_x2apic_mode))
        return Rule::x2apic_with_apic_accesses;
    if (!(c.primary & primary::use_tpr_shadow))
        return c.secondary & need_shadow ? Rule::apic_virtualization_without_tpr_shadow
                                         : Rule::none;
    if (!address_valid(c.virtual_apic, 4096, facts)) return Rule::virtual_apic_address;
    if (delivery) return Rule::none;
    if (c.tpr_threshold >> 4) return Rule::tpr_threshold_reserved;
    return !accesses && c.tpr_threshold > c.virtual_tpr >> 4 ? Rule::tpr_threshold_above_tpr
                                                             : Rule::none;
}

Rule check_posted(const Controls &c, const CheckerFacts &facts) {
    if (!(c.pin & pin::posted_interrupts)) return Rule::none;
    if (!(c.secondary & secondary::virtual_interrupt_delivery))
        return Rule::posted_without_virtual_delivery;
    if (!(c.exit & exit_control::acknowledge_interrupt_on_exit))
        return Rule::posted_without_acknowledge;
    if (c.posted_vector >> 8) return Rule::posted_vector;
    return address_valid(c.posted_descriptor, 64, facts) ? Rule::none
                                                         : Rule::posted_descriptor_address;
}

// SDM "Extended-Page-Table Pointer (EPTP)", appendix "VPID and EPT Capabilities".
Rule check_ept(const Controls &c, const CheckerFacts &facts) {
    const std::uint64_t p = c.ept_pointer, caps = facts.ept_capabilities;
    const unsigned type = p & 7, walk = p >> 3 & 7;
    const bool uncacheable = type == 0 && (caps >> 8 & 1),
               write_back = type == 6 && (caps >> 14 & 1);
    const bool four = walk == 3 && (caps >> 6 & 1), five = walk == 4 && (caps >> 7 & 1);
    if (!uncacheable && !write_back) return Rule::ept_memory_type;
    if (!four && !five) return Rule::ept_walk_length;
    if ((p >> 6 & 1) && !(caps >> 21 & 1)) return Rule::ept_accessed_dirty;
    if ((p & 0xf80) || p >> facts.physical_bits) return Rule::ept_pointer_reserved;
    const bool pml = c.secondary & secondary::enable_pml;
    return pml && !address_valid(c.pml_address, 4096, facts) ? Rule::pml_address : Rule::none;
}

Rule check_execution(const Controls &c, const CheckerFacts &facts) {
    if (c.cr3_target_count > (facts.misc >> 16 & 0x1ff)) return Rule::cr3_target_count;
    if ((c.primary & primary::use_io_bitmaps) &&
        (!address_valid(c.io_bitmap_a, 4096, facts) || !address_valid(c.io_bitmap_b, 4096, facts)))
        return Rule::io_bitmap_address;
    if (!address_valid(c.msr_bitmap, 4096, facts)) return Rule::msr_bitmap_address;
    if ((c.secondary & secondary::enable_vpid) && !c.vpid) return Rule::vpid_zero;
    if ((c.secondary & secondary::use_tsc_scaling) && !c.tsc_multiplier)
        return Rule::tsc_multiplier_zero;
    if (const Rule rule = check_apic(c, facts); rule != Rule::none) return rule;
    if (const Rule rule = check_posted(c, facts); rule != Rule::none) return rule;
    return check_ept(c, facts);
}

Rule check_exit_and_entry(const Controls &c, const CheckerFacts &facts) {
    if ((c.exit & exit_control::save_preemption_timer) && !(c.pin & pin::preemption_timer))
        return Rule::timer_saved_but_off;
    if (!list_valid(c.exit_msr_store, c.exit_msr_store_count, facts))
        return Rule::exit_msr_store_address;
    if (!list_valid(c.exit_msr_load, c.exit_msr_load_count, facts))
        return Rule::exit_msr_load_address;
    if (c.entry & (entry_control::entry_to_smm | entry_control::deactivate_dual_monitor))
        return Rule::entry_smm;
    return list_valid(c.entry_msr_load, c.entry_msr_load_count, facts)
               ? Rule::none
               : Rule::entry_msr_load_address;
}

bool selectors_valid(const HostState &h) {
    return !((h.es | h.cs | h.ss | h.ds | h.fs | h.gs | h.tr) & 7); // RPL and TI
}

Rule check_host_msrs(const HostState &h, const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint64_t mode = efer::lma | efer::lme;
    if (!canonical(h.sysenter_esp, facts.linear_bits) ||
        !canonical(h.sysenter_eip, facts.linear_bits))
        return Rule::host_sysenter;
    if ((c.exit & exit_control::load_perf_global_ctrl) &&
        (h.perf_global_ctrl & ~facts.perf_global_ctrl))
        return Rule::host_perf_global_ctrl;
    if (!pat_valid(h.pat)) return Rule::host_pat;
    if (h.efer & ~efer_defined) return Rule::host_efer_reserved;
    return (h.efer & mode) == mode ? Rule::none : Rule::host_efer_mode;
}

} // namespace

Rule check_host(const HostState &h, const Controls &c, const CheckerFacts &facts) {
    if ((facts.cr0_fixed0 & ~h.cr0) || (h.cr0 & ~facts.cr0_fixed1)) return Rule::host_cr0;
    if (h.cr3 >> facts.physical_bits) return Rule::host_cr3;
    if ((facts.cr4_fixed0 & ~h.cr4) || (h.cr4 & ~facts.cr4_fixed1)) return Rule::host_cr4;
    if ((h.cr4 & cr4::cet) && !(h.cr0 & cr0::wp)) return Rule::host_cet_without_wp;
    if (const Rule rule = check_host_msrs(h, c, facts); rule != Rule::none) return rule;
    if (!selectors_valid(h)) return Rule::host_selector;
    if (!h.cs || !h.tr) return Rule::host_selector_null;
    for (std::uint64_t base : {h.fs_base, h.gs_base, h.tr_base, h.gdtr_base, h.idtr_base})
        if (!canonical(base, facts.linear_bits)) return Rule::host_base;
    if (!(h.cr4 & cr4::pae)) return Rule::host_pae;
    return canonical(h.rip, facts.linear_bits) ? Rule::none : Rule::host_rip;
}

Rule check_controls(const Controls &c, const CheckerFacts &facts) {
    if (const Rule rule = check_own(c, facts); rule != Rule::none) return rule;
    if (const Rule rule = check_reserved(c, facts); rule != Rule::none) return rule;
    if (const Rule rule = check_execution(c, facts); rule != Rule::none) return rule;
    return check_exit_and_entry(c, facts);
}

Rule check(const EntryState &s, const CheckerFacts &facts) {
    if (const Rule rule = check_controls(s.controls, facts); rule != Rule::none) return rule;
    if (const Rule rule = check_host(s.host, s.controls, facts); rule != Rule::none) return rule;
    return check_guest(s.guest, s.controls, facts);
}

} // namespace hwv::vmx
