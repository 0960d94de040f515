// SPDX-License-Identifier: GPL-2.0-only
/* Door 1, tracepoints: where they are made, and the calls of the core that fire them. */
#define CREATE_TRACE_POINTS
#include "trace.h"

void hwv_host_trace_exit(const struct hwv_trace_at *at, const struct hwv_trace_exit *exit)
{
	trace_hwv_exit(at, exit);
}

void hwv_host_trace_entry(const struct hwv_trace_at *at)
{
	trace_hwv_entry(at);
}

void hwv_host_trace_inject(const struct hwv_trace_at *at, const struct hwv_trace_inject *event)
{
	trace_hwv_inject(at, event);
}

void hwv_host_trace_page_fault(const struct hwv_trace_at *at, __u64 address, __u64 error_code)
{
	trace_hwv_page_fault(at, address, error_code);
}

void hwv_host_trace_cpuid(const struct hwv_trace_at *at, const struct hwv_trace_cpuid *cpuid)
{
	trace_hwv_cpuid(at, cpuid);
}

void hwv_host_trace_msr(const struct hwv_trace_at *at, __u32 index, __u64 data, int write,
			int exception)
{
	trace_hwv_msr(at, index, data, write, exception);
}

void hwv_host_trace_pio(const struct hwv_trace_at *at, const struct hwv_exit_io *io, __u32 data)
{
	trace_hwv_pio(at, io, data);
}

void hwv_host_trace_mmio(const struct hwv_trace_at *at, __u32 type, __u32 bytes, __u64 gpa,
			 __u64 data)
{
	trace_hwv_mmio(at, type, bytes, gpa, data);
}

void hwv_host_trace_hypercall(const struct hwv_trace_at *at, const __u64 *words)
{
	trace_hwv_hypercall(at, words);
}

void hwv_host_trace_userspace_exit(const struct hwv_trace_at *at, __u32 reason, int error)
{
	trace_hwv_userspace_exit(at, reason, error);
}
