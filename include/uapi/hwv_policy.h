/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_policy.h - which exits exist, and what happens at them. Part of hwv.h.
 *
 * A policy is an ordered list of rules of one observer. A rule for an exit that the guest would not make by itself (RDTSC, a CR3 load,
 * an exception ...) makes it exist, for what the rule's key range says. At an exit the rules of all observers are asked, oldest
 * observer first: every match counts, and the first one whose action is more than COUNT or RECORD decides.
 */
#ifndef HWV_POLICY_H
#define HWV_POLICY_H

#include <linux/types.h>

#define HWV_MAX_RULES 64 /* of one observer */

enum hwv_action {
	HWV_ACTION_COUNT = 0,  /* count, and go on as without the rule */
	HWV_ACTION_RECORD = 1, /* and write a record into the observer's rings */
	HWV_ACTION_ANSWER = 2, /* with value[], as if the CPU had answered; what would write, writes nothing */
	HWV_ACTION_SKIP = 3,   /* the instruction does nothing */
	HWV_ACTION_INJECT = 4, /* exception `vector` at the instruction, with error_code where flags say so */
	HWV_ACTION_STOP = 5,   /* the vCPU waits for the observer: HWV_STOP_GET */
};

/*
 * A rule. Filters that `flags` do not name match all. The key is what enum hwv_exit_reason has as key: port, MSR, leaf ... ANSWER's
 * value[]: RDTSC(P), RDPMC, MSR_READ, IN, HYPERCALL, CR_READ, DR read: value[0]. CPUID: EAX | EBX << 32, ECX | EDX << 32. String I/O is
 * not answered, but served as without the rule.
 *
 * ANSWER is for these reasons and for MSR_WRITE and CR_WRITE; SKIP for all instructions; INJECT for instructions, EXCEPTION, which becomes
 * another, and PAGE_FAULT, with vector 14 and CR2 from value[0] too; the rest for every reason. error_code: at most 0x7fff, and with
 * HWV_RULE_ERROR_CODE exactly where the exception has one. What a CPU cannot: Intel has no exits for reads of CR0 and CR4, and for writes
 * to them only where they change a bit. One debug register that is watched makes all of them exit.
 */
struct hwv_rule {
	__u32 reason; /* enum hwv_exit_reason */
	__u32 action; /* enum hwv_action */
	__u32 flags;  /* HWV_RULE_* */
	__u32 every;  /* with HWV_RULE_EVERY: one match of so many acts */
	__u8 cpl_mask; /* with HWV_RULE_CPL: bit per privilege level */
	__u8 vector;
	__u16 reserved;
	__u32 error_code;
	__u64 key_first, key_last;
	__u64 rip_first, rip_last;
	__u64 cr3; /* address bits 51:12 are compared */
	__u64 value[2];
};
#define HWV_RULE_CPL (1U << 0)
#define HWV_RULE_CR3 (1U << 1)
#define HWV_RULE_RIP (1U << 2)
#define HWV_RULE_KEY (1U << 3)
#define HWV_RULE_EVERY (1U << 4)
#define HWV_RULE_ERROR_CODE (1U << 5)

struct hwv_rule_counts {
	__u64 matched; /* exits that passed the filters but 1:N */
	__u64 acted;
};

/*
 * HWV_POLICY_SET (observer): replaces this observer's rules, on all vCPUs, each at an exit boundary; returns when all have them. count 0
 * removes. stop_timeout_ms: how long a stopped vCPU waits at most (0: HWV_STOP_TIMEOUT_MS); then it goes on as if the observer had said
 * pass. EINVAL: `bad_rule` and `bad_field` (byte offset in hwv_rule) say where. E2BIG: above HWV_MAX_RULES. EOPNOTSUPP: this CPU cannot make that
 * exit (bad_rule). Nothing has changed then.
 * HWV_POLICY_GET: this observer's rules and their counts; count in: room, out: how many (E2BIG: not enough room).
 */
struct hwv_policy {
	__u32 count;
	__u32 stop_timeout_ms;
	__u32 bad_rule, bad_field; /* out */
	__aligned_u64 rules;  /* struct hwv_rule * */
	__aligned_u64 counts; /* struct hwv_rule_counts *; GET only, may be 0 */
};
#define HWV_STOP_TIMEOUT_MS 10000

/* ---- a stopped vCPU -------------------------------------------------------------------------------------------------- */

enum hwv_stop_reply_action {
	HWV_STOP_PASS = 0,   /* as without the rule, with the registers as they are now */
	HWV_STOP_ANSWER = 1, /* as HWV_ACTION_ANSWER */
	HWV_STOP_SKIP = 2,
	HWV_STOP_INJECT = 3,
};

/*
 * HWV_STOP_GET (observer): the oldest stop of this observer's that has no reply; poll() says POLLPRI while there is one. EAGAIN: none. The vCPU's registers
 * and the guest's memory can be read and changed meanwhile (HWV_OBSERVE_REGS, HWV_OBSERVE_MEMORY).
 * HWV_STOP_REPLY: lets it go on. ESTALE: that stop is over (time-out, kick, death). EINVAL: action, vector.
 */
struct hwv_stop {
	__u64 id;
	__u32 vcpu;
	__u32 reason;
	__u64 key;
	__u64 data; /* as in hwv_record */
	__u64 rip;
	__u64 cr3;
	__u32 rule; /* index in the observer's policy; ~0: a program's */
	__u32 cpl;
};
struct hwv_stop_reply {
	__u64 id;
	__u32 action; /* enum hwv_stop_reply_action */
	__u8 vector;
	__u8 has_error_code;
	__u16 reserved;
	__u32 error_code;
	__u32 reserved1;
	__u64 value[2];
};

#endif
