/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_exit.h - why a guest stopped: neutral names, one list for Intel and AMD, stable for ever. Part of hwv.h.
 */
#ifndef HWV_EXIT_H
#define HWV_EXIT_H

#include <linux/types.h>

/*
 * The first group is what the CPU reports; these are the keys of all statistics. The second group (from 0x80) is what only
 * HWV_RUN reports. A CPU's reason may be served in the kernel or leave to user under the same name.
 *
 * What happened within a reason is its key, in statistics, records and rules: IO: the port. MSR_*: the index. CPUID: EAX. HYPERCALL: its
 * number. PAGE_FAULT: the guest-physical address of the page. EXCEPTION: the vector. CR_*, DR_ACCESS: the register's number.
 * INVLPG: the address, where the CPU decodes it. TASK_SWITCH: the selector. All others: 0.
 */
enum hwv_exit_reason {
	HWV_EXIT_NONE = 0,
	HWV_EXIT_HOST_INTERRUPT = 1, /* a host interrupt arrived; never leaves to user */
	HWV_EXIT_HOST_NMI = 2,
	HWV_EXIT_INTERRUPT_WINDOW = 3, /* the guest can take an interrupt now, as reply.flags asked */
	HWV_EXIT_NMI_WINDOW = 4,
	HWV_EXIT_HLT = 5,
	HWV_EXIT_CPUID = 6,
	HWV_EXIT_IO = 7,
	HWV_EXIT_MSR_READ = 8,
	HWV_EXIT_MSR_WRITE = 9,
	HWV_EXIT_HYPERCALL = 10, /* VMCALL, VMMCALL */
	HWV_EXIT_PAGE_FAULT = 11, /* nested page fault, EPT violation: served, or leaves as HWV_EXIT_MMIO */
	HWV_EXIT_EXCEPTION = 12,
	HWV_EXIT_CR_READ = 13,
	HWV_EXIT_CR_WRITE = 14,
	HWV_EXIT_DR_ACCESS = 15,
	HWV_EXIT_RDTSC = 16,
	HWV_EXIT_RDTSCP = 17,
	HWV_EXIT_RDPMC = 18,
	HWV_EXIT_INVLPG = 19,
	HWV_EXIT_INVD = 20,
	HWV_EXIT_WBINVD = 21,
	HWV_EXIT_MONITOR = 22,
	HWV_EXIT_MWAIT = 23,
	HWV_EXIT_PAUSE = 24,
	HWV_EXIT_XSETBV = 25,
	HWV_EXIT_DESCRIPTOR = 26, /* SGDT SIDT SLDT STR LGDT LIDT LLDT LTR */
	HWV_EXIT_TASK_SWITCH = 27, /* one that the CPU does not do itself: leaves to user, all registers valid */
	HWV_EXIT_SHUTDOWN = 28, /* triple fault; registers are valid */
	HWV_EXIT_INIT = 29,
	HWV_EXIT_SMI = 30,
	HWV_EXIT_RSM = 31,
	HWV_EXIT_VIRT_INSTRUCTION = 32, /* an SVM or VMX instruction in the guest */
	HWV_EXIT_MACHINE_CHECK = 33,
	HWV_EXIT_TIMER = 34, /* VMX preemption timer */
	HWV_EXIT_STEP = 35, /* monitor trap flag */
	HWV_EXIT_INVALID_STATE = 36, /* the CPU refused the guest state: entry.rule */
	HWV_EXIT_RDPRU = 37,
	HWV_EXIT_INVPCID = 38,
	HWV_EXIT_UNKNOWN = 39, /* a raw reason that hwv does not know: raw_reason */
	HWV_EXIT_APIC_WRITE = 40, /* of the local APIC where the CPU delivers: an EOI that others wait for, an illegal self-IPI */
	HWV_EXIT_CPU_REASONS = 41, /* how many; not a reason */

	HWV_EXIT_MMIO = 0x80,
	HWV_EXIT_EOI = 0x81,
	HWV_EXIT_KICKED = 0x82,
	HWV_EXIT_ERROR = 0x83, /* the guest cannot go on: error.code; HWV_RUN may be tried again */
	HWV_EXIT_RESET = 0x84, /* INIT or SIPI reached a vCPU of a VM without APIC */
};

/* What HWV_EXIT_ERROR reports. */
enum hwv_error {
	HWV_ERROR_NONE = 0,
	HWV_ERROR_MEMORY = 1,      /* guest memory at error.detail (gpa) cannot be paged in: errno in error.code2 */
	HWV_ERROR_EMULATION = 2,   /* an instruction that hwv does not complete, at rip; bytes in error.insn */
	HWV_ERROR_VIRT_FAULT = 3,  /* an SVM/VMX instruction faulted: the CPU was taken away */
	HWV_ERROR_RAW = 4,         /* an exit that should not exist: raw_reason */
};

struct hwv_exit_io {
	__u16 port;
	__u8 size;     /* 1, 2, 4 bytes */
	__u8 write;    /* 1: OUT, OUTS */
	__u8 string;   /* 1: INS, OUTS: completed by user, who moves RSI/RDI/RCX and RIP (exit.next_rip) */
	__u8 rep;      /* 1: REP prefix */
	__u8 segment;  /* OUTS: enum hwv_segment_index of the source. INS: HWV_ES */
	__u8 address_size; /* string: 2, 4, 8 bytes */
	__u32 data;    /* OUT: the value. IN: the value is reply.data, the kernel merges it into RAX */
	__u32 reserved;
};

struct hwv_exit_mmio {
	__u64 gpa;
	__u64 data;    /* decoded write: the value */
	__u8 decoded;  /* 1: a plain MOV: user serves `size` bytes, the kernel completes. 0: user emulates `insn` with the registers */
	__u8 write;
	__u8 size;     /* decoded: 1, 2, 4, 8 */
	__u8 insn_len; /* valid bytes of insn; 0: they could not be fetched */
	__u8 insn[16];
	__u32 reserved;
};

struct hwv_exit_msr {
	__u32 index;
	__u32 reserved;
	__u64 data; /* write: the value. Read: the answer is reply.data. reply.flags HWV_REPLY_FAULT raises #GP instead */
};

struct hwv_exit_hypercall {
	__u64 nr;      /* RAX; reply.data is the result */
	__u64 args[4]; /* RBX RCX RDX RSI */
};

/*
 * HWV_EXIT_TASK_SWITCH: nothing of the switch has been done. User does it, on the registers and in guest memory, or sets `event`
 * to the exception that it raises. RIP is that of the instruction, and exit.next_rip the one behind it, where CALL, IRET, JMP or
 * INT n switches; an event that is no instruction has next_rip 0, and RIP is what it would save. RFLAGS.RF is as the old TSS gets it.
 */
struct hwv_exit_task_switch {
	__u16 selector;      /* of the new TSS */
	__u8 source;         /* enum hwv_task_source */
	__u8 event_type;     /* GATE: enum hwv_event_type of what was being delivered; the kernel has forgotten it */
	__u8 event_vector;
	__u8 has_error_code; /* of the event: goes on the new task's stack */
	__u8 reserved[2];
	__u32 error_code;
	__u32 reserved1;
};
enum hwv_task_source {
	HWV_TASK_CALL = 0,
	HWV_TASK_IRET = 1,
	HWV_TASK_JUMP = 2,
	HWV_TASK_GATE = 3, /* an event by a task gate of the IDT */
};

struct hwv_exit_error {
	__u32 code; /* enum hwv_error */
	__s32 code2;
	__u64 detail;
	__u8 insn[16];
};

#endif
