// SPDX-License-Identifier: GPL-2.0-only
// traps.cpp - exits that not every guest has, as intercepts. AMD APM vol. 2 "Instruction
// Intercepts", "Exception Intercepts".
#include "svm/backend.hpp"

namespace hwv::svm {

Traps Backend::trappable() { return every_trap; }

Status Backend::allocate_msr_map() { return msr_map_ ? Status{} : msr_map_.create(); }

void Backend::set_traps(const Traps &traps) {
    traps_ = traps;
    if (traps.msr_ranges && msr_map_) msr_map_.allow_all_but(traps, Cpus::capabilities());
    const MsrMap &own = msr_map_;
    const std::uint64_t map = traps.msr_ranges && own ? own.pa() : Cpus::maps().msr_pa();
    vmcb_->control.msr_map = phys_to_hw(map);
    touch(clean::maps);
    intercept_trapped();
    intercept_control();
    intercept_debug();
}

// "PAUSE Intercept Filtering": a count of 0 is no filter.
void Backend::intercept_trapped() {
    const Capabilities &can = Cpus::capabilities();
    const auto trap_on = [this](ExitCode code, unsigned count, std::uint32_t instruction) {
        for (unsigned i = 0; i < count; i++)
            set_intercept(code + i, traps_.has(instruction) && lifted_ != HWV_EXIT_DESCRIPTOR);
    };
    trap_on(ExitCode::idtr_read, 4, trap::store_tables);
    trap_on(ExitCode::idtr_write, 4, trap::load_tables);
    set_intercept(ExitCode::rdtsc, traps_.has(trap::rdtsc));
    set_intercept(ExitCode::rdtscp, traps_.has(trap::rdtsc));
    set_intercept(ExitCode::invlpg, traps_.has(trap::invlpg));
    ControlArea &c = vmcb_->control;
    const bool each = traps_.has(trap::pause);
    set_intercept(ExitCode::pause, each || can.pause_filter);
    c.pause_count = can.pause_filter && !each ? 3000 : 0;
    c.pause_threshold = can.pause_threshold && !each ? 128 : 0;
    constexpr unsigned exceptions = number(ExitCode::exception) / 32;
    const std::uint32_t while_stepping = lifted_ == HWV_EXIT_NONE ? 0 : trap::exceptions;
    c.intercepts.words[exceptions] =
        required_intercepts().words[exceptions] | traps_.exceptions | while_stepping;
    touch(clean::intercepts);
}

// And what the guest's view needs: see set_cr0(), set_cr4(), want_interrupt_window().
void Backend::intercept_control() {
    const bool hidden = cr0_ & (cr0::cd | cr0::nw), no_mce = !(cr4_ & cr4::mce);
    set_intercept(ExitCode::cr_read + 0,
                  (hidden || traps_.reads_cr(0)) && lifted_ != HWV_EXIT_CR_READ);
    set_intercept(ExitCode::cr_read + 3, traps_.reads_cr(3));
    set_intercept(ExitCode::cr_read + 4, no_mce || traps_.reads_cr(4));
    set_intercept(ExitCode::cr_read + 8, traps_.reads_cr(8));
    // Selective: what changes nothing of the CR0 in the VMCB has no exit, though it ends what is
    // only shown.
    set_intercept(ExitCode::cr0_sel_write, lifted_ != HWV_EXIT_CR_WRITE);
    set_intercept(ExitCode::cr_write + 0,
                  (hidden || traps_.writes_cr(0)) && lifted_ != HWV_EXIT_CR_WRITE);
    set_intercept(ExitCode::cr_write + 3, traps_.writes_cr(3));
    set_intercept(ExitCode::cr_write + 8, held_by_tpr_ || traps_.writes_cr(8));
}

// LMSW, which reached CR0 itself, changed no more than its four low bits.
void Backend::step_past(ExitReason reason) {
    const bool wrote_cr0 = lifted_ == HWV_EXIT_CR_WRITE;
    lifted_ = reason;
    set_work(work_step, reason != HWV_EXIT_NONE);
    intercept_trapped();
    if (wrote_cr0)
        set_cr0(vmcb_->save.cr0 | (cr0_ & (cr0::cd | cr0::nw)));
    else
        intercept_control();
}

} // namespace hwv::svm
