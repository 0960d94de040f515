// SPDX-License-Identifier: GPL-2.0-only
// handlers.hpp - what the kernel does at each exit: one exhaustive switch. Handlers run with
// preemption off.
#pragma once
#include "core/count.hpp"
#include "core/fetch.hpp"
#include "core/handlers_control.hpp"
#include "core/handlers_debug.hpp"
#include "core/handlers_io.hpp"
#include "core/handlers_memory.hpp"
#include "core/stepping.hpp"

namespace hwv {

// Completes an instruction: by the CPU's word for its length, else by decoding it. An instruction
// that is not the one that exited was rewritten meanwhile: the guest runs on and shows what it is
// now.
template <Backend B>
[[gnu::always_inline]] inline Outcome complete_as(VcpuOf<B> &v, const Exit &exit, Outcome done) {
    if (moves_rip(done)) v.advance(exit.length);
    return done;
}

template <Backend B>
cpu::CpuidResult cpuid_answer(const VcpuOf<B> &v) {
    const auto state = [&v] {
        return cpu::CpuidState{.xcr0 = v.xcr0,
                               .osxsave = (v.backend.cr4() & cr4::osxsave) != 0,
                               .apic_enabled = v.apic.present()};
    };
    return v.cpuid.lookup(static_cast<std::uint32_t>(v.gprs[HWV_RAX]),
                          static_cast<std::uint32_t>(v.gprs[HWV_RCX]), state);
}

template <Backend B>
Outcome on_cpuid(VcpuOf<B> &v) {
    if (trace::on<__tracepoint_hwv_cpuid>()) [[unlikely]]
        trace::cpuid(v);
    const cpu::CpuidResult r = cpuid_answer(v);
    v.gprs[HWV_RAX] = r.eax;
    v.gprs[HWV_RBX] = r.ebx;
    v.gprs[HWV_RCX] = r.ecx;
    v.gprs[HWV_RDX] = r.edx;
    return Outcome::resume_next;
}

template <Backend B>
[[gnu::always_inline]] inline Outcome on_hlt(VcpuOf<B> &v, const Exit &exit) {
    if (v.vm.has(HWV_VM_HLT_TO_USER)) {
        v.leave(HWV_EXIT_HLT, exit);
        return Outcome::to_user_next;
    }
    v.mp_state = HWV_MP_HALTED;
    return Outcome::resume_next;
}

// Given back. #DB and #AC always exit, so that no guest can hold a CPU in an endless delivery loop;
// others where they are trapped. INT3 and INTO return behind themselves.
template <Backend B>
Outcome on_exception(VcpuOf<B> &v, const Exit &exit) {
    ExceptionInfo x = exit.exception;
    if (x.vector == vector::breakpoint || x.vector == vector::overflow) {
        ExitReason reason = exit.reason;
        if (!x.software_length) x.software_length = v.measure(reason);
        if (!x.software_length) return Outcome::resume_same;
    }
    if (x.vector == vector::debug) v.enter_debug_handler(x.dr6);
    if (x.vector == vector::page_fault) v.backend.set_cr2(x.address);
    if (x.software_length) return v.raise({HWV_EVENT_SOFTWARE, x.vector, false, x.software_length});
    return v.raise({HWV_EVENT_EXCEPTION, x.vector, x.has_error_code, 0, x.error_code});
}

template <Backend B>
Outcome on_interrupt_window(VcpuOf<B> &v, const Exit &exit) {
    v.backend.want_interrupt_window(false, 0);
    v.check_events = true;
    if (!v.window_wanted || v.asked() || !v.interruptible()) return Outcome::resume_same;
    v.leave(HWV_EXIT_INTERRUPT_WINDOW, exit);
    return Outcome::to_user;
}

template <Backend B>
Outcome on_invalid_state(VcpuOf<B> &v, const Exit &exit) {
    v.backend.inject({});
    v.leave(HWV_EXIT_INVALID_STATE, exit).invalid_rule = exit.raw_info[0];
    v.wanted |= HWV_REGS_ALL;
    return Outcome::to_user;
}

// An event by a task gate belongs to the switch from here on: delivered by it, not once more.
template <Backend B>
Outcome on_task_switch(VcpuOf<B> &v, const Exit &exit) {
    const Event &event = exit.delivering;
    const hwv_task_source source = exit.task.iret   ? HWV_TASK_IRET
                                   : exit.task.jump ? HWV_TASK_JUMP
                                   : event          ? HWV_TASK_GATE
                                                    : HWV_TASK_CALL;
    v.backend.inject({});
    v.leave(HWV_EXIT_TASK_SWITCH, exit).task = {.selector = exit.task.selector,
                                                .source = static_cast<__u8>(source),
                                                .event_type = static_cast<__u8>(event.type),
                                                .event_vector = event.vector,
                                                .has_error_code = exit.task.has_error_code,
                                                .reserved = {},
                                                .error_code = exit.task.error_code,
                                                .reserved1 = 0};
    v.wanted |= HWV_REGS_ALL;
    return Outcome::to_user;
}

// The write is complete, and RIP behind it.
template <Backend B>
Outcome on_apic_write(VcpuOf<B> &v, const Exit &exit) {
    v.effect = v.apic.written(exit.apic);
    const Outcome done = v.after_apic_write(exit);
    return done == Outcome::to_user_next ? Outcome::to_user : Outcome::resume_same;
}

// Instructions whose length the exit does not tell are measured before they are executed.
constexpr bool is_instruction(ExitReason reason) {
    switch (reason) {
    case HWV_EXIT_HLT:
    case HWV_EXIT_CPUID:
    case HWV_EXIT_IO:
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE:
    case HWV_EXIT_HYPERCALL:
    case HWV_EXIT_RDTSC:
    case HWV_EXIT_RDTSCP:
    case HWV_EXIT_INVLPG:
    case HWV_EXIT_INVD:
    case HWV_EXIT_WBINVD:
    case HWV_EXIT_PAUSE:
    case HWV_EXIT_XSETBV: return true;
    default: return false;
    }
}

template <Backend B>
[[gnu::always_inline]] inline Outcome dispatch(VcpuOf<B> &v, const Exit &exit) {
    // what the compiler asks for ahead of its tree of compares
    switch (static_cast<ExitReason>(__builtin_expect(exit.reason, HWV_EXIT_HLT))) {
    case HWV_EXIT_HOST_INTERRUPT:
    case HWV_EXIT_HOST_NMI:
    case HWV_EXIT_INIT:
    case HWV_EXIT_SMI:
    case HWV_EXIT_MACHINE_CHECK: return Outcome::resume_same; // the host's handler had its turn
    case HWV_EXIT_TIMER: v.apic.on_timer(); return Outcome::resume_same;
    case HWV_EXIT_IO: return on_io(v, exit);
    case HWV_EXIT_MSR_READ: return on_msr_read(v, exit);
    case HWV_EXIT_MSR_WRITE: return on_msr_write(v, exit);
    case HWV_EXIT_CPUID: return on_cpuid(v);
    case HWV_EXIT_HLT: return on_hlt(v, exit);
    case HWV_EXIT_HYPERCALL: return on_hypercall(v, exit);
    case HWV_EXIT_PAGE_FAULT: return on_page_fault(v, exit);
    case HWV_EXIT_EXCEPTION: return on_exception(v, exit);
    case HWV_EXIT_INTERRUPT_WINDOW: return on_interrupt_window(v, exit);
    case HWV_EXIT_NMI_WINDOW:
        v.backend.want_nmi_window(false);
        v.check_events = true;
        return Outcome::resume_same;
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE: return on_control_register(v, exit);
    case HWV_EXIT_DR_ACCESS: return on_debug_register(v, exit);
    case HWV_EXIT_XSETBV: return on_xsetbv(v);
    case HWV_EXIT_RDTSC:
    case HWV_EXIT_RDTSCP: return on_rdtsc(v, exit);
    case HWV_EXIT_RDPMC: return v.gp(); // no counters are offered
    case HWV_EXIT_INVLPG: v.backend.flush_translations(); return Outcome::resume_next;
    case HWV_EXIT_INVD: // never passed through: it would drop the host's dirty lines
    case HWV_EXIT_WBINVD: return Outcome::resume_next;
    case HWV_EXIT_PAUSE:
        if (v.vm.has_several_vcpus()) v.wants_to_yield(Vcpu::anybody);
        return Outcome::resume_next;
    case HWV_EXIT_MONITOR:
    case HWV_EXIT_MWAIT:
    case HWV_EXIT_RSM:
    case HWV_EXIT_RDPRU:
    case HWV_EXIT_VIRT_INSTRUCTION: return v.ud(); // not offered by CPUID
    case HWV_EXIT_SHUTDOWN: return v.shutdown(exit);
    case HWV_EXIT_INVALID_STATE: return on_invalid_state(v, exit);
    case HWV_EXIT_TASK_SWITCH: return on_task_switch(v, exit);
    case HWV_EXIT_NONE: // the CPU was taken away: not entered
        return v.fail(exit, HWV_ERROR_VIRT_FAULT);
    case HWV_EXIT_APIC_WRITE:
        if constexpr (delivers_interrupts<B>) return on_apic_write(v, exit);
        break;
    case HWV_EXIT_DESCRIPTOR:
    case HWV_EXIT_INVPCID: return v.step_past(exit);
    case HWV_EXIT_STEP: v.end_step(); return Outcome::resume_same;
    case HWV_EXIT_UNKNOWN:
    case HWV_EXIT_CPU_REASONS:
    case HWV_EXIT_MMIO:
    case HWV_EXIT_EOI:
    case HWV_EXIT_KICKED:
    case HWV_EXIT_ERROR:
    case HWV_EXIT_RESET: break;
    }
    return v.fail(exit, HWV_ERROR_RAW);
}

// Exits that are served from the vCPU alone, in some hundred instructions: nothing sleeps, waits
// for another CPU, or touches the guest's memory. They are served with irqs off and no word to the
// host.
constexpr bool is_quick(const Exit &exit) {
    switch (exit.reason) {
    case HWV_EXIT_CPUID:
    case HWV_EXIT_HYPERCALL:
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE:
    case HWV_EXIT_RDTSC:
    case HWV_EXIT_RDTSCP: return exit.length && !exit.delivering;
    default: return false;
    }
}

template <Backend B>
[[gnu::always_inline]] inline Outcome VcpuOf<B>::handle_quickly(const Exit &exit) {
    switch (exit.reason) {
    case HWV_EXIT_CPUID:
        count_key(HWV_EXIT_CPUID, instrument::leaf(gprs));
        return complete_as(*this, exit, on_cpuid(*this));
    case HWV_EXIT_HYPERCALL:
        count_key(HWV_EXIT_HYPERCALL, instrument::hypercall(gprs));
        return complete_as(*this, exit, on_hypercall(*this, exit));
    case HWV_EXIT_MSR_READ:
        count_key(HWV_EXIT_MSR_READ, instrument::msr(gprs));
        return complete_as(*this, exit, on_msr_read(*this, exit));
    case HWV_EXIT_MSR_WRITE:
        count_key(HWV_EXIT_MSR_WRITE, instrument::msr(gprs));
        return complete_as(*this, exit, on_msr_write(*this, exit));
    default: return complete_as(*this, exit, on_rdtsc(*this, exit));
    }
}

template <Backend B>
[[gnu::always_inline]] inline Outcome VcpuOf<B>::handle(Exit &exit) {
    if (exit.delivering) {
        backend.inject(exit.delivering);
        check_events = true;
    }
    if (!exit.length && is_instruction(exit.reason)) {
        exit.length = measure(exit.reason);
        if (!exit.length) return Outcome::resume_same;
    }
    return complete_as(*this, exit, dispatch(*this, exit));
}

} // namespace hwv
