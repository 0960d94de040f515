// SPDX-License-Identifier: GPL-2.0-only
// rules.hpp - an exit that a rule decides: it is answered, skipped, or becomes an exception,
// instead of being handled.
#pragma once
#include "core.h"
#include "core/handlers.hpp"
#include "instrument/program.hpp"
#include "instrument/stop.hpp"

namespace hwv {

constexpr bool accesses_register(ExitReason reason) {
    return reason == HWV_EXIT_CR_READ || reason == HWV_EXIT_CR_WRITE ||
           reason == HWV_EXIT_DR_ACCESS;
}

// What has to be known of the instruction to go on behind it. False: it is none that could be
// completed so, or no longer the one that exited.
template <Backend B>
bool VcpuOf<B>::know_instruction(Exit &exit, std::uint8_t &width) {
    width = wide() ? 8 : 4;
    const bool operands = accesses_register(exit.reason) && !exit.reg.decoded;
    if (exit.length && !operands) return true;
    const auto i = instruction(exit.reason);
    if (!i) return false;
    exit.length = i->length;
    if (i->operation == Operation::rdtscp) exit.reason = HWV_EXIT_RDTSCP; // see measure()
    if (!operands) return true;
    exit.reg.gpr = i->reg;
    exit.reg.write = exit.reason == HWV_EXIT_CR_WRITE || i->operation == Operation::mov_to_dr;
    if (i->operation == Operation::smsw) width = i->size;
    return !i->memory || exit.reg.write;
}

template <Backend B>
Outcome VcpuOf<B>::answer(const Exit &exit, const std::uint64_t (&value)[2], std::uint8_t width) {
    const auto put = [this](unsigned gpr, std::uint64_t v, unsigned bytes) {
        gprs[gpr] = merge(gprs[gpr], v, bytes);
    };
    switch (exit.reason) {
    case HWV_EXIT_CPUID:
        put(HWV_RAX, value[0], 4);
        put(HWV_RBX, value[0] >> 32, 4);
        put(HWV_RCX, value[1], 4);
        put(HWV_RDX, value[1] >> 32, 4);
        break;
    case HWV_EXIT_RDTSCP: gprs[HWV_RCX] = backend.msr(0xc0000103).value_or(0); [[fallthrough]];
    case HWV_EXIT_RDTSC:
    case HWV_EXIT_RDPMC:
    case HWV_EXIT_MSR_READ: set_edx_eax(value[0]); break;
    case HWV_EXIT_HYPERCALL: put(HWV_RAX, value[0], width); break;
    case HWV_EXIT_IO:
        if (!exit.io.write) put(HWV_RAX, value[0], exit.io.size);
        break;
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_DR_ACCESS:
        if (!exit.reg.write) put(exit.reg.gpr, value[0], width);
        break;
    default: break; // it would write
    }
    return complete_as(*this, exit, Outcome::resume_next);
}

// String I/O moves more than a value: it is not answered.
template <Backend B>
Outcome VcpuOf<B>::obey(Exit &exit, const instrument::Verdict &verdict) {
    if (exit.delivering) {
        backend.inject(exit.delivering);
        check_events = true;
    }
    if (verdict.action == HWV_ACTION_INJECT) {
        if (verdict.vector == vector::page_fault) backend.set_cr2(verdict.value[0]);
        return raise(
            {HWV_EVENT_EXCEPTION, verdict.vector, verdict.has_error_code, 0, verdict.error_code});
    }
    std::uint8_t width = 0;
    if (!know_instruction(exit, width)) return handle(exit);
    if (verdict.action == HWV_ACTION_SKIP) return complete_as(*this, exit, Outcome::resume_next);
    if (exit.reason == HWV_EXIT_IO && exit.io.string) return handle(exit);
    return answer(exit, verdict.value, width);
}

// The exit, as a program finds it. Each has its own: they may write everywhere.
template <Backend B>
hwv_program_context VcpuOf<B>::program_context(const Exit &exit, bool decided) const {
    const hwv_record &r = recorder.record();
    hwv_program_context c{.vm = 0, // Linux knows it
                          .vcpu = id,
                          .reason = exit.reason,
                          .key = r.key,
                          .data = r.data,
                          .qualification = r.qualification,
                          .rip = r.rip,
                          .cr3 = r.cr3,
                          .rflags = backend.rflags(),
                          .tsc = r.tsc_exit,
                          .cpl = r.flags & HWV_RECORD_CPL,
                          .decided = decided};
    for (unsigned i = 0; i < HWV_GPRS; ++i)
        c.gpr[i] = gprs[i];
    return c;
}

// The first that decides does, also before programs that come later; those see what it left in the
// registers.
template <Backend B>
void VcpuOf<B>::ask_programs(const Exit &exit, instrument::Verdict &verdict) {
    const hwv_program_table *table = vm.programs();
    for (unsigned i = 0; table && i < table->count; ++i) {
        const hwv_program_slot &slot = table->entries[i];
        if (!(slot.reasons >> exit.reason & 1)) continue;
        hwv_program_context context = program_context(exit, verdict.decided());
        hwv_host_program_run(slot.program, &context);
        obey_program(slot, exit.reason, context, verdict);
    }
}

template <Backend B>
void VcpuOf<B>::obey_program(const hwv_program_slot &slot, ExitReason reason,
                             const hwv_program_context &context, instrument::Verdict &verdict) {
    instrument::ProgramSays says;
    instrument::count(slot.counts->runs);
    if (context.ack) instrument::count(slot.counts->acked);
    if (!instrument::read_output(context, reason, slot.age, says)) {
        instrument::count(slot.counts->refused);
        return;
    }
    const bool records = says.verdict.action == HWV_ACTION_RECORD;
    if (!says.anything() || (verdict.decided() && !records)) return;
    instrument::count(slot.counts->acted);
    recorder.mark(HWV_RECORD_RULED);
    if (records) recorder.rule(slot.observer);
    if (verdict.decided()) return;
    for (unsigned i = 0; i < HWV_GPRS; ++i)
        if (says.gprs >> i & 1) gprs[i] = context.gpr[i];
    if (says.verdict.decided()) verdict = says.verdict;
}

// What exits within one reason are told apart by, and who is asked about them.
template <Backend B>
Outcome VcpuOf<B>::judge(Exit &exit) {
    const hwv_record &r = recorder.record();
    instrument::Verdict verdict;
    std::uint32_t records = vm.policies.ask(
        {exit.reason, static_cast<std::uint8_t>(r.flags & HWV_RECORD_CPL), r.key, r.rip, r.cr3},
        verdict);
    if (const instrument::Hit &hit = verdict.hit; hit.count) {
        const hwv_host_hit told{hit.holder, r.key, r.rip, id, r.reason, hit.rule, hit.count};
        hwv_host_tell_hit(vm.host(), &told);
    }
    for (unsigned slot = 0; records; ++slot, records >>= 1)
        if (records & 1) recorder.rule(slot);
    ask_programs(exit, verdict);
    if (!verdict.decided()) return handle(exit);
    recorder.mark(HWV_RECORD_RULED);
    return verdict.action == HWV_ACTION_STOP ? stop_at(exit, verdict) : obey(exit, verdict);
}

// Registers may be others afterwards. Elsewhere than where it stopped, the exit has no meaning.
template <Backend B>
Outcome VcpuOf<B>::stop_at(Exit &exit, const instrument::Verdict &verdict) {
    const hwv_record &r = recorder.record();
    const hwv_stop what{.id = vm.next_stop(),
                        .vcpu = id,
                        .reason = exit.reason,
                        .key = r.key,
                        .data = r.data,
                        .rip = r.rip,
                        .cr3 = r.cr3,
                        .rule = verdict.rule,
                        .cpl = r.flags & HWV_RECORD_CPL};
    if (exit.delivering) backend.inject(exit.delivering);
    begin_stop(what, verdict.observer);
    cut(HWV_TIME_KERNEL);
    waiting = true;
    {
        MaySleep scope{*this};
        hwv_host_vcpu_stop(host, verdict.observer, verdict.timeout_ms);
    }
    waiting = false;
    cut(HWV_TIME_STOPPED);
    recorder.mark(HWV_RECORD_STOPPED);
    check_events = true;
    const instrument::Verdict reply = end_stop();
    if (backend.rip() != r.rip) return Outcome::resume_same;
    return reply.decided() ? obey(exit, reply) : handle(exit);
}

} // namespace hwv
