// SPDX-License-Identifier: GPL-2.0-only
// run_loop.hpp - HWV_RUN: take over what the user replied, enter the guest and serve its exits
// until one is for user. Follow it from run_guest() to step() to handle() (handlers.hpp).
#pragma once
#include "core/arch.hpp"
#include "core/events.hpp"
#include "core/handlers.hpp"
#include "core/msr_access.hpp"
#include "core/observe.hpp"
#include "core/registers.hpp"
#include "core/residency.hpp"
#include "core/trace.hpp"
#include "gen/hwv_offsets.h"

namespace hwv {

template <Backend B>
Status VcpuOf<B>::init() {
    TRY(give_default_cpuid());
    TRY(backend.init(id));
    TRY(count());
    backend.set_table_root(machine.memory.root_pointer());
    backend.set_tsc_ratio(vm.tsc_ratio());
    backend.set_tsc_offset(msrs.tsc_offset());
    if constexpr (counts_deadlines<B>)
        if (backend.has_timer()) apic.use_cpu_timer();
    if constexpr (delivers_interrupts<B>) apic.use_page(backend.apic_page());
    if constexpr (takes_posted<B>) apic.use_posting(backend.posted_requests());
    return {};
}

// Checks everything before it changes anything: a refused reply leaves the vCPU as it was.
template <Backend B>
[[gnu::always_inline]] inline Status VcpuOf<B>::take_over(const hwv_reply &reply) {
    if (!asks_nothing(reply)) return take_over_all(reply);
    if (completion.kind != Completion::Kind::none) complete(reply);
    window_wanted = false;
    wanted = 0;
    return {};
}

template <Backend B>
Status VcpuOf<B>::take_over_all(const hwv_reply &reply) {
    constexpr std::uint32_t known =
        HWV_REPLY_FAULT | HWV_REPLY_INTERRUPT_WINDOW | HWV_REPLY_EXTINT | HWV_REPLY_CR8;
    if ((reply.flags & ~known) || ((reply.dirty | reply.wanted) & ~HWV_REGS_ALL))
        return Error::invalid;
    if (reply.reserved[0] || reply.reserved[1] || reply.reserved[2] || reply.cr8 > 15)
        return Error::invalid;
    if ((reply.flags & HWV_REPLY_EXTINT) && apic.extint_pending()) return Error::again;
    if (reply.dirty) TRY(apply_shared(reply.dirty));
    if (completion.kind != Completion::Kind::none) complete(reply);
    if (reply.flags & HWV_REPLY_CR8) set_tpr(static_cast<std::uint8_t>(reply.cr8));
    if (reply.flags & HWV_REPLY_EXTINT) (void)apic.offer_extint(reply.extint_vector);
    window_wanted = reply.flags & HWV_REPLY_INTERRUPT_WINDOW;
    if (window_wanted) check_events = true;
    wanted = reply.wanted;
    return {};
}

// The instruction that left to user ends here, with the user's answer.
template <Backend B>
void VcpuOf<B>::complete(const hwv_reply &reply) {
    using Kind = Completion::Kind;
    const Completion c = completion;
    completion = {};
    if (c.kind == Kind::none) return;
    const bool msr = c.kind == Kind::msr_read || c.kind == Kind::msr_write;
    if (msr && (reply.flags & HWV_REPLY_FAULT)) {
        (void)msr_refused(*this, c.kind == Kind::msr_write);
        return;
    }
    switch (c.kind) {
    case Kind::in:
        if (trace::on<__tracepoint_hwv_pio>()) [[unlikely]]
            trace::pio_read(*this, reply.data);
        gprs[HWV_RAX] = merge(gprs[HWV_RAX], reply.data, c.size);
        break;
    case Kind::mmio_read:
        trace_mmio(*this, trace::Mmio::read, c.size, reply.data);
        load_register(c.load, reply.data, gprs);
        break;
    case Kind::msr_read:
        set_edx_eax(reply.data);
        trace_msr(*this, false, false);
        break;
    case Kind::hypercall: gprs[HWV_RAX] = merge(gprs[HWV_RAX], reply.data, wide() ? 8 : 4); break;
    case Kind::msr_write: trace_msr(*this, true, false); break;
    case Kind::none: break;
    }
    advance(c.length);
}

// Nobody wants anything of the vCPU or its thread that has to be looked at before it enters again.
template <Backend B>
[[gnu::always_inline]] inline bool VcpuOf<B>::undisturbed() const {
    return !asked() && !check_events && !apic.events() &&
           !(__atomic_load_n(thread_flags, __ATOMIC_RELAXED) & HWV_THREAD_WORK);
}

// The tracepoints' own cost is the exit's, never the guest's.
template <Backend B>
[[gnu::always_inline]] inline std::uint64_t VcpuOf<B>::entry_time() const {
    if (trace::on<__tracepoint_hwv_entry>()) [[unlikely]]
        trace::entry(*this);
    return arch::rdtsc();
}

// Into the guest, at `tsc`, and out. irqs off.
template <Backend B>
[[gnu::always_inline]] inline Exit VcpuOf<B>::enter(std::uint64_t tsc) {
    if (counting()) statistics.entry(tsc);
    new (&raw) Raw(backend.enter(gprs)); // built in place: it is not small
    exit_tsc = arch::rdtsc();
    Exit exit = B::decode(raw);
    if (counting()) statistics.exit(exit.reason, exit_tsc);
    apic.set_cr8(backend.tpr());
    return exit;
}

// Where it is known how the exit will be served: before that, the compiler would have to decide it
// anew for what decode() knows already.
template <Backend B>
[[gnu::always_inline]] inline void VcpuOf<B>::trace_exit() const {
    if (trace::on<__tracepoint_hwv_exit>()) [[unlikely]]
        trace::exit(*this);
}

// What is not quick: after an interrupt's handler had its turn, and with the host told.
template <Backend B>
[[gnu::always_inline]] inline Outcome VcpuOf<B>::handle_at_leisure(Exit &exit) {
    trace_exit();
    end_guest();
    if (exit.reason == HWV_EXIT_MACHINE_CHECK) [[unlikely]]
        hwv_host_machine_check();
    if (taken_vector<B>(exit)) [[unlikely]]
        hwv_host_entry_end_by(host, taken_vector<B>(exit));
    else
        hwv_host_entry_end(host);
    if (trace::on<__tracepoint_hwv_pio>()) [[unlikely]]
        trace::pio_written(*this);
    if (pv_eoi.armed()) settle_pv_eoi();
    if (instrument::has_key(exit.reason)) count_key(exit.reason, instrument::key_of(exit, gprs));
    return armed ? observe(exit) : handle(exit);
}

// One entry and its exit, and further ones as long as the exits are quick. irqs are off from the
// last look at the requests to the first instruction after the guest, so that whoever asks later
// sends an interrupt that ends the guest; so does one that comes while a quick exit is served.
template <Backend B>
[[gnu::always_inline]] inline auto VcpuOf<B>::step(int &error) -> Step {
    if (asked() || mp_state.load(std::memory_order_relaxed) != HWV_MP_RUNNING)
        return serve_requests(error);
    if (check_events || apic.events()) deliver_events();
    if (armed && recorder.full()) [[unlikely]]
        return wait_for_room(error);
    const bool work = hwv_host_entry_begin(host);
    begin_guest();
    if (work || asked()) [[unlikely]] {
        end_guest();
        hwv_host_entry_end(host);
        const Between instructions{*this};
        MaySleep scope{*this};
        error = work ? hwv_host_handle_work() : 0;
        return error ? Step::left : Step::again;
    }
    // Quick exits queue nothing that they would not be disturbed by.
    if (trace::on<__tracepoint_hwv_inject>()) [[unlikely]]
        trace::inject(*this);
    std::uint64_t tsc = entry_time();
    if (armed && recorder.is_open()) [[unlikely]]
        recorder.close(tsc);
    for (;;) {
        [[gnu::uninitialized]] Exit exit = arch::forgotten(*this).enter(tsc);
        Outcome outcome;
        if (is_quick(exit) && !(pv_eoi.armed() | armed)) {
            trace_exit();
            outcome = handle_quickly(exit);
            if (outcome <= Outcome::resume_next && undisturbed()) {
                tsc = entry_time();
                continue;
            }
            end_guest();
            hwv_host_entry_end(host);
        } else {
            outcome = handle_at_leisure(exit);
        }
        if (outcome <= Outcome::resume_next) return Step::entered;
        if (counting()) statistics.left_to_user();
        recorder.mark(HWV_RECORD_TO_USER);
        finish_exit();
        return Step::left;
    }
}

template <Backend B>
int VcpuOf<B>::run_guest(std::uint32_t cpu, const std::uint32_t *flags_of_thread) {
    thread_flags = flags_of_thread;
    load(cpu);
    if (counting()) statistics.begin(arch::rdtsc());
    [[gnu::uninitialized]] hwv_reply reply;
    copy_shared(reply, run->reply);
    const Status taken = take_over(reply);
    const int error = taken ? enter_until_left() : to_errno(taken);
    if (trace::on<__tracepoint_hwv_userspace_exit>()) [[unlikely]]
        trace::userspace_exit(*this, error);
    cut(HWV_TIME_KERNEL);
    arch::irq_disable();
    backend.put(); // as put() does it outside of the loop
    return error;
}

template <Backend B>
[[gnu::always_inline]] inline int VcpuOf<B>::enter_until_left() {
    int error = 0;
    started = in_run = true;
    while (step(error) != Step::left) {}
    in_run = false;
    return error;
}

template <Backend B>
[[gnu::always_inline]] inline void VcpuOf<B>::load(std::uint32_t cpu) {
    const LoadContext context = residency::arrive(*this, cpu);
    backend.load(context);
    if (context.other_cpu && !hwv_host_tsc_stable()) [[unlikely]]
        put_back(request::clock);
    if (!left_cpu) return;
    left_cpu = false;
    put_back(request::steal);
    if (in_run && !waiting) cut(HWV_TIME_DESCHEDULED);
}

template <Backend B>
void VcpuOf<B>::put(bool owner) {
    if (between_instructions && owner) {
        show_absence();
        left_cpu = shown_absent;
    }
    if (in_run && !waiting) {
        cut(HWV_TIME_KERNEL);
        left_cpu = true;
        recorder.mark(HWV_RECORD_DESCHEDULED);
    }
    backend.put();
}

} // namespace hwv
