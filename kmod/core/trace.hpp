// SPDX-License-Identifier: GPL-2.0-only
// trace.hpp - tracepoints in the run loop and its handlers. One that is off is a NOP of the
// kernel's own kind; on, it calls one of these, which look everything up again: what the handlers
// have in registers stays there.
#pragma once
#include "core/arch.hpp"
#include "core/vcpu_of.hpp"
#include "cpu/cpuid.hpp"
#include "gen/hwv_offsets.h"

struct hwv_tracepoint; // struct tracepoint, of which the address will do
extern "C" {
extern hwv_tracepoint __tracepoint_hwv_exit, __tracepoint_hwv_entry, __tracepoint_hwv_inject,
    __tracepoint_hwv_page_fault, __tracepoint_hwv_cpuid, __tracepoint_hwv_msr, __tracepoint_hwv_pio,
    __tracepoint_hwv_mmio, __tracepoint_hwv_hypercall, __tracepoint_hwv_userspace_exit;
}

#define HWV_TRACE_COLD                                                                             \
    template <Backend B>                                                                           \
    [[gnu::cold, gnu::noinline]] void

namespace hwv::trace {

template <hwv_tracepoint &Point>
[[gnu::always_inline]] inline bool on() {
    return arch::static_branch(reinterpret_cast<const char *>(&Point) + HWV_TP_KEY_OFF);
}

template <Backend B>
hwv_trace_at at(const VcpuOf<B> &v) {
    return {.vm = v.vm.host(), .rip = v.backend.rip(), .vcpu = v.id, .reserved = 0};
}

HWV_TRACE_COLD exit(const VcpuOf<B> &v) {
    const hwv_trace_at where = at(v);
    const Exit e = B::decode(v.raw);
    const hwv_trace_exit told{.raw_reason = e.raw_reason,
                              .info = {e.raw_info[0], e.raw_info[1]},
                              .reason = e.reason,
                              .reserved = 0};
    hwv_host_trace_exit(&where, &told);
}

HWV_TRACE_COLD entry(const VcpuOf<B> &v) {
    const hwv_trace_at where = at(v);
    hwv_host_trace_entry(&where);
}

HWV_TRACE_COLD inject(const VcpuOf<B> &v) {
    const Event e = v.backend.injecting();
    if (!e) return;
    const hwv_trace_at where = at(v);
    const hwv_trace_inject told{.type = e.type,
                                .vector = e.vector,
                                .has_error = e.has_error_code,
                                .reserved = 0,
                                .error_code = e.error_code};
    hwv_host_trace_inject(&where, &told);
}

HWV_TRACE_COLD page_fault(const VcpuOf<B> &v) {
    const hwv_trace_at where = at(v);
    const Exit e = B::decode(v.raw);
    hwv_host_trace_page_fault(&where, e.fault.gpa, e.raw_info[0]);
}

// Before the registers change. What is answered is asked for once more.
HWV_TRACE_COLD cpuid(const VcpuOf<B> &v) {
    const hwv_trace_at where = at(v);
    const cpu::CpuidResult r = cpuid_answer(v);
    const hwv_trace_cpuid told{.leaf = static_cast<__u32>(v.gprs[HWV_RAX]),
                               .subleaf = static_cast<__u32>(v.gprs[HWV_RCX]),
                               .eax = r.eax,
                               .ebx = r.ebx,
                               .ecx = r.ecx,
                               .edx = r.edx};
    hwv_host_trace_cpuid(&where, &told);
}

// EDX:EAX has the value.
HWV_TRACE_COLD msr(const VcpuOf<B> &v, bool write, bool fault) {
    const hwv_trace_at where = at(v);
    const bool told = write || !fault;
    hwv_host_trace_msr(&where, static_cast<__u32>(v.gprs[HWV_RCX]), told ? v.edx_eax() : 0, write,
                       fault);
}

// After every exit that may be one, before the handlers.
HWV_TRACE_COLD pio_written(const VcpuOf<B> &v) {
    const Exit e = B::decode(v.raw);
    if (e.reason != HWV_EXIT_IO || !(e.io.write || e.io.string)) return;
    const hwv_trace_at where = at(v);
    const std::uint64_t data = v.gprs[HWV_RAX] & (~0ull >> (64 - 8 * e.io.size));
    hwv_host_trace_pio(&where, &e.io, e.io.string ? 0 : static_cast<__u32>(data));
}

HWV_TRACE_COLD pio_read(const VcpuOf<B> &v, std::uint64_t answer) {
    const hwv_trace_at where = at(v);
    const Exit e = B::decode(v.raw);
    const std::uint64_t data = answer & (~0ull >> (64 - 8 * e.io.size));
    hwv_host_trace_pio(&where, &e.io, static_cast<__u32>(data));
}

enum class Mmio : std::uint32_t { unsatisfied, read, write };

HWV_TRACE_COLD mmio(const VcpuOf<B> &v, Mmio type, std::uint32_t bytes, std::uint64_t data) {
    const hwv_trace_at where = at(v);
    const Exit e = B::decode(v.raw);
    hwv_host_trace_mmio(&where, static_cast<__u32>(type), bytes, e.fault.gpa, data);
}

HWV_TRACE_COLD hypercall(const VcpuOf<B> &v) {
    const hwv_trace_at where = at(v);
    const cpu::HypercallRequest call{v.gprs, v.wide(), 0};
    const __u64 words[] = {call.nr(), call.arg(0), call.arg(1), call.arg(2), call.arg(3)};
    hwv_host_trace_hypercall(&where, words);
}

HWV_TRACE_COLD userspace_exit(const VcpuOf<B> &v, int error) {
    const hwv_trace_at where = at(v);
    const std::uint32_t reason = v.run->exit.reason;
    hwv_host_trace_userspace_exit(&where, error ? std::uint32_t{HWV_EXIT_NONE} : reason, error);
}

} // namespace hwv::trace

#undef HWV_TRACE_COLD
