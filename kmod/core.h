/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core.h - door 2: what Linux asks of the C++ core. Results are 0 or a negative errno. Unless said otherwise: process
 * context, may sleep. linux/ has copied and size-checked every structure; the core checks what it says.
 */
#ifndef HWV_CORE_H
#define HWV_CORE_H

#include <linux/types.h>
#include "hwv.h"
#include "host.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hwv_core_vm;
struct hwv_core_vcpu;
struct hwv_core_ring; /* instrument/ring.hpp */
struct hwv_core_policy; /* instrument/policy.hpp */

/* ---- module ---- */
int hwv_core_init(void); /* looks at the CPU, chooses the backend. Never fails for a missing feature: see hwv_core_info().unusable */
void hwv_core_exit(void);
void hwv_core_info(struct hwv_info *out);
int hwv_core_supported_cpuid(struct hwv_cpuid_entry *out, __u32 *count); /* -E2BIG: *count is what is needed */

/* ---- a CPU enters and leaves the hypervisor's service ---- */
int hwv_core_cpu_prepare(__u32 cpu);  /* allocates what that CPU needs; idempotent */
void hwv_core_cpu_release(__u32 cpu); /* frees it */
/*
 * On the CPU, irqs off. Own: switches SVM/VMX on; -EBUSY: somebody else has it on. Ride: KVM has it on, and hwv changes nothing of
 * that; -ENODEV: it is off.
 */
int hwv_core_cpu_enable(enum hwv_tenure tenure);
/* on the CPU, irqs off, any state: also crash and kexec; no allocation, no lock. Riding: leaves SVM/VMX as it is */
void hwv_core_cpu_disable(void);

/* ---- VM ---- */
int hwv_core_vm_create(struct hwv_host_vm *host, const struct hwv_create_vm *request, struct hwv_core_vm **out);
void hwv_core_vm_destroy(struct hwv_core_vm *vm); /* after all its vCPUs */
int hwv_core_vm_set_memory(struct hwv_core_vm *vm, const struct hwv_memory *request); /* one caller at a time */
int hwv_core_vm_dirty_log(struct hwv_core_vm *vm, const struct hwv_dirty_log *request, __u64 *words /* kernel memory */);
int hwv_core_vm_msi(struct hwv_core_vm *vm, __u64 address, __u32 data); /* any context; vCPUs that accepted, or -EINVAL */
int hwv_core_vm_eoi_exits(struct hwv_core_vm *vm, const struct hwv_eoi_exits *request);
int hwv_core_vm_clock(struct hwv_core_vm *vm, struct hwv_clock *request);
void hwv_core_vm_ioevents(struct hwv_core_vm *vm, __u32 count); /* any context: how many ioeventfds there are */
/* from the MMU notifier: the host's mapping of [start, end) changes. Flushes before it returns. may_sleep: between 32 MiB and the next */
void hwv_core_vm_unmap_hva(struct hwv_core_vm *vm, __u64 start, __u64 end, int may_sleep);
int hwv_core_vm_age_hva(struct hwv_core_vm *vm, __u64 start, __u64 end, int clear); /* 1: accessed since */

/* ---- vCPU. The caller serializes all but interrupt, kick, timer, runnable per vCPU by a mutex ---- */
int hwv_core_vcpu_create(struct hwv_core_vm *vm, __u32 id, struct hwv_host_vcpu *host, struct hwv_run *run,
			 struct hwv_core_vcpu **out);
void hwv_core_vcpu_destroy(struct hwv_core_vcpu *vcpu);
/*
 * Called, and returns, with preemption off, registered with the preemption notifier; sleeps in between.
 * Loads the vCPU on `cpu`, where the thread is, and puts it in the end. Returns with irqs off.
 * `thread_flags`: any of HWV_THREAD_WORK is what hwv_host_entry_begin() would say now.
 */
int hwv_core_vcpu_run(struct hwv_core_vcpu *vcpu, __u32 cpu, const __u32 *thread_flags);
int hwv_core_vcpu_sync(struct hwv_core_vcpu *vcpu); /* loaded */
void hwv_core_vcpu_load(struct hwv_core_vcpu *vcpu, __u32 cpu); /* preemption off: the thread (again) runs on `cpu` */
/* irqs off: it leaves the CPU or the ioctl. `owner`: the memory that is current is the VM's, not an observer's. */
void hwv_core_vcpu_put(struct hwv_core_vcpu *vcpu, int owner);
int hwv_core_vcpu_set_cpuid(struct hwv_core_vcpu *vcpu, const struct hwv_cpuid_entry *entries, __u32 count);
int hwv_core_vcpu_msr(struct hwv_core_vcpu *vcpu, struct hwv_msr_entry *entry, int set); /* loaded; -EINVAL: refused */
int hwv_core_vcpu_apic_reg(struct hwv_core_vcpu *vcpu, struct hwv_apic_reg *request); /* loaded */
int hwv_core_vcpu_interrupt(struct hwv_core_vcpu *vcpu, const struct hwv_interrupt *request); /* any thread */
void hwv_core_vcpu_kick(struct hwv_core_vcpu *vcpu); /* any context */
void hwv_core_vcpu_timer(struct hwv_core_vcpu *vcpu); /* hard irq */
int hwv_core_vcpu_runnable(struct hwv_core_vcpu *vcpu); /* any context: a wait for events is over */
__u32 hwv_core_vcpu_mp_state(struct hwv_core_vcpu *vcpu); /* any context: enum hwv_mp_state */
void *hwv_core_vcpu_stats(struct hwv_core_vcpu *vcpu); /* by hwv_host_shared_alloc(HWV_STATS_BYTES), for the vCPU's life; NULL: none */


/* ---- observers ---- */
__u64 hwv_core_vm_serial(struct hwv_core_vm *vm); /* no other VM has it, or had; above those of older ones */
void hwv_core_vcpu_pause(struct hwv_core_vcpu *vcpu); /* any context: at its next boundary it calls hwv_host_vcpu_pause() */
int hwv_core_vcpu_asked(struct hwv_core_vcpu *vcpu);  /* any context: for something else than to pause */
void hwv_core_vcpu_kill(struct hwv_core_vcpu *vcpu);  /* any context: every HWV_RUN from now on returns -ESHUTDOWN */
/* Loaded: the groups of registers out, or in; bits of HWV_REGS_*. -EBUSY: in the midst of an instruction that left to user */
int hwv_core_vcpu_registers(struct hwv_core_vcpu *vcpu, struct hwv_regs *regs, __u32 groups, int set);
/* Guest-physical memory: the owner's address of gpa, and how many bytes follow in the same slot. -EFAULT: none is there */
int hwv_core_vm_find_memory(struct hwv_core_vm *vm, __u64 gpa, __u64 *hva, __u64 *bytes);
/* shared: hwv_host_shared_alloc(HWV_RING_HEADER + request->capacity * 64). age: of the observer; none of the VM's has that of another one */
int hwv_core_ring_create(void *shared, struct hwv_host_observer *observer, __u64 age, const struct hwv_ring_open *request,
			 struct hwv_core_ring **out);
void hwv_core_ring_destroy(struct hwv_core_ring *ring); /* no vCPU has it, nor had it since synchronize_rcu() */
void hwv_core_vcpu_set_ring(struct hwv_core_vcpu *vcpu, __u32 slot /* < HWV_MAX_OBSERVERS */, struct hwv_core_ring *ring /* or NULL */);
/* Policies, of the lowest age first. -EINVAL, -EOPNOTSUPP: bad_rule, bad_field */
int hwv_core_policy_create(const struct hwv_policy *request, const struct hwv_rule *rules, __u64 age,
			   struct hwv_core_policy **out, __u32 *bad_rule, __u32 *bad_field);
void hwv_core_policy_destroy(struct hwv_core_policy *policy); /* or NULL. As a ring's */
__u32 hwv_core_policy_read(const struct hwv_core_policy *policy, struct hwv_rule *rules /* HWV_MAX_RULES */,
			   struct hwv_rule_counts *counts); /* how many */
/* One caller at a time. Returns the one that was there, when every vCPU knows */
struct hwv_core_policy *hwv_core_vm_set_policy(struct hwv_core_vm *vm, __u32 slot, struct hwv_core_policy *policy /* or NULL */);
/* Exit programs: the table's entries in the order in which they run */
struct hwv_program_slot {
	struct hwv_host_program *program;
	struct hwv_program_counts *counts;
	__u64 reasons;
	__u64 age;      /* of the observer */
	__u32 observer; /* slot */
	__u32 reserved;
};
struct hwv_program_table {
	__u32 count;
	__u32 reserved;
	struct hwv_program_slot entries[HWV_MAX_PROGRAMS];
};
int hwv_core_can_make(__u64 reasons); /* -EINVAL: unknown ones, or none; -EOPNOTSUPP: this CPU cannot make exits of one of them */
/* One caller at a time. As with policies: the former table is unused when every vCPU knows and after synchronize_rcu() */
void hwv_core_vm_set_programs(struct hwv_core_vm *vm, const struct hwv_program_table *table /* or NULL */);
/* A vCPU that a rule or program of that observer's stopped (any context) */
int hwv_core_vcpu_stop_ends(struct hwv_core_vcpu *vcpu);
int hwv_core_vcpu_stopped(struct hwv_core_vcpu *vcpu, __u64 age, struct hwv_stop *out); /* 1: and has no reply yet */
int hwv_core_vcpu_go_on(struct hwv_core_vcpu *vcpu, __u64 age, const struct hwv_stop_reply *reply); /* -ESTALE, -EINVAL */
void hwv_core_vcpu_let_go(struct hwv_core_vcpu *vcpu, __u64 age); /* as after a time-out */

#ifdef __cplusplus
}
#endif
#endif
