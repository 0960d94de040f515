// SPDX-License-Identifier: GPL-2.0-only
// events.hpp - what arrives from outside the vCPU: interrupts and NMIs into the guest, requests of
// other threads, waiting.
#pragma once
#include "core/arch.hpp"
#include "core/fetch.hpp"
#include "core/stepping.hpp"

namespace hwv {

// Before an entry: at most one event goes in, the one that the CPU would take first; for what must
// wait, a window is opened. An event that was interrupted on its way in (injecting()) comes before
// all others. Intel SDM "Priority Among Concurrent Events".
template <Backend B>
void VcpuOf<B>::deliver_events() {
    check_events = false;
    if (still_stepping()) return;
    if (pv_eoi.armed()) settle_pv_eoi();
    apic.sync();
    if constexpr (counts_deadlines<B>)
        if (apic.take_counting()) backend.set_deadline(apic.timer_due());
    lend_apic();
    const bool nmi_open = !backend.injecting() && !backend.nmi_blocked() && !backend.shadow();
    if (apic.nmis() && nmi_open && apic.take_nmi()) backend.inject({HWV_EVENT_NMI, vector::nmi});
    if (interruptible()) {
        std::uint8_t v = 0;
        if (deferred) {
            backend.inject(deferred);
            deferred = {};
        } else if (apic.take_extint(v)) {
            backend.inject({HWV_EVENT_INTERRUPT, v});
        } else if ((v = apic.pending())) {
            apic.acknowledge(v);
            backend.inject({HWV_EVENT_INTERRUPT, v});
            arm_pv_eoi(v);
        }
    }
    backend.want_nmi_window(apic.nmis() != 0);
    open_windows();
}

// Where the CPU delivers interrupts itself nothing is pending afterwards that would have to be
// injected. With PV EOI armed an EOI may be missing that the CPU would wait for.
template <Backend B>
void VcpuOf<B>::lend_apic() {
    if constexpr (delivers_interrupts<B>) {
        if (!(apic.events() & (cpu::apic_event::interrupt | cpu::apic_event::page))) return;
        if (!backend.apic_page()) return;
        const bool lend = apic.lendable() && !pv_eoi.armed();
        backend.deliver_from_page(lend);
        if (lend)
            backend.set_apic_summary(apic.lend());
        else
            apic.keep();
    }
}

// Class 16 opens whatever the task priority is. A vector that only the task priority holds back
// opens its own class, so that the guest lowering CR8 is noticed.
template <Backend B>
void VcpuOf<B>::open_windows() {
    std::uint8_t priority = 0;
    if (deferred || window_wanted || apic.extint_ready())
        priority = 16;
    else if (const std::uint8_t v = apic.pending())
        priority = v >> 4;
    else if (apic.held_by_tpr())
        priority = apic.held_by_tpr() >> 4;
    backend.want_interrupt_window(priority != 0, priority);
    if (priority) check_events = true;
}

// Intel SDM "Processor State After Power-up, Reset, or INIT".
template <Backend B>
void VcpuOf<B>::initialise() {
    const std::uint64_t kept = backend.cr0() & (cr0::cd | cr0::nw);
    end_step();
    for (auto &gpr : gprs)
        gpr = 0;
    if (const hwv_cpuid_entry *version = cpuid.find(1, 0)) gprs[HWV_RDX] = version->eax;
    backend.reset();
    backend.set_cr0(kept | cr0::et);
    backend.set_table_root(machine.memory.root_pointer());
    backend.set_tsc_offset(msrs.tsc_offset());
    backend.set_xcr0(xcr0);
    backend.flush_translations();
    apic.init();
    pv_eoi.reset();
    pv = {};
    completion = {};
    deferred = {};
    mp_state = apic.base() & cpu::LocalApic::base_bsp ? HWV_MP_RUNNING : HWV_MP_WAIT_SIPI;
}

template <Backend B>
void VcpuOf<B>::start_up(std::uint8_t sipi_vector) {
    Segment cs = backend.segment(HWV_CS);
    cs.selector = static_cast<std::uint16_t>(sipi_vector << 8);
    cs.base = static_cast<std::uint64_t>(sipi_vector) << 12;
    backend.set_segment(HWV_CS, cs);
    backend.set_rip(0);
    mp_state = HWV_MP_RUNNING;
}

template <Backend B>
void VcpuOf<B>::write_records(std::uint32_t which) {
    const Between instructions{*this};
    MaySleep scope{*this};
    if (which & request::clock) write_clock();
    if (which & request::wall_clock) write_wall_clock();
    if (which & request::steal) write_steal();
    if (which & request::pv_eoi) settle_pv_eoi(false);
}

template <Backend B>
void VcpuOf<B>::give_way() {
    const Between instructions{*this};
    MaySleep scope{*this};
    vm.yield(*this);
}

template <Backend B>
auto VcpuOf<B>::serve_requests(int &error) -> Step {
    const std::uint32_t asked_for = take_requests();
    if (asked_for & request::kill) {
        put_back(asked_for);
        error = to_errno(Error::shut_down);
        return Step::left;
    }
    if (asked_for & request::instrument) armed = instrument_anew();
    if (asked_for & request::kick) {
        put_back(asked_for & ~request::kick);
        leave(HWV_EXIT_KICKED, Exit{});
        finish_exit();
        return Step::left;
    }
    if (asked_for & request::records) write_records(asked_for);
    if (asked_for & request::yield) give_way();
    if (asked_for & request::flush) backend.flush_translations();
    if (asked_for & request::traps) {
        if (const Status taken = take_traps(); !taken) {
            put_back(request::traps | (asked_for & request::pause));
            error = to_errno(taken);
            return Step::left;
        }
    }
    std::uint8_t sipi_vector = 0;
    if (apic.take_init()) initialise();
    if (apic.take_start_up(sipi_vector) && mp_state.load() == HWV_MP_WAIT_SIPI)
        start_up(sipi_vector);
    if (mp_state.load() == HWV_MP_SHUTDOWN) {
        put_back(asked_for & request::pause);
        (void)shutdown(Exit{.reason = HWV_EXIT_SHUTDOWN});
        finish_exit();
        return Step::left;
    }
    check_events = true;
    halted_takes_interrupts = (backend.rflags() & rflags::if_) != 0;
    halted_takes_nmis = !backend.nmi_blocked();
    if (asked_for & request::pause) return stand_still(error);
    return mp_state.load() == HWV_MP_RUNNING ? Step::again : wait_for_event(error);
}

// HLT, or waiting for a start-up message. Time spent here is nobody's exit latency.
template <Backend B>
auto VcpuOf<B>::wait_for_event(int &error) -> Step {
    const bool halted = mp_state.load() == HWV_MP_HALTED;
    if (halted && (deferred || apic.ends_halt(halted_takes_interrupts, halted_takes_nmis))) {
        mp_state = HWV_MP_RUNNING;
        return Step::again;
    }
    // The shadow of STI kept the window shut until HLT exited. What the user has ends the halt.
    if (halted && window_wanted && halted_takes_interrupts) {
        leave(HWV_EXIT_INTERRUPT_WINDOW, Exit{});
        finish_exit();
        return Step::left;
    }
    apic.begin_wait();
    error = block(HWV_TIME_HALTED);
    apic.end_wait();
    recorder.mark(HWV_RECORD_HALTED);
    if (error) return Step::left;
    // Mostly the local APIC has something, and nobody asks for anything else.
    if (halted && take_lone_event() && apic.ends_halt(halted_takes_interrupts, halted_takes_nmis))
        mp_state = HWV_MP_RUNNING;
    return Step::again;
}

} // namespace hwv
