// SPDX-License-Identifier: GPL-2.0-only
// host.h, tracepoints: all on while hardware().tracing is; what was told is a line each.
#include "hwv.h"
#include "host.hpp"

using hwv::fake::host;

struct hwv_tracepoint {
    char key[16];
};

extern "C" {

struct hwv_static_key {};
hwv_static_key hwv_statistics_off;
hwv_tracepoint __tracepoint_hwv_exit, __tracepoint_hwv_entry, __tracepoint_hwv_inject,
    __tracepoint_hwv_page_fault, __tracepoint_hwv_cpuid, __tracepoint_hwv_msr, __tracepoint_hwv_pio,
    __tracepoint_hwv_mmio, __tracepoint_hwv_hypercall, __tracepoint_hwv_userspace_exit;

static void tell(std::string what, const hwv_trace_at *at) {
    host().traced.push_back(what + "@" + std::to_string(at->rip));
}

void hwv_host_trace_exit(const hwv_trace_at *at, const hwv_trace_exit *exit) {
    tell("exit " + std::to_string(exit->reason), at);
}
void hwv_host_trace_entry(const hwv_trace_at *at) { tell("entry", at); }
void hwv_host_trace_inject(const hwv_trace_at *at, const hwv_trace_inject *event) {
    tell("inject " + std::to_string(event->vector), at);
}
void hwv_host_trace_page_fault(const hwv_trace_at *at, __u64 address, __u64) {
    tell("page_fault " + std::to_string(address), at);
}
void hwv_host_trace_cpuid(const hwv_trace_at *at, const hwv_trace_cpuid *cpuid) {
    tell("cpuid " + std::to_string(cpuid->leaf) + " " + std::to_string(cpuid->eax), at);
}
void hwv_host_trace_msr(const hwv_trace_at *at, __u32 index, __u64 data, int write, int fault) {
    tell(std::string{fault ? "refused " : ""} + (write ? "wrmsr " : "rdmsr ") +
             std::to_string(index) + " " + std::to_string(data),
         at);
}
void hwv_host_trace_pio(const hwv_trace_at *at, const hwv_exit_io *io, __u32 data) {
    tell((io->write ? "out " : "in ") + std::to_string(io->port) + " " + std::to_string(data), at);
}
void hwv_host_trace_mmio(const hwv_trace_at *at, __u32 type, __u32, __u64 gpa, __u64 data) {
    tell("mmio " + std::to_string(type) + " " + std::to_string(gpa) + " " + std::to_string(data),
         at);
}
void hwv_host_trace_hypercall(const hwv_trace_at *at, const __u64 *words) {
    tell("hypercall " + std::to_string(words[0]), at);
}
void hwv_host_trace_userspace_exit(const hwv_trace_at *at, __u32 reason, int error) {
    tell("user " + std::to_string(reason) + " " + std::to_string(error), at);
}

} // extern "C"
