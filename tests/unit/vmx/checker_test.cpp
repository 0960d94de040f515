// SPDX-License-Identifier: GPL-2.0-only
// Controls, host state and hwv's own rules: one defect, one rule. Intel SDM vol. 3, "Checks on VMX
// Controls and Host-State Area".
#include "vmx/checker_states.hpp"

namespace hwv::vmx::test {
namespace {

constexpr std::uint64_t beyond = 1ull << 39; // physical
constexpr std::uint64_t not_canonical = 1ull << 47;

const Spoilt execution[] = {
    {Rule::pin_reserved, long_mode, SPOIL(c.pin |= 1u << 9)},
    {Rule::pin_reserved, long_mode, SPOIL(c.pin &= ~2u)},
    {Rule::primary_reserved, long_mode, SPOIL(c.primary |= 1)},
    {Rule::primary_reserved, long_mode, SPOIL(c.primary &= ~2u)},
    {Rule::secondary_reserved, long_mode,
     SPOIL(c.secondary |= secondary::mode_based_execute_control)},
    {Rule::cr3_target_count, long_mode, SPOIL(c.cr3_target_count = 5)},
    {Rule::io_bitmap_address, long_mode, SPOIL(c.io_bitmap_a += 0x800)},
    {Rule::io_bitmap_address, long_mode, SPOIL(c.io_bitmap_b |= beyond)},
    {Rule::msr_bitmap_address, long_mode, SPOIL(c.msr_bitmap += 1)},
    {Rule::msr_bitmap_address, long_mode, SPOIL(c.msr_bitmap |= beyond)},
    {Rule::virtual_apic_address, long_mode,
     SPOIL(c.primary |= primary::use_tpr_shadow, c.virtual_apic = 0x800)},
    {Rule::tpr_threshold_reserved, long_mode,
     SPOIL(c.primary |= primary::use_tpr_shadow, c.tpr_threshold = 0x10, c.virtual_tpr = 0xf0)},
    {Rule::tpr_threshold_above_tpr, long_mode,
     SPOIL(c.primary |= primary::use_tpr_shadow, c.tpr_threshold = 5, c.virtual_tpr = 0x4f)},
    {Rule::apic_access_address, long_mode,
     SPOIL(c.secondary |= secondary::virtualize_apic_accesses, c.apic_access = beyond)},
    {Rule::apic_virtualization_without_tpr_shadow, long_mode,
     SPOIL(c.secondary |= secondary::virtualize_x2apic_mode)},
    {Rule::apic_virtualization_without_tpr_shadow, long_mode,
     SPOIL(c.secondary |= secondary::apic_register_virtualization)},
    {Rule::apic_virtualization_without_tpr_shadow, long_mode,
     SPOIL(c.secondary |= secondary::virtual_interrupt_delivery)},
    {Rule::x2apic_with_apic_accesses, long_mode,
     SPOIL(c.primary |= primary::use_tpr_shadow;
           c.secondary |= secondary::virtualize_x2apic_mode | secondary::virtualize_apic_accesses)},
    {Rule::posted_without_virtual_delivery, long_mode, SPOIL(c.pin |= pin::posted_interrupts)},
    {Rule::vpid_zero, long_mode, SPOIL(c.vpid = 0)},
    {Rule::tsc_multiplier_zero, long_mode, SPOIL(c.secondary |= secondary::use_tsc_scaling)},
    {Rule::ept_memory_type, long_mode, SPOIL(c.ept_pointer ^= 6 ^ 4)},
    {Rule::ept_memory_type, long_mode, SPOIL(f.ept_capabilities &= ~(1ull << 14))},
    {Rule::ept_walk_length, long_mode, SPOIL(c.ept_pointer ^= (3 ^ 2) << 3)},
    {Rule::ept_walk_length, long_mode, SPOIL(c.ept_pointer ^= (3 ^ 4) << 3)},
    {Rule::ept_accessed_dirty, long_mode,
     SPOIL(c.ept_pointer |= 1 << 6, f.ept_capabilities &= ~(1ull << 21))},
    {Rule::ept_pointer_reserved, long_mode, SPOIL(c.ept_pointer |= 1 << 11)},
    {Rule::ept_pointer_reserved, long_mode, SPOIL(c.ept_pointer |= beyond)},
    {Rule::pml_address, long_mode,
     SPOIL(c.secondary |= secondary::enable_pml, c.pml_address = 0x10)},
};

void post(Controls &c) {
    c.pin |= pin::posted_interrupts;
    c.primary |= primary::use_tpr_shadow;
    c.secondary |= secondary::virtual_interrupt_delivery;
    c.exit |= exit_control::acknowledge_interrupt_on_exit;
    c.posted_vector = 0xf2;
    c.posted_descriptor = 0x6040;
    c.tpr_threshold = 0x10; // unused then
}

const Spoilt posted[] = {
    {Rule::none, long_mode, SPOIL(post(c))},
    {Rule::posted_without_acknowledge, long_mode,
     SPOIL(post(c), c.exit &= ~exit_control::acknowledge_interrupt_on_exit)},
    {Rule::posted_vector, long_mode, SPOIL(post(c), c.posted_vector = 0x100)},
    {Rule::posted_descriptor_address, long_mode, SPOIL(post(c), c.posted_descriptor += 32)},
    {Rule::posted_descriptor_address, long_mode, SPOIL(post(c), c.posted_descriptor |= beyond)},
};

const Spoilt exit_and_entry[] = {
    {Rule::exit_reserved, long_mode, SPOIL(c.exit &= ~2u)},
    {Rule::timer_saved_but_off, long_mode, SPOIL(c.exit |= exit_control::save_preemption_timer)},
    {Rule::exit_msr_store_address, long_mode,
     SPOIL(c.exit_msr_store = 8, c.exit_msr_store_count = 1)},
    {Rule::exit_msr_store_address, long_mode,
     SPOIL(c.exit_msr_store = beyond - 16, c.exit_msr_store_count = 2)},
    {Rule::exit_msr_load_address, long_mode,
     SPOIL(c.exit_msr_load = beyond, c.exit_msr_load_count = 1)},
    {Rule::entry_reserved, long_mode, SPOIL(c.entry |= 1u << 25)},
    {Rule::entry_smm, long_mode, SPOIL(c.entry |= entry_control::entry_to_smm)},
    {Rule::entry_smm, long_mode, SPOIL(c.entry |= entry_control::deactivate_dual_monitor)},
    {Rule::entry_msr_load_address, long_mode,
     SPOIL(c.entry_msr_load = 4, c.entry_msr_load_count = 3)},
};

const Spoilt host_state[] = {
    {Rule::host_cr0, long_mode, SPOIL(h.cr0 &= ~cr0::ne)},
    {Rule::host_cr0, long_mode, SPOIL(h.cr0 |= 1ull << 32)},
    {Rule::host_cr3, long_mode, SPOIL(h.cr3 |= beyond)},
    {Rule::host_cr4, long_mode, SPOIL(h.cr4 &= ~cr4::vmxe)},
    {Rule::host_cr4, long_mode, SPOIL(h.cr4 |= 1ull << 15)},
    {Rule::host_cet_without_wp, long_mode, SPOIL(h.cr4 |= cr4::cet, h.cr0 &= ~cr0::wp)},
    {Rule::host_sysenter, long_mode, SPOIL(h.sysenter_esp = not_canonical)},
    {Rule::host_sysenter, long_mode, SPOIL(h.sysenter_eip = not_canonical)},
    {Rule::host_perf_global_ctrl, long_mode,
     SPOIL(c.exit |= exit_control::load_perf_global_ctrl, h.perf_global_ctrl = 1ull << 40)},
    {Rule::host_pat, long_mode, SPOIL(h.pat = 2)},
    {Rule::host_efer_reserved, long_mode, SPOIL(h.efer |= efer::svme)},
    {Rule::host_efer_mode, long_mode, SPOIL(h.efer &= ~efer::lma)},
    {Rule::host_efer_mode, long_mode, SPOIL(h.efer &= ~efer::lme)},
    {Rule::host_selector, long_mode, SPOIL(h.es = 1)},
    {Rule::host_selector, long_mode, SPOIL(h.cs |= 4)},
    {Rule::host_selector, long_mode, SPOIL(h.ss |= 3)},
    {Rule::host_selector, long_mode, SPOIL(h.ds = 0x2b)},
    {Rule::host_selector, long_mode, SPOIL(h.fs = 4)},
    {Rule::host_selector, long_mode, SPOIL(h.gs = 2)},
    {Rule::host_selector, long_mode, SPOIL(h.tr |= 4)},
    {Rule::host_selector_null, long_mode, SPOIL(h.cs = 0)},
    {Rule::host_selector_null, long_mode, SPOIL(h.tr = 0)},
    {Rule::host_base, long_mode, SPOIL(h.fs_base = not_canonical)},
    {Rule::host_base, long_mode, SPOIL(h.gs_base = not_canonical)},
    {Rule::host_base, long_mode, SPOIL(h.tr_base = not_canonical)},
    {Rule::host_base, long_mode, SPOIL(h.gdtr_base = not_canonical)},
    {Rule::host_base, long_mode, SPOIL(h.idtr_base = not_canonical)},
    {Rule::host_pae, long_mode, SPOIL(h.cr4 &= ~cr4::pae)},
    {Rule::host_rip, long_mode, SPOIL(h.rip = not_canonical)},
};

const Spoilt own[] = {
    {Rule::pin_required, long_mode, SPOIL(c.pin &= ~pin::external_interrupt_exiting)},
    {Rule::pin_required, long_mode, SPOIL(c.pin &= ~pin::nmi_exiting)},
    {Rule::pin_required, long_mode, SPOIL(c.pin &= ~pin::virtual_nmis)},
    {Rule::primary_required, long_mode, SPOIL(c.primary &= ~primary::hlt_exiting)},
    {Rule::primary_required, long_mode, SPOIL(c.primary &= ~primary::mwait_exiting)},
    {Rule::primary_required, long_mode, SPOIL(c.primary &= ~primary::rdpmc_exiting)},
    {Rule::primary_required, long_mode, SPOIL(c.primary &= ~primary::monitor_exiting)},
    {Rule::primary_required, long_mode, SPOIL(c.primary &= ~primary::use_msr_bitmaps)},
    {Rule::primary_required, long_mode, SPOIL(c.primary &= ~primary::secondary_controls)},
    {Rule::secondary_required, long_mode, SPOIL(c.secondary &= ~secondary::enable_ept)},
    {Rule::secondary_required, long_mode, SPOIL(c.secondary &= ~secondary::unrestricted_guest)},
    {Rule::secondary_required, long_mode, SPOIL(c.secondary &= ~secondary::wbinvd_exiting)},
    {Rule::exit_required, long_mode, SPOIL(c.exit &= ~exit_control::host_address_space_size)},
    {Rule::exit_required, long_mode, SPOIL(c.exit &= ~exit_control::load_efer)},
    {Rule::exit_required, long_mode, SPOIL(c.exit &= ~exit_control::load_pat)},
    {Rule::entry_required, long_mode, SPOIL(c.entry &= ~entry_control::load_debug_controls)},
    {Rule::entry_required, long_mode, SPOIL(c.entry &= ~entry_control::load_efer)},
    {Rule::entry_required, long_mode, SPOIL(c.entry &= ~entry_control::load_pat)},
    {Rule::ports_open, long_mode, SPOIL(c.primary &= ~primary::use_io_bitmaps)},
    {Rule::tpr_open, long_mode, SPOIL(c.primary &= ~primary::cr8_load_exiting)},
    {Rule::tpr_open, long_mode, SPOIL(c.primary &= ~primary::cr8_store_exiting)},
    {Rule::enclaves_open, long_mode, SPOIL(f.secondary.may |= secondary::encls_exiting)},
    {Rule::enclaves_open, long_mode, SPOIL(f.secondary.may |= secondary::enclv_exiting)},
    {Rule::exception_required, long_mode, SPOIL(c.exception_bitmap &= ~(1u << 1))},
    {Rule::exception_required, long_mode, SPOIL(c.exception_bitmap &= ~(1u << 17))},
    {Rule::exception_required, long_mode, SPOIL(c.exception_bitmap &= ~(1u << 18))},
    {Rule::control_unknown, long_mode, SPOIL(c.primary |= primary::tertiary_controls)},
    {Rule::control_unknown, long_mode, SPOIL(c.secondary |= secondary::vmcs_shadowing)},
    {Rule::control_unknown, long_mode, SPOIL(c.secondary |= secondary::enable_pconfig)},
    {Rule::control_unknown, long_mode, SPOIL(c.exit |= exit_control::load_cet_state)},
    {Rule::control_unknown, long_mode, SPOIL(c.entry |= entry_control::load_bndcfgs)},
    {Rule::caches_open, long_mode, SPOIL(c.cr0_mask &= ~cr0::cd)},
    {Rule::caches_open, long_mode, SPOIL(c.cr0_mask &= ~cr0::nw)},
    {Rule::machine_check_open, long_mode, SPOIL(c.cr4_mask &= ~cr4::mce)},
    {Rule::machine_check_off, long_mode, SPOIL(g.cr4 &= ~cr4::mce)},
    {Rule::vmcs_link, long_mode, SPOIL(g.vmcs_link = 0x8000)},
};

// What looks like a defect and is none.
const Spoilt right[] = {
    {Rule::none, long_mode,
     SPOIL(c.primary &= ~primary::use_io_bitmaps; c.primary |= primary::unconditional_io_exiting;
           c.io_bitmap_a = c.io_bitmap_b = 1)},
    {Rule::none, long_mode,
     SPOIL(c.primary &= ~(primary::cr8_load_exiting | primary::cr8_store_exiting);
           c.primary |= primary::use_tpr_shadow; c.tpr_threshold = 4; c.virtual_tpr = 0x40)},
    {Rule::none, long_mode,
     SPOIL(c.primary |= primary::use_tpr_shadow; c.secondary |= secondary::virtualize_apic_accesses;
           c.tpr_threshold = 5)}, // nobody compares
    {Rule::none, long_mode, SPOIL(c.secondary &= ~secondary::enable_vpid, c.vpid = 0)},
    {Rule::none, long_mode,
     SPOIL(c.secondary |= secondary::use_tsc_scaling; c.tsc_multiplier = 1ull << 48)},
    {Rule::none, long_mode, SPOIL(c.cr3_target_count = 4)},
    {Rule::none, long_mode, SPOIL(h.cr4 |= cr4::cet)},
    {Rule::none, long_mode, SPOIL(h.cr0 &= ~cr0::wp)},
    {Rule::none, long_mode,
     SPOIL(c.pin |= pin::preemption_timer, c.exit |= exit_control::save_preemption_timer)},
    {Rule::none, long_mode, SPOIL(c.exit_msr_store = 7)},
    {Rule::none, long_mode, SPOIL(c.exit_msr_store = beyond - 32, c.exit_msr_store_count = 2)},
    {Rule::none, long_mode, SPOIL(c.ept_pointer ^= 6)}, // uncacheable
    {Rule::none, long_mode, SPOIL(c.ept_pointer ^= (3 ^ 4) << 3, f.ept_capabilities |= 1 << 7)},
    {Rule::none, long_mode, SPOIL(c.ept_pointer |= 1 << 6)},
    {Rule::none, long_mode, SPOIL(c.secondary |= secondary::enable_pml, c.pml_address = 0x7000)},
    {Rule::none, long_mode, SPOIL(h.perf_global_ctrl = ~0ull, g.perf_global_ctrl = ~0ull)},
    {Rule::none, long_mode,
     SPOIL(f.secondary.may |= secondary::encls_exiting; c.secondary |= secondary::encls_exiting)},
};

template <std::size_t N>
void judge_all(const char *what, const Spoilt (&table)[N]) {
    for (std::size_t i = 0; i < N; i++)
        EXPECT_EQ(judge(table[i]), table[i].rule) << what << ' ' << i;
}

TEST(VmxChecker, OneDefectOneRule) {
    judge_all("execution", execution);
    judge_all("posted", posted);
    judge_all("exit and entry", exit_and_entry);
    judge_all("host", host_state);
    judge_all("own", own);
}

TEST(VmxChecker, WhatIsRightPasses) { judge_all("right", right); }

TEST(VmxChecker, EveryRuleHasItsCase) {
    std::set<std::uint32_t> seen;
    auto see = [&](const auto &table) {
        for (const Spoilt &spoilt : table)
            seen.insert(static_cast<std::uint32_t>(spoilt.rule));
    };
    see(execution), see(posted), see(exit_and_entry), see(host_state), see(own);
    const std::pair<std::uint32_t, std::uint32_t> ranges[] = {
        {100, 122}, {200, 203}, {300, 302}, {400, 413}, {1000, 1013}};
    for (auto [first, last] : ranges)
        for (std::uint32_t rule = first; rule <= last; rule++)
            EXPECT_TRUE(seen.count(rule)) << rule;
}

TEST(VmxChecker, ControlsAreJudgedAlone) {
    Controls c = controls();
    EXPECT_EQ(check_controls(c, facts()), Rule::none);
    c.pin = 0;
    EXPECT_EQ(check_controls(c, facts()), Rule::pin_required);
}

TEST(VmxChecker, MemoryTypesOfThePat) {
    for (unsigned type = 0; type < 256; type++)
        for (unsigned i = 0; i < 8; i++)
            EXPECT_EQ(pat_valid(std::uint64_t{type} << i * 8),
                      type == 0 || type == 1 || (type >= 4 && type <= 7));
}

} // namespace
} // namespace hwv::vmx::test
