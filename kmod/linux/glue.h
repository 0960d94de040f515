/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * glue.h - what the files of this room share: the two objects behind the fds, and who offers what
 * to whom.
 */
#ifndef HWV_GLUE_H
#define HWV_GLUE_H

#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcuwait.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "core.h"
#include "fpu.h"
#include "host.h"
#include "news.h"

#ifdef pr_fmt
#undef pr_fmt
#endif
#define pr_fmt(fmt) "hwv: " fmt

/*
 * A secondary MMU's view of the owner's: an answer of the page tables counts while no invalidation
 * crossed it.
 */
struct hwv_invalidation {
	spinlock_t lock; /* inside the core's memory lock */
	u64 sequence;    /* ended ones */
	u32 active;
	unsigned long start; /* hull of the active ones */
	unsigned long end;
};

/* eventfds of a VM: see irqfd.c, ioeventfd.c */
struct hwv_events {
	struct mutex lock;     /* serializes assign and deassign */
	spinlock_t irqfd_lock; /* irqfds; inside an eventfd's wait queue lock, irqs off */
	struct list_head irqfds;
	u32 irqfd_count;
	u32 resample_count;
	u32 ioevent_count;
	DECLARE_HASHTABLE(ioevents, 6);
};

struct hwv_host_vm {
	struct kref refs;  /* VM file, vCPU files: the VM itself */
	struct kref shell; /* the VM, and observers: this structure */
	struct list_head list; /* see registry.c */
	u64 id;
	char name[HWV_NAME_LEN];
	const struct cred *cred; /* the creator's: who may observe */
	struct pid *pid;
	u64 created; /* ns, of the monotonic clock */
	struct hwv_host_observer *observers[HWV_MAX_OBSERVERS]; /* by slot; lock */
	u64 observers_ever; /* lock */
	u64 rulings; /* how often rules were given or taken; lock */
	struct hwv_host_observer *keeper; /* one of the observers, or NULL; lock. See keeper.c */
	u64 keeper_age;
	struct mutex keeper_lock; /* of changes of its rules; outside lock */
	struct hwv_news news;
	struct hwv_program_table *programs; /* lock */
	u64 programs_ever; /* lock */
	u32 paused; /* bit per observer's slot; lock */
	bool killed, ended; /* lock */
	u64 vcpu_ids; /* bit per id; lock */
	struct mm_struct *mm; /* the owner's; mm_count is held, mm_users is not */
	struct hwv_core_vm *core;
	struct mmu_notifier notifier;
	struct hwv_invalidation invalidation;
	struct hwv_events events;
	struct mutex lock; /* vcpus, observers; inside mmap_lock: no user access under it */
	struct hwv_host_vcpu *vcpus[HWV_MAX_VCPUS];
};

enum { HWV_VCPU_IDLE, HWV_VCPU_RUNNING, HWV_VCPU_ASKED, HWV_VCPU_PAUSED };

struct hwv_host_vcpu {
	struct hwv_host_vm *vm;
	struct hwv_core_vcpu *core;
	struct mutex lock; /* every ioctl but HWV_RUN holds it */
	atomic_t user;     /* HWV_VCPU_*: who has the core's vCPU now */
	struct preempt_notifier preempt;
	bool held; /* the VM keeps this one paused; vm->lock */
	struct task_struct *displaced; /* the thread, while others have its CPU and it would go on; RCU */
	bool notified; /* preempt is registered, of the thread that has the vCPU */
	struct hrtimer timer;
	struct rcuwait wait;
	u32 poll_ns; /* how long a wait spins before it sleeps */
	struct hwv_fpu fpu;
	struct page *run_page;
};

struct hwv_observer_ring {
	struct hwv_ring *shared;
	struct hwv_core_ring *core;
	u64 bytes;
};

struct hwv_host_observer {
	struct hwv_host_vm *vm; /* its shell is held */
	u32 slot; /* in vm->observers */
	u64 age;  /* the older of two is asked first; who takes the slot of one that ended has another */
	bool busy; /* of a keeper: its rules are being changed; vm->lock */
	struct hwv_core_policy *policy; /* vm->lock */
	wait_queue_head_t wait;
	struct eventfd_ctx __rcu *event; /* or NULL; vm->lock */
	struct hwv_observer_ring rings[HWV_MAX_VCPUS]; /* vm->lock */
};

/*
 * One request: what it is called with is a copy of the caller's structure, cut or filled up to the
 * kernel's size.
 */
struct hwv_ioctl {
	unsigned int request;
	long (*call)(void *object, void *argument);
	bool owner; /* only from the address space that created the VM */
	bool tells; /* what is wrong with the structure, in the structure */
};

/* ioctl.c */
long hwv_ioctl(const struct hwv_ioctl *table, size_t entries, void *object, struct mm_struct *owner,
	       unsigned int request, unsigned long argument);

/* emergency.c */
int hwv_emergency_init(void);
void hwv_emergency_exit(void);
void hwv_emergency(void (*callback)(void)); /* in NMI context, on each CPU; null: no more. May sleep */

/* cpu.c */
int hwv_cpus_init(void);
void hwv_cpus_exit(void);
/* First: turns SVM/VMX on everywhere, or where it is given rides on kvm, a VM of KVM's, and holds it. */
int hwv_cpus_get(struct file *kvm);
void hwv_cpus_put(void);
enum hwv_tenure hwv_cpus_tenure(void);

/* kvm.c */
struct file *hwv_kvm_vm(int fd);

/* facts.c, speculation.c */
void hwv_facts_init(void);
void hwv_speculation_facts(struct hwv_host_facts *facts);

/* program.c: requests of an observer; and its end, with vm->lock */
long hwv_program_attach(void *observer, void *argument);
long hwv_program_detach(void *observer, void *argument);
long hwv_program_list(void *observer, void *argument);
void hwv_programs_detach(struct hwv_host_observer *observer);

/* registry.c */
void hwv_registry_add(struct hwv_host_vm *vm);
void hwv_registry_remove(struct hwv_host_vm *vm);
u32 hwv_registry_generation(void); /* another one since: VMs or vCPUs came or went */
void hwv_registry_changed(void);
struct hwv_host_vm *hwv_vm_find(u64 id);   /* with a reference of its shell; or NULL */
struct hwv_host_vm *hwv_vm_after(u64 id);  /* the same, of the next higher id */
bool hwv_may_observe(const struct hwv_host_vm *vm); /* the caller */
bool hwv_file_may_observe(const struct hwv_host_vm *vm, const struct file *file); /* who opened it */
void hwv_describe(struct hwv_host_vm *vm, struct hwv_vm_entry *entry);
long hwv_list_vms(void *unused, void *argument);
long hwv_attach(void *unused, void *argument);

/* observer.c */
int hwv_observer_open(struct hwv_host_vm *vm); /* takes over a reference of the shell, also when it fails */
int hwv_vm_hold(struct hwv_host_vm *vm); /* the VM itself, not only its shell; -ESRCH: it has ended. hwv_vm_put() */
int hwv_observer_join(struct hwv_host_observer *observer); /* vm->lock: takes a slot */
struct hwv_host_vcpu *hwv_lock_vcpu(struct hwv_host_vm *vm, u32 *id); /* with vm->lock, or an error */
void hwv_pause_locked(struct hwv_host_vm *vm, u32 slot); /* vm->lock, not ended; then, without it: */
static inline bool hwv_vcpu_stands(const struct hwv_host_vcpu *vcpu)
{
	return READ_ONCE(vcpu->vm->paused) || READ_ONCE(vcpu->held);
}
/* Until no vCPU, or not that one, runs the guest; with a reference of the VM; 0: however long. */
int hwv_pause_wait(struct hwv_host_vm *vm, const struct hwv_host_vcpu *only, unsigned int limit_ms);
void hwv_resume_locked(struct hwv_host_vm *vm, u32 slot); /* vm->lock */
int hwv_kill(struct hwv_host_vm *vm);

/* observer_ring.c, observer_access.c */
long hwv_ring_open(void *observer, void *argument);
long hwv_ring_close(void *observer, void *argument);
void hwv_rings_detach(struct hwv_host_observer *observer);
void hwv_rings_free(struct hwv_host_observer *observer);
long hwv_policy_set(void *observer, void *argument);
int hwv_rules_set(struct hwv_host_observer *observer, struct hwv_policy *request, const struct hwv_rule *rules);
long hwv_policy_get(void *observer, void *argument);
long hwv_stop_get(void *observer, void *argument);
long hwv_stop_reply(void *observer, void *argument);
bool hwv_any_stop(struct hwv_host_observer *observer); /* vm->lock */
void hwv_policy_detach(struct hwv_host_observer *observer); /* vm->lock; then synchronize_rcu(), then: */
void hwv_policy_free(struct hwv_host_observer *observer);
bool hwv_tell_of_stop(struct hwv_host_vm *vm, u64 age); /* false: there is nobody to tell */
long hwv_observe_regs(void *observer, void *argument);
/* limit_ms: to wait for a vCPU of a paused VM; 0: however long */
int hwv_read_regs(struct hwv_host_vm *vm, u32 vcpu, u32 groups, unsigned int limit_ms, struct hwv_regs *regs);
long hwv_observe_memory(void *observer, void *argument);

/* vm.c, vcpu.c */
void hwv_vm_shell_put(struct hwv_host_vm *vm);
long hwv_vm_create(void *unused, void *argument);
void hwv_vm_put(struct hwv_host_vm *vm);
long hwv_vcpu_create(void *vm, void *argument);
void hwv_vcpu_free(struct hwv_host_vcpu *vcpu);
void hwv_vcpu_load(struct hwv_host_vcpu *vcpu);
void hwv_vcpu_unload(struct hwv_host_vcpu *vcpu);
void hwv_vcpu_stays(struct hwv_host_vcpu *vcpu);

/* vmx.c */
u32 hwv_posted_vector(void);
void hwv_serve_interrupt(u32 vector); /* that an exit has taken */

/* ../vmx/interrupts.S */
void hwv_vmx_interrupt(unsigned long handler); /* irqs off: as the CPU would enter it */

/* host.c */
int hwv_map_shared(struct vm_area_struct *vma, void *memory, u64 bytes); /* all of a hwv_host_shared_alloc() */

/* vcpu_ioctl.c */
int hwv_vcpu_borrow(struct hwv_host_vcpu *vcpu); /* for one who is not its thread; -EBUSY: it runs; -EAGAIN: a request is under way. Returns what give_back wants */
void hwv_vcpu_give_back(struct hwv_host_vcpu *vcpu, int was);
int hwv_map_stats(struct hwv_host_vcpu *vcpu, struct vm_area_struct *vma);
extern const struct file_operations hwv_vcpu_fops;

/* thread.c */
void hwv_thread_init(struct hwv_host_vcpu *vcpu);

/* notifier.c */
int hwv_notifier_start(struct hwv_host_vm *vm);
void hwv_notifier_stop(struct hwv_host_vm *vm);

/* irqfd.c, ioeventfd.c */
int hwv_irqfd_module_init(void);
void hwv_irqfd_module_exit(void);
void hwv_events_init(struct hwv_host_vm *vm);
void hwv_events_release(struct hwv_host_vm *vm);
void hwv_ioeventfds_release(struct hwv_host_vm *vm);
long hwv_irqfd(void *vm, void *argument);
long hwv_ioeventfd(void *vm, void *argument);

#endif
