// SPDX-License-Identifier: GPL-2.0-only
// stepping.hpp - traps of a VM reach its vCPUs; and an instruction that hwv traps but does not
// complete itself: the guest executes it, without that trap, and comes back behind it.
#pragma once
#include "core/vcpu_of.hpp"

namespace hwv {

// request::traps. The vCPU has no others until it enters again: no exit is lost in between.
template <Backend B>
Status VcpuOf<B>::take_traps() {
    Traps next = vm.traps();
    next.limit(B::trappable());
    Status room;
    if (next.msr_ranges) {
        MaySleep scope{*this};
        room = backend.allocate_msr_map();
    }
    if (!room) return room;
    traps = next;
    backend.set_traps(next);
    return {};
}

// Nothing is injected meanwhile, so that what comes back is the instruction's own. A shadow before
// it holds back only that.
template <Backend B>
Outcome VcpuOf<B>::step_past(const Exit &exit) {
    backend.set_shadow(0);
    if constexpr (delivers_interrupts<B>) {
        apic.reclaim();
        backend.deliver_from_page(false);
    }
    backend.step_past(exit.reason);
    step_rip = backend.rip();
    stepping = check_events = true;
    return Outcome::resume_same;
}

template <Backend B>
void VcpuOf<B>::end_step() {
    if (!stepping) return;
    stepping = false;
    backend.step_past(HWV_EXIT_NONE);
}

// Before an entry. The instruction may have needed several: its memory was paged in, the host was
// interrupted. It is over when it raised a fault, too, or when somebody else completed it.
template <Backend B>
bool VcpuOf<B>::still_stepping() {
    if (!stepping) return false;
    if (backend.rip() == step_rip && !backend.injecting())
        check_events = true;
    else
        end_step();
    return stepping;
}

} // namespace hwv
