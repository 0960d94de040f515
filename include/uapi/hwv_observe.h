/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_observe.h - watching and steering a VM from outside, by whoever may. Part of hwv.h.
 *
 * An observer is a file of its own. It holds the VM's memory of what happened (its statistics stay readable after the guest's end), but neither the guest nor
 * its owner. Its end undoes what it did: rings close, rules go, what it stopped or paused goes on.
 */
#ifndef HWV_OBSERVE_H
#define HWV_OBSERVE_H

#include <linux/types.h>

#define HWV_MAX_OBSERVERS 8 /* of one VM */

/* HWV_LIST_VMS (system): the VMs that the caller may observe, oldest first. count in: room; out: how many there are; E2BIG: not enough room. */
struct hwv_vm_entry {
	__u64 id; /* never used again until the module is unloaded */
	char name[32]; /* HWV_NAME_LEN */
	__u32 pid; /* of the owner, as the caller's PID namespace has it; 0: not in it */
	__u32 uid; /* of the owner, as the caller's user namespace has it */
	__u64 vcpus; /* bit per id */
	__u64 age_ns;
	__u32 state; /* HWV_VM_STATE_* */
	__u32 observers;
};
#define HWV_VM_STATE_PAUSED (1U << 0)
#define HWV_VM_STATE_KILLED (1U << 1)
#define HWV_LIST_ROOM 4096 /* entries that one call fills at most */
struct hwv_vm_list {
	__u32 count;
	__u32 reserved;
	__aligned_u64 entries; /* struct hwv_vm_entry * */
};

/*
 * HWV_ATTACH (system): returns a new observer fd (close-on-exec). Who may: the user that created the VM (effective uid), and CAP_SYS_ADMIN in
 * that user's namespace. ENOENT: no such VM. EPERM. ENOSPC: HWV_MAX_OBSERVERS. EINVAL: flags.
 */
struct hwv_attach {
	__u64 vm;    /* hwv_vm_entry.id */
	__u64 flags; /* 0 */
};

/* HWV_OBSERVE_INFO (observer): as in the list. Works after the VM's end: then vcpus is what it had and state says HWV_VM_STATE_ENDED. */
#define HWV_VM_STATE_ENDED (1U << 2)

/* Offsets for mmap: of an observer HWV_MAP(kind, vcpu); of a vCPU, which has the first two, HWV_MAP(kind, 0). */
#define HWV_MAP_RUN 0ULL   /* struct hwv_run, HWV_RUN_PAGE_SIZE; the owner's alone */
#define HWV_MAP_STATS 1ULL /* struct hwv_vcpu_stats, HWV_STATS_BYTES, read-only and shared; ENODATA: module parameter statistics=off */
#define HWV_MAP_RING 2ULL  /* see HWV_RING_OPEN */
#define HWV_MAP(kind, vcpu) (((kind) << 40) | ((__u64)(vcpu) << 32))

/*
 * HWV_PAUSE (observer): stops the vCPUs, each at an exit boundary, and returns when none runs the guest. HWV_RESUME: lets them go on, where no other observer has them paused. A paused VM can
 * be killed; its HWV_RUN returns EINTR for signals. Pausing twice is pausing once. EINTR: a signal while waiting; the VM is not paused by this call then.
 */

/* HWV_KILL (observer): for good: every HWV_RUN, under way or to come, returns ESHUTDOWN. */

/*
 * HWV_OBSERVE_REGS (observer): register groups of a vCPU that is paused, stopped, or not in HWV_RUN, as those of the run page. EBUSY: it runs. ENOENT.
 * With HWV_OBSERVE_SET the groups are taken over as a whole, validated as by HWV_RUN: EINVAL changes nothing. EBUSY also: HWV_REGS_GPR in the
 * midst of an instruction that left to the launcher. EOPNOTSUPP: HWV_REGS_CONTROL with PAE paging, on CPUs that keep its page directory pointers.
 */
struct hwv_observe_regs {
	__u32 vcpu;
	__u32 groups; /* HWV_REGS_* */
	__u32 flags;  /* HWV_OBSERVE_SET */
	__u32 bytes;  /* sizeof(struct hwv_regs) as the caller knows it */
	__aligned_u64 regs; /* struct hwv_regs * */
};
#define HWV_OBSERVE_SET (1U << 0)

/*
 * HWV_OBSERVE_MEMORY (observer): reads or (HWV_OBSERVE_SET) writes guest-physical memory, whether the guest runs or not. `done` says how many
 * bytes came before the first that has no memory behind it (then EFAULT where it is none at all). ESRCH: the owner's memory is gone.
 * HWV_DIRTY_LOG does not tell of what is written so.
 */
struct hwv_observe_memory {
	__u64 gpa;
	__u64 bytes;
	__aligned_u64 buffer;
	__u32 flags;
	__u32 reserved;
	__u64 done; /* out */
};

/*
 * HWV_OBSERVE_EVENTFD (observer): from now on this eventfd is signalled when poll() of the observer would begin to say something: a ring that was empty has
 * a record, a vCPU has stopped, the VM has ended; and at once where one of these is so already. Who was woken therefore takes records
 * until head is tail, also after he moved it, and stops until EAGAIN. It takes the place of the one before; fd -1: none. The fd may be
 * closed. EBADF: no fd. EINVAL: no eventfd, flags.
 */
struct hwv_observe_eventfd {
	__s32 fd;
	__u32 flags; /* 0 */
};

#endif
