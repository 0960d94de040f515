/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_program.h - exit programs: eBPF that looks at exits and decides them. Part of hwv.h; a program includes this header alone.
 *
 * A program is of type BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, SEC("raw_tp.w/hwv"), and finds a struct hwv_program_context at
 * args[0]. It runs in the vCPU's thread for the reasons that it was attached for, with preemption off, after the observers' rules; programs run in the
 * order of their attachment, each with a context of its own. What it leaves in the output part is checked as a whole: where
 * anything of it cannot be, nothing of it is taken. The verifier allows constant offsets only.
 */
#ifndef HWV_PROGRAM_H
#define HWV_PROGRAM_H

#include <linux/types.h>
#include "hwv_exit.h"
#include "hwv_policy.h"

#define HWV_MAX_PROGRAMS 8 /* of one VM, all observers together */

struct hwv_program_context {
	/* The exit. What a program writes here is lost. */
	__u64 vm;            /* hwv_vm_entry.id */
	__u32 vcpu;
	__u32 reason;        /* enum hwv_exit_reason, which says of what it has a key */
	__u64 key;
	__u64 data;          /* as in hwv_record */
	__u64 qualification; /* the CPU's: exit qualification, EXITINFO1 */
	__u64 rip;
	__u64 cr3;
	__u64 rflags;
	__u64 tsc;           /* the host's, at the exit */
	__u32 cpl;
	__u32 decided;       /* by a rule or a program before: what this one says is not asked for, but RECORD */
	/* In and out: registers by enum hwv_gpr_index. Those that `gprs` names are taken from here, before the action. */
	__u64 gpr[16];
	/* Out: all 0 when the program begins, which is to go on as without it. */
	__u32 action;        /* enum hwv_action; 0 is to pass */
	__u32 gprs;          /* bit per register */
	__u64 value[2];      /* HWV_ACTION_ANSWER: as in hwv_rule. HWV_ACTION_INJECT of a page fault: the address */
	__u32 vector;        /* HWV_ACTION_INJECT */
	__u32 error_code;
	__u32 flags;         /* HWV_PROGRAM_ERROR_CODE */
	__u32 ack;           /* not 0: counted as acked, so that a program can show that it ran to where it wrote this */
};
#define HWV_PROGRAM_ERROR_CODE (1U << 0)

/* Each run counts once, and once in what became of it: neither acted nor refused is passed. */
struct hwv_program_counts {
	__u64 runs;
	__u64 acted;   /* an action other than pass, or registers, were taken */
	__u64 refused; /* the output cannot be */
	__u64 acked;
};

/* Why HWV_PROGRAM_ATTACH refused. */
enum hwv_program_refusal {
	HWV_PROGRAM_OK = 0,
	HWV_PROGRAM_TYPE = 1,       /* no writable raw tracepoint program: EINVAL */
	HWV_PROGRAM_SLEEPABLE = 2,  /* EINVAL */
	HWV_PROGRAM_CONTEXT = 3,    /* it reaches beyond struct hwv_program_context: EINVAL */
	HWV_PROGRAM_TAIL_CALLS = 4, /* it has a map of programs to call, which nobody checks against the context: EINVAL */
	HWV_PROGRAM_REASONS = 5,    /* unknown or none: EINVAL; an exit that this CPU cannot make: EOPNOTSUPP */
	HWV_PROGRAM_ROOM = 6,       /* HWV_MAX_PROGRAMS: ENOSPC */
};

/*
 * HWV_PROGRAM_ATTACH (observer): from now on the program (an fd of bpf()) runs at exits of these reasons, which come to exist as by a rule without filters. With
 * HWV_PROGRAM_REPLACE it takes the place of program `id`, whoever attached that, and its counts: each exit is seen by one of the two, none by
 * both; when the call returns the other one runs no more. The program is held, its fd may be closed. The end of the observer detaches it. ENOENT: no such id. EBADF: no fd.
 * HWV_PROGRAM_DETACH (observer): by id, whoever of the VM's observers attached it; returns when it runs no more.
 */
struct hwv_program_attach {
	__s32 fd;
	__u32 flags;   /* HWV_PROGRAM_REPLACE */
	__u64 reasons; /* bit per enum hwv_exit_reason */
	__u64 id;      /* out; with HWV_PROGRAM_REPLACE in */
	__u32 refused; /* out: enum hwv_program_refusal */
	__u32 reserved;
};
#define HWV_PROGRAM_REPLACE (1U << 0)

/* HWV_PROGRAM_LIST (observer): those of all observers, in the order in which they run. count in: room; out: how many. E2BIG: not enough room. */
struct hwv_program_entry {
	__u64 id;
	__u64 reasons;
	__u32 bpf_id; /* as bpftool shows it */
	__u32 flags;  /* HWV_PROGRAM_MINE */
	char name[16];
	struct hwv_program_counts counts;
};
#define HWV_PROGRAM_MINE (1U << 0)
struct hwv_program_list {
	__u32 count;
	__u32 reserved;
	__aligned_u64 entries; /* struct hwv_program_entry * */
};

#endif
