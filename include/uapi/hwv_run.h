/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_run.h - the page that the kernel and a vCPU's launcher share. Part of hwv.h.
 *
 * Three areas. `exit`: only the kernel writes, it never reads it back. `reply`: only the user writes; the kernel copies it once
 * at the start of HWV_RUN and HWV_SYNC_REGS. `regs`: groups; the kernel fills those in reply.wanted (and those that the exit
 * itself needs, see regs.valid), and at the next HWV_RUN takes over those in reply.dirty, each as a whole and validated: a value that
 * the CPU would refuse gives EINVAL and changes nothing. Taking over HWV_REGS_GPR says that the user has completed the
 * instruction that exited, or wants it executed (again): reply.data is then not used. Taking over HWV_REGS_CONTROL with PAE paging reads the
 * four page directory pointers at cr3, on CPUs that keep them: those that the CPU would refuse, or all where no memory is there
 * yet, are not present until a control register is written again. All other memory of the page is reserved and zero.
 */
#ifndef HWV_RUN_H
#define HWV_RUN_H

#include <linux/types.h>
#include "hwv_exit.h"

#define HWV_RUN_PAGE_SIZE 4096

/* Index of regs.gpr: the numbers of the instruction encoding. */
enum hwv_gpr_index {
	HWV_RAX, HWV_RCX, HWV_RDX, HWV_RBX, HWV_RSP, HWV_RBP, HWV_RSI, HWV_RDI,
	HWV_R8, HWV_R9, HWV_R10, HWV_R11, HWV_R12, HWV_R13, HWV_R14, HWV_R15, HWV_GPRS,
};

/* Index of regs.segment: ES..GS as encoded, then the system segments. */
enum hwv_segment_index { HWV_ES, HWV_CS, HWV_SS, HWV_DS, HWV_FS, HWV_GS, HWV_LDTR, HWV_TR, HWV_SEGMENTS };

/* attributes: type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11, unusable 12; limit is in bytes, the granularity applied. */
struct hwv_segment {
	__u64 base;
	__u32 limit;
	__u16 selector;
	__u16 attributes;
};

struct hwv_table {
	__u64 base;
	__u32 limit; /* <= 0xffff */
	__u32 reserved;
};

/* Groups of registers: bits of reply.dirty, reply.wanted, regs.valid. */
#define HWV_REGS_GPR (1U << 0)     /* gpr, rip, rflags */
#define HWV_REGS_SEGMENT (1U << 1) /* segment, gdtr, idtr */
#define HWV_REGS_CONTROL (1U << 2) /* cr0..xcr0, apic_base */
#define HWV_REGS_DEBUG (1U << 3)   /* dr */
#define HWV_REGS_EVENT (1U << 4)   /* event */
#define HWV_REGS_ALL 0x1fU

enum hwv_mp_state {
	HWV_MP_RUNNING = 0,
	HWV_MP_HALTED = 1,
	HWV_MP_WAIT_SIPI = 2, /* after INIT */
	HWV_MP_SHUTDOWN = 3,  /* after a triple fault: HWV_RUN repeats the exit until registers or INIT change it */
};

/* An event on its way into the guest, as the Intel SDM's interruption-information field and the APM's EVENTINJ describe it. */
enum hwv_event_type { HWV_EVENT_NONE = 0, HWV_EVENT_INTERRUPT = 1, HWV_EVENT_NMI = 2, HWV_EVENT_EXCEPTION = 3, HWV_EVENT_SOFTWARE = 4 };

struct hwv_event_state {
	__u8 type;            /* enum hwv_event_type: to be delivered at the next entry; INTERRUPT wants RFLAGS.IF set, as when it was taken */
	__u8 vector;
	__u8 has_error_code;
	__u8 length;          /* SOFTWARE: instruction length */
	__u32 error_code;
	__u8 nmi_pending;     /* 0..2 */
	__u8 nmi_blocked;     /* between NMI and IRET */
	__u8 shadow;          /* HWV_SHADOW_* */
	__u8 mp_state;        /* enum hwv_mp_state */
	__u8 reserved[4];
};
#define HWV_SHADOW_STI 1
#define HWV_SHADOW_MOV_SS 2

struct hwv_regs {
	__u32 valid; /* groups below that hold the guest's values */
	__u32 reserved;
	__u64 gpr[HWV_GPRS];
	__u64 rip;
	__u64 rflags;
	struct hwv_segment segment[HWV_SEGMENTS];
	struct hwv_table gdtr;
	struct hwv_table idtr;
	__u64 cr0, cr2, cr3, cr4, cr8, efer, xcr0, apic_base;
	__u64 dr[4];
	__u64 dr6, dr7;
	struct hwv_event_state event;
};

struct hwv_exit {
	__u32 reason;      /* enum hwv_exit_reason */
	__u32 flags;       /* HWV_EXIT_FLAG_* */
	__u64 rip;         /* of the instruction that exited */
	__u64 next_rip;    /* of the one after it; 0 where not known */
	__u64 rflags;
	__u64 cr8;         /* the guest's TPR bits 7:4 */
	__u64 raw_reason;  /* vendor's exit code; for instruments, not for control */
	__u64 raw_info[2]; /* qualification / EXITINFO1, guest-physical address / EXITINFO2 */
	__u64 sequence;    /* exits to user of this vCPU so far */
	union {
		struct hwv_exit_io io;
		struct hwv_exit_mmio mmio;
		struct hwv_exit_msr msr;
		struct hwv_exit_hypercall hypercall;
		struct hwv_exit_task_switch task;
		struct hwv_exit_error error;
		__u32 eoi_vector;
		__u64 invalid_rule; /* HWV_EXIT_INVALID_STATE */
		__u64 words[8];
	};
};
#define HWV_EXIT_FLAG_INTERRUPTIBLE (1U << 0) /* an ExtINT would be taken now: IF=1, no shadow, none pending */
#define HWV_EXIT_FLAG_IF (1U << 1)

struct hwv_reply {
	__u32 flags; /* HWV_REPLY_* */
	__u32 dirty; /* HWV_REGS_*: groups of regs to take over */
	__u32 wanted; /* HWV_REGS_*: groups of regs to fill at the next exit to user */
	__u8 extint_vector; /* with HWV_REPLY_EXTINT */
	__u8 reserved[3];
	__u64 data; /* answer of an IN, decoded MMIO read, RDMSR, hypercall */
	__u64 cr8;  /* with HWV_REPLY_CR8: TPR bits 7:4 (for VMs without APIC) */
};
#define HWV_REPLY_FAULT (1U << 0)            /* raise #GP(0) (MSR) instead of completing */
#define HWV_REPLY_INTERRUPT_WINDOW (1U << 1) /* leave with HWV_EXIT_INTERRUPT_WINDOW as soon as an ExtINT could be taken */
#define HWV_REPLY_EXTINT (1U << 2)           /* inject extint_vector now; EAGAIN where exit.flags did not say INTERRUPTIBLE */
#define HWV_REPLY_CR8 (1U << 3)

struct hwv_run {
	struct hwv_exit exit;
	__u64 pad0[15];
	struct hwv_reply reply;
	__u64 pad1[12];
	struct hwv_regs regs;
};

#endif
