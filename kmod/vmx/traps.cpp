// SPDX-License-Identifier: GPL-2.0-only
// traps.cpp - exits that not every guest has, as controls, bitmaps and masks. Intel SDM vol. 3,
// "VM-Execution Control Fields", "Instructions That Cause VM Exits Conditionally".
#include "vmx/backend.hpp"

namespace hwv::vmx {

// Those that the guest has to execute itself need the monitor trap flag. Reads of CR0 and CR4 have
// no exits.
Traps Backend::trappable() {
    const AllowedControls &primary = Cpus::capabilities().facts.primary;
    const AllowedControls &secondary = Cpus::capabilities().facts.secondary;
    const bool step = primary.has(primary::monitor_trap_flag);
    const auto if_has = [&](std::uint32_t control, std::uint32_t instruction) {
        return primary.has(control) ? instruction : 0;
    };
    Traps can = every_trap;
    can.instructions =
        if_has(primary::rdtsc_exiting, trap::rdtsc) | if_has(primary::pause_exiting, trap::pause);
    if (step) can.instructions |= if_has(primary::invlpg_exiting, trap::invlpg);
    if (step && secondary.has(secondary::descriptor_table_exiting))
        can.instructions |= trap::tables;
    can.cr_reads = (primary.has(primary::cr3_store_exiting) ? 1u << 3 : 0) |
                   (primary.has(primary::cr8_store_exiting) ? 1u << 8 : 0);
    if (!primary.has(primary::cr3_load_exiting)) can.cr_writes &= ~(1u << 3);
    if (!primary.has(primary::cr8_load_exiting)) can.cr_writes &= ~(1u << 8);
    return can;
}

void Backend::set_traps(const Traps &traps) {
    traps_ = traps;
    if (traps.msr_ranges && msr_map_) msr_map_.allow_all_but(traps, Cpus::capabilities());
    if (!fresh_) write_traps();
}

void Backend::step_past(ExitReason reason) {
    lifted_ = reason;
    write_traps();
}

// A bit that the guest does not own exits where it is written with another value than the shadow's,
// and is read from there.
void Backend::write_traps() {
    const std::uint64_t cr0_now = cr0(), cr4_now = cr4();
    set_primary(primary::rdtsc_exiting, traps_.has(trap::rdtsc));
    set_primary(primary::invlpg_exiting, traps_.has(trap::invlpg) && lifted_ != HWV_EXIT_INVPCID);
    set_primary(primary::pause_exiting, traps_.has(trap::pause));
    set_primary(primary::cr3_load_exiting, traps_.writes_cr(3));
    set_primary(primary::cr3_store_exiting, traps_.reads_cr(3));
    set_primary(primary::cr8_load_exiting, traps_.writes_cr(8));
    set_primary(primary::cr8_store_exiting, traps_.reads_cr(8));
    set_primary(primary::monitor_trap_flag, lifted_ != HWV_EXIT_NONE);
    set_secondary(secondary::descriptor_table_exiting,
                  traps_.has(trap::tables) && lifted_ != HWV_EXIT_DESCRIPTOR);
    write(field::exception_bitmap, required_exceptions | traps_.exceptions);
    write(field::cr0_mask, traps_.writes_cr(0) ? ~0ull : ~guest_cr0);
    write(field::cr4_mask, traps_.writes_cr(4) ? ~0ull : ~guest_cr4);
    write(field::cr0_shadow, cr0_now);
    write(field::cr4_shadow, cr4_now);
    write_msr_map();
    intercept_debug();
}

} // namespace hwv::vmx
