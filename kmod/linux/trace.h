/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - tracepoints hwv:*, parallel to kvm:*: a field that means the same has the same name. What kvm:* does not have: vm_id,
 * the VM's number as `hwvctl ls` shows it; reason, the neutral exit reason (kvm's own exit_reason, the CPU's, is beside it).
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hwv

#if !defined(HWV_LINUX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HWV_LINUX_TRACE_H

#include <linux/tracepoint.h>
#include "glue.h"

/* clang-format off: the formatter takes the macros for functions */

#define HWV_TRACE_REASONS(R)                                                                      \
	R(NONE, "none") R(HOST_INTERRUPT, "host_interrupt") R(HOST_NMI, "host_nmi")                \
	R(INTERRUPT_WINDOW, "interrupt_window") R(NMI_WINDOW, "nmi_window") R(HLT, "hlt")          \
	R(CPUID, "cpuid") R(IO, "io") R(MSR_READ, "msr_read") R(MSR_WRITE, "msr_write")            \
	R(HYPERCALL, "hypercall") R(PAGE_FAULT, "page_fault") R(EXCEPTION, "exception")            \
	R(CR_READ, "cr_read") R(CR_WRITE, "cr_write") R(DR_ACCESS, "dr_access")                    \
	R(RDTSC, "rdtsc") R(RDTSCP, "rdtscp") R(RDPMC, "rdpmc") R(INVLPG, "invlpg")                \
	R(INVD, "invd") R(WBINVD, "wbinvd") R(MONITOR, "monitor") R(MWAIT, "mwait")                \
	R(PAUSE, "pause") R(XSETBV, "xsetbv") R(DESCRIPTOR, "descriptor")                          \
	R(TASK_SWITCH, "task_switch") R(SHUTDOWN, "shutdown") R(INIT, "init") R(SMI, "smi")        \
	R(RSM, "rsm") R(VIRT_INSTRUCTION, "virt_instruction") R(MACHINE_CHECK, "machine_check")    \
	R(TIMER, "timer") R(STEP, "step") R(INVALID_STATE, "invalid_state") R(RDPRU, "rdpru")      \
	R(INVPCID, "invpcid") R(APIC_WRITE, "apic_write") R(MMIO, "mmio") R(EOI, "eoi")            \
	R(KICKED, "kicked") R(ERROR, "error") R(RESET, "reset")

/* perf and trace-cmd read the formats below as text: they are told the numbers. */
#define HWV_TRACE_NUMBER(reason, name) TRACE_DEFINE_ENUM(HWV_EXIT_##reason);
#define HWV_TRACE_NAME(reason, name) { HWV_EXIT_##reason, name },
HWV_TRACE_REASONS(HWV_TRACE_NUMBER)
TRACE_DEFINE_ENUM(HWV_EXIT_UNKNOWN); /* the list's last, which must have no comma behind it */
#define hwv_print_reason(reason)                                                                   \
	__print_symbolic(reason, HWV_TRACE_REASONS(HWV_TRACE_NAME) { HWV_EXIT_UNKNOWN, "unknown" })

#define HWV_AT_PROTO const struct hwv_trace_at *at
#define HWV_AT_ENTRY __field(u64, vm_id) __field(u64, guest_rip) __field(u32, vcpu_id)
#define HWV_AT_ASSIGN                                                                              \
	__entry->vm_id = at->vm->id;                                                                   \
	__entry->guest_rip = at->rip;                                                              \
	__entry->vcpu_id = at->vcpu;
#define HWV_AT_FORMAT "vm %llu vcpu %u rip 0x%llx"
#define HWV_AT_PRINT __entry->vm_id, __entry->vcpu_id, __entry->guest_rip

TRACE_EVENT(hwv_exit,
	TP_PROTO(HWV_AT_PROTO, const struct hwv_trace_exit *exit),
	TP_ARGS(at, exit),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u32, reason)
		__field(u64, exit_reason) __field(u64, info1) __field(u64, info2)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->reason = exit->reason; __entry->exit_reason = exit->raw_reason;
		__entry->info1 = exit->info[0]; __entry->info2 = exit->info[1];
	),
	TP_printk(HWV_AT_FORMAT " reason %s exit_reason 0x%llx info1 0x%llx info2 0x%llx", HWV_AT_PRINT,
		  hwv_print_reason(__entry->reason), __entry->exit_reason, __entry->info1,
		  __entry->info2)
);

TRACE_EVENT(hwv_entry,
	TP_PROTO(HWV_AT_PROTO),
	TP_ARGS(at),
	TP_STRUCT__entry(
		__field(u64, vm_id) __field(u64, rip) __field(u32, vcpu_id)
	),
	TP_fast_assign(
		__entry->vm_id = at->vm->id; __entry->rip = at->rip; __entry->vcpu_id = at->vcpu;
	),
	TP_printk(HWV_AT_FORMAT, __entry->vm_id, __entry->vcpu_id, __entry->rip)
);

TRACE_DEFINE_ENUM(HWV_EVENT_INTERRUPT);
TRACE_DEFINE_ENUM(HWV_EVENT_NMI);
TRACE_DEFINE_ENUM(HWV_EVENT_EXCEPTION);
TRACE_DEFINE_ENUM(HWV_EVENT_SOFTWARE);

/* An event goes in with the entry that follows; once more where an exit interrupted its delivery. */
TRACE_EVENT(hwv_inject,
	TP_PROTO(HWV_AT_PROTO, const struct hwv_trace_inject *event),
	TP_ARGS(at, event),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u8, type)
		__field(u8, vector) __field(u8, has_error) __field(u32, error_code)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->type = event->type; __entry->vector = event->vector;
		__entry->has_error = event->has_error; __entry->error_code = event->error_code;
	),
	TP_printk(HWV_AT_FORMAT " %s vector %u has_error %u error_code 0x%x", HWV_AT_PRINT,
		  __print_symbolic(__entry->type,
				   { HWV_EVENT_INTERRUPT, "interrupt" }, { HWV_EVENT_NMI, "nmi" },
				   { HWV_EVENT_EXCEPTION, "exception" },
				   { HWV_EVENT_SOFTWARE, "software" }),
		  __entry->vector, __entry->has_error, __entry->error_code)
);

/* error_code is the CPU's word for the access: EXITINFO1, or the exit qualification. */
TRACE_EVENT(hwv_page_fault,
	TP_PROTO(HWV_AT_PROTO, u64 fault_address, u64 error_code),
	TP_ARGS(at, fault_address, error_code),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u64, fault_address)
		__field(u64, error_code)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->fault_address = fault_address; __entry->error_code = error_code;
	),
	TP_printk(HWV_AT_FORMAT " address 0x%llx error_code 0x%llx", HWV_AT_PRINT,
		  __entry->fault_address, __entry->error_code)
);

TRACE_EVENT(hwv_cpuid,
	TP_PROTO(HWV_AT_PROTO, const struct hwv_trace_cpuid *cpuid),
	TP_ARGS(at, cpuid),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u32, function)
		__field(u32, index) __field(u32, rax) __field(u32, rbx) __field(u32, rcx)
		__field(u32, rdx)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->function = cpuid->leaf; __entry->index = cpuid->subleaf;
		__entry->rax = cpuid->eax; __entry->rbx = cpuid->ebx; __entry->rcx = cpuid->ecx;
		__entry->rdx = cpuid->edx;
	),
	TP_printk(HWV_AT_FORMAT " func %x idx %x rax %x rbx %x rcx %x rdx %x", HWV_AT_PRINT,
		  __entry->function, __entry->index, __entry->rax, __entry->rbx, __entry->rcx,
		  __entry->rdx)
);

/* RDMSR and WRMSR that exit; what the user answers is traced when he has. */
TRACE_EVENT(hwv_msr,
	TP_PROTO(HWV_AT_PROTO, u32 ecx, u64 data, bool write, bool exception),
	TP_ARGS(at, ecx, data, write, exception),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u32, ecx)
		__field(u64, data) __field(u8, write) __field(u8, exception)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->ecx = ecx; __entry->data = data; __entry->write = write;
		__entry->exception = exception;
	),
	TP_printk(HWV_AT_FORMAT " msr_%s %x = 0x%llx%s", HWV_AT_PRINT,
		  __entry->write ? "write" : "read", __entry->ecx, __entry->data,
		  __entry->exception ? " (#GP)" : "")
);

/* IN is traced when the user has answered it. INS and OUTS, which the user completes, when they exit, with val 0. */
TRACE_EVENT(hwv_pio,
	TP_PROTO(HWV_AT_PROTO, const struct hwv_exit_io *io, u32 val),
	TP_ARGS(at, io, val),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u32, rw)
		__field(u32, port) __field(u32, size) __field(u32, val) __field(u8, string)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->rw = io->write; __entry->port = io->port; __entry->size = io->size;
		__entry->val = val; __entry->string = io->string;
	),
	TP_printk(HWV_AT_FORMAT " pio_%s at 0x%x size %u val 0x%x%s", HWV_AT_PRINT,
		  __entry->rw ? "write" : "read", __entry->port, __entry->size, __entry->val,
		  __entry->string ? " (string)" : "")
);

/* type as kvm_mmio's: 1 read, traced when the user has answered it, 2 write; 0: the user executes the instruction. */
TRACE_EVENT(hwv_mmio,
	TP_PROTO(HWV_AT_PROTO, u32 type, u32 len, u64 gpa, u64 val),
	TP_ARGS(at, type, len, gpa, val),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u32, type)
		__field(u32, len) __field(u64, gpa) __field(u64, val)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->type = type; __entry->len = len; __entry->gpa = gpa; __entry->val = val;
	),
	TP_printk(HWV_AT_FORMAT " mmio %s len %u gpa 0x%llx val 0x%llx", HWV_AT_PRINT,
		  __print_symbolic(__entry->type, { 0, "unsatisfied" }, { 1, "read" },
				   { 2, "write" }),
		  __entry->len, __entry->gpa, __entry->val)
);

TRACE_EVENT(hwv_hypercall,
	TP_PROTO(HWV_AT_PROTO, const u64 *words),
	TP_ARGS(at, words),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u64, nr)
		__field(u64, a0) __field(u64, a1) __field(u64, a2) __field(u64, a3)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->nr = words[0]; __entry->a0 = words[1]; __entry->a1 = words[2];
		__entry->a2 = words[3]; __entry->a3 = words[4];
	),
	TP_printk(HWV_AT_FORMAT " nr 0x%llx a0 0x%llx a1 0x%llx a2 0x%llx a3 0x%llx", HWV_AT_PRINT,
		  __entry->nr, __entry->a0, __entry->a1, __entry->a2, __entry->a3)
);

/* HWV_RUN comes back: with a reason, or with an error and none. */
TRACE_EVENT(hwv_userspace_exit,
	TP_PROTO(HWV_AT_PROTO, u32 reason, int errno),
	TP_ARGS(at, reason, errno),
	TP_STRUCT__entry(
		HWV_AT_ENTRY __field(u32, reason)
		__field(int, errno)
	),
	TP_fast_assign(
		HWV_AT_ASSIGN
		__entry->reason = reason; __entry->errno = errno;
	),
	TP_printk(HWV_AT_FORMAT " reason %s errno %d", HWV_AT_PRINT,
		  hwv_print_reason(__entry->reason), __entry->errno)
);

/* clang-format on */

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
