// SPDX-License-Identifier: GPL-2.0-only
// handlers_io.hpp - port I/O, MSRs and hypercalls: what leaves to user most often, or never should.
#pragma once
#include "core/trace.hpp"
#include "core/vcpu_of.hpp"
#include "cpu/hypercall.hpp"

namespace hwv {

// False: the instruction is another one by now.
template <Backend B>
bool find_source(VcpuOf<B> &v, IoAccess &io) {
    const auto i = v.instruction(HWV_EXIT_IO);
    if (!i || i->operation != Operation::outs) return false;
    io.segment = i->segment;
    return true;
}

template <Backend B>
Outcome on_string_io(VcpuOf<B> &v, const Exit &exit) {
    IoAccess io = exit.io;
    if (!io.write)
        io.segment = HWV_ES;
    else if (io.segment == segment_not_told && !find_source(v, io))
        return Outcome::resume_same;
    v.leave(HWV_EXIT_IO, exit).io = io;
    v.wanted |= HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL;
    return Outcome::to_user;
}

template <Backend B>
Outcome on_io(VcpuOf<B> &v, const Exit &exit) {
    const IoAccess &io = exit.io;
    if (io.string) return on_string_io(v, exit);
    const auto data = static_cast<std::uint32_t>(v.gprs[HWV_RAX] & (~0ull >> (64 - 8 * io.size)));
    if (io.write && v.vm.ioevents() && hwv_host_ioevent(v.vm.host(), 1, io.port, io.size, data))
        return Outcome::resume_next;
    hwv_exit &e = v.leave(HWV_EXIT_IO, exit);
    e.io = io;
    if (io.write) e.io.data = data;
    if (io.write) return Outcome::to_user_next;
    v.completion = {
        .kind = Completion::Kind::in, .length = exit.length, .size = io.size, .load = {}};
    return Outcome::to_user;
}

// A value read by IN or from memory-mapped registers goes into a register as MOV puts it there: 32
// bits clear the upper half.
constexpr std::uint64_t merge(std::uint64_t old, std::uint64_t value, unsigned bytes) {
    if (bytes == 8) return value;
    if (bytes == 4) return value & 0xffff'ffff;
    const std::uint64_t mask = (1ull << (8 * bytes)) - 1;
    return (old & ~mask) | (value & mask);
}
static_assert(merge(~0ull, 0, 4) == 0 && merge(~0ull, 0, 2) == 0xffff'ffff'ffff'0000 &&
              merge(0, 0x1ff, 1) == 0xff);

template <Backend B>
Outcome on_hypercall(VcpuOf<B> &v, const Exit &exit) {
    if (trace::on<__tracepoint_hwv_hypercall>()) [[unlikely]]
        trace::hypercall(v);
    const cpu::HypercallRequest call{v.gprs, v.wide(), static_cast<std::uint8_t>(v.backend.cpl())};
    const cpu::HypercallAnswer r = v.vm.hypercall(call, v);
    if (!r.known && v.vm.has(HWV_VM_HYPERCALL_TO_USER)) {
        v.leave(HWV_EXIT_HYPERCALL, exit).hypercall = {
            .nr = call.nr(), .args = {call.arg(0), call.arg(1), call.arg(2), call.arg(3)}};
        v.completion = {
            .kind = Completion::Kind::hypercall, .length = exit.length, .size = 0, .load = {}};
        return Outcome::to_user;
    }
    v.gprs[HWV_RAX] = r.value;
    return Outcome::resume_next;
}

template <Backend B>
[[gnu::always_inline]] inline void trace_msr(const VcpuOf<B> &v, bool write, bool fault) {
    if (trace::on<__tracepoint_hwv_msr>()) [[unlikely]]
        trace::msr(v, write, fault);
}

template <Backend B>
Outcome msr_refused(VcpuOf<B> &v, bool write) {
    trace_msr(v, write, true);
    return v.gp();
}

template <Backend B>
Outcome msr_to_user(VcpuOf<B> &v, const Exit &exit, bool write) {
    if (!v.vm.has(HWV_VM_MSR_TO_USER)) return msr_refused(v, write);
    v.leave(write ? HWV_EXIT_MSR_WRITE : HWV_EXIT_MSR_READ, exit).msr = {
        .index = static_cast<__u32>(v.gprs[HWV_RCX]),
        .reserved = 0,
        .data = write ? v.edx_eax() : 0};
    v.completion = {.kind = write ? Completion::Kind::msr_write : Completion::Kind::msr_read,
                    .length = exit.length,
                    .size = 0,
                    .load = {}};
    return Outcome::to_user;
}

template <Backend B>
Outcome on_msr_read(VcpuOf<B> &v, const Exit &exit) {
    std::uint64_t value = 0;
    switch (v.read_msr(static_cast<std::uint32_t>(v.gprs[HWV_RCX]), value, false)) {
    case cpu::MsrResult::done:
        v.set_edx_eax(value);
        trace_msr(v, false, false);
        return Outcome::resume_next;
    case cpu::MsrResult::fault: return msr_refused(v, false);
    default: return msr_to_user(v, exit, false);
    }
}

template <Backend B>
Outcome on_msr_write(VcpuOf<B> &v, const Exit &exit) {
    const auto index = static_cast<std::uint32_t>(v.gprs[HWV_RCX]);
    switch (v.write_msr(index, v.edx_eax(), false)) {
    case cpu::MsrResult::done:
        trace_msr(v, true, false);
        if (index - cpu::msr::x2apic_first > cpu::msr::x2apic_last - cpu::msr::x2apic_first)
            return Outcome::resume_next;
        v.sync_tpr();
        return v.after_apic_write(exit);
    case cpu::MsrResult::fault: return msr_refused(v, true);
    default: return msr_to_user(v, exit, true);
    }
}

template <Backend B>
Outcome on_rdtsc(VcpuOf<B> &v, const Exit &exit) {
    v.set_edx_eax(v.guest_tsc());
    if (exit.reason == HWV_EXIT_RDTSCP)
        v.gprs[HWV_RCX] = v.backend.msr(0xc0000103).value_or(0); // TSC_AUX
    return Outcome::resume_next;
}

} // namespace hwv
