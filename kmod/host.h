/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * host.h - door 1: what the C++ core asks of Linux. C functions, fixed-width types, opaque handles; implemented in linux/.
 * "Process" context means the owner's thread in an ioctl (may sleep, the VM's mm is current); "atomic": preemption or irqs off.
 */
#ifndef HWV_HOST_H
#define HWV_HOST_H

#include <linux/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hwv_host_vm;   /* linux/vm.c: file, mm, notifier, eventfds */
struct hwv_host_vcpu; /* linux/vcpu.c: file, thread, timer, FPU, wait queue */
struct hwv_host_observer; /* linux/observer.c: file, what it asked for */

/* ---- diagnostics (any context; log is rate-limited, `format` has at most two %llx) ---- */
void hwv_host_log(const char *format, __u64 a, __u64 b);
void hwv_host_bug(void); /* a broken invariant of hwv's own: BUG(). Unreachable by guests and users */

/* ---- kernel memory (process context; zeroed; charged to the caller's memcg). NULL, -ENOMEM when there is none ---- */
struct hwv_host_page {
	void *va;
	__u64 pa; /* without the host's encryption mask */
};
void *hwv_host_alloc(__u64 bytes);
void hwv_host_free(void *memory);
void *hwv_host_shared_alloc(__u64 bytes); /* may be mapped to user space, where it lives as long as it is mapped */
void hwv_host_shared_free(void *memory);
int hwv_host_pages_alloc(__u32 order, struct hwv_host_page *out);
void hwv_host_pages_free(const struct hwv_host_page *page, __u32 order); /* any context with irqs on */

/* ---- spin lock (irqs stay as they are; never taken from irq context) ---- */
struct hwv_host_lock {
	__u64 opaque[16];
};
void hwv_host_lock_init(struct hwv_host_lock *lock);
void hwv_host_lock_take(struct hwv_host_lock *lock);
void hwv_host_lock_release(struct hwv_host_lock *lock);
void hwv_host_give_way(void); /* process, no lock held: who waits for the CPU gets it */

/* ---- the owner's memory ---- */
int hwv_host_user_read(void *to, __u64 hva, __u32 bytes);   /* process; -EFAULT */
int hwv_host_user_write(__u64 hva, const void *from, __u32 bytes);
int hwv_host_user_read_atomic(void *to, __u64 hva, __u32 bytes); /* owner's thread, atomic: only what is present */
int hwv_host_user_read16_atomic(void *to, __u64 hva);  /* sixteen bytes of one page, the same and cheaper */
/*
 * The same for a walk of four levels of page tables that all lie in [hva, hva + size), which is guest-physical from `first` on.
 * entry: in the root, out the entry that maps `linear`; returns its shift (12, 21, 30), or -EFAULT where it does not get there.
 */
int hwv_host_user_walk_atomic(__u64 hva, __u64 size, __u64 first, __u64 linear, __u64 *entry);
int hwv_host_user_write_atomic(__u64 hva, const void *from, __u32 bytes);
int hwv_host_user_exchange8(__u64 hva, __u8 *value); /* process; -EFAULT; -EAGAIN: somebody writes it all the time */

struct hwv_host_fault {
	__u64 pfn;      /* host page frame that holds the hva */
	__u64 sequence; /* of the notifier, before the look-up */
	__u32 level;    /* largest host mapping around it: 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB */
	__u32 writable; /* the host PTE may be written */
	__u32 held;     /* a reference is held, for fault_done to drop */
	__u32 reserved;
};
/* Process. Pages in the hva. -EFAULT no mapping, -EINTR fatal signal, -EHWPOISON, -EPERM device memory */
int hwv_host_fault_in(struct hwv_host_vm *vm, __u64 hva, int write, struct hwv_host_fault *out);
/* Under the memory lock of the VM: true when an invalidation came after `sequence`: drop the page and start again. */
int hwv_host_fault_stale(struct hwv_host_vm *vm, __u64 sequence, __u64 hva);
void hwv_host_fault_done(const struct hwv_host_fault *fault, int written); /* any context: marks accessed (dirty), drops the reference */
void hwv_host_page_set_dirty(__u64 pfn); /* a leaf that the guest wrote goes away: atomic */

/* ---- this CPU ---- */
__u32 hwv_host_cpu(void);
__u32 hwv_host_cpu_count(void); /* possible CPUs */
void hwv_host_preempt_disable(void);
void hwv_host_preempt_enable(void);
void hwv_host_cpu_kick(__u32 cpu);      /* any context: makes a guest on `cpu` exit */
void hwv_host_cpu_post(__u32 cpu);      /* any context; facts.posted_vector: the guest on `cpu` takes what is posted for it, or it is nothing */
void hwv_host_cpu_kick_wait(__u32 cpu); /* irqs on: and returns after it did */
void hwv_host_call(__u32 cpu, void (*function)(void *argument), void *argument); /* irqs on: on that CPU, irqs off there; waits. Nothing where it is offline */
__u64 hwv_host_irq_save(void); /* any context */
void hwv_host_irq_disable(void); /* irqs on */
void hwv_host_irq_restore(__u64 flags);
int hwv_host_handle_work(void);  /* process: serves it. -EINTR: a signal */

/* ---- around a guest entry ---- */
/*
 * Preemption off. Turns irqs off; from here until entry_end() the CPU's time is the guest's (%guest). Nonzero: a signal, a
 * reschedule or other work waits for this thread; else the guest's FPU state is in the registers.
 */
int hwv_host_entry_begin(struct hwv_host_vcpu *vcpu);
void hwv_host_entry_end(struct hwv_host_vcpu *vcpu); /* turns irqs on: the one that ended the guest is taken now, on the guest's time */
void hwv_host_entry_end_by(struct hwv_host_vcpu *vcpu, __u32 vector); /* the exit took that interrupt from the APIC: its handler is called */
void hwv_host_guest_enter(void);  /* irqs off: RCU's accounting; from here to guest_exit noinstr */
void hwv_host_guest_exit(void);
void hwv_host_machine_check(void); /* irqs off: the one that ended the guest, to the host's handler */

/* ---- the vCPU's thread ---- */
void hwv_host_vcpu_may_sleep(struct hwv_host_vcpu *vcpu); /* preemption on; a scheduler that takes the thread off the CPU puts the vCPU first */
int hwv_host_vcpu_yield_to(struct hwv_host_vcpu *vcpu); /* process: the CPU is that one's, if its thread waits for one. 1: it was */
int hwv_host_vcpu_block(struct hwv_host_vcpu *vcpu); /* process: sleeps until hwv_core_vcpu_runnable(); -EINTR */
/*
 * Process: leaves the vCPU, which is loaded, to observers until none has the VM paused (0) or something but to pause is asked
 * of it (1); -EINTR: a signal.
 */
int hwv_host_vcpu_pause(struct hwv_host_vcpu *vcpu);
/* The same until hwv_core_vcpu_stop_ends(), but for so long at most; the observer of that age is told. */
void hwv_host_vcpu_stop(struct hwv_host_vcpu *vcpu, __u64 age, __u32 timeout_ms);
void hwv_host_observer_wake(struct hwv_host_observer *observer); /* any context: poll() has something to say */
/* Of what subscribers are told, a little later and with a count. The vCPU's thread, atomic, no irq */
void hwv_host_tell_triple_fault(struct hwv_host_vcpu *vcpu, __u32 id, __u64 rip);
struct hwv_host_hit {
	__u64 holder; /* age of the policy, see hwv_core_policy_create() */
	__u64 key, rip;
	__u32 vcpu, reason;
	__u32 rule, count; /* the first one's index, and how many acted */
};
void hwv_host_tell_hit(struct hwv_host_vm *vm, const struct hwv_host_hit *hit);
void hwv_host_tell_drop(struct hwv_host_observer *observer, __u32 vcpu); /* a record had no room in his ring */
void hwv_host_vcpu_wake(struct hwv_host_vcpu *vcpu); /* any context */
void hwv_host_timer_start(struct hwv_host_vcpu *vcpu, __u64 ns); /* atomic: one shot from now; hwv_core_vcpu_timer() in irq context */
void hwv_host_timer_cancel(struct hwv_host_vcpu *vcpu); /* irqs on: and waits for a callback under way */

/* ---- exit programs (the vCPU's thread, host state whole, preemption off) ---- */
struct hwv_host_program; /* linux/program.c: a verified eBPF program */
struct hwv_program_context;
void hwv_host_program_run(struct hwv_host_program *program, struct hwv_program_context *context);

/* ---- time (any context) ---- */
__u64 hwv_host_boot_ns(void); /* CLOCK_BOOTTIME-like, monotonic, on the base of the TSC where the host uses it */
__u64 hwv_host_wall_ns(void);
__u32 hwv_host_tsc_khz(void);
int hwv_host_tsc_stable(void); /* the CPUs' TSCs are one clock; may cease, never comes back */
__u64 hwv_host_steal_ns(void); /* this thread: time runnable but not running */

/* ---- eventfds (owner's thread, atomic) ---- */
int hwv_host_ioevent(struct hwv_host_vm *vm, int port, __u64 address, __u32 bytes, __u64 data); /* 1: taken */
void hwv_host_resample(struct hwv_host_vm *vm, __u8 vector); /* signals resample fds of irqfds with that vector */

/* ---- tracepoints (RCU watches, preemption or irqs off): linux/trace.h. Called only while one is on, see core/trace.hpp ---- */
struct hwv_trace_at {
	struct hwv_host_vm *vm;
	__u64 rip;
	__u32 vcpu;
	__u32 reserved;
};
struct hwv_trace_exit {
	__u64 raw_reason;
	__u64 info[2];
	__u32 reason;
	__u32 reserved;
};
struct hwv_trace_inject {
	__u8 type; /* enum hwv_event_type */
	__u8 vector;
	__u8 has_error;
	__u8 reserved;
	__u32 error_code;
};
struct hwv_trace_cpuid {
	__u32 leaf, subleaf, eax, ebx, ecx, edx;
};
struct hwv_exit_io;
void hwv_host_trace_exit(const struct hwv_trace_at *at, const struct hwv_trace_exit *exit);
void hwv_host_trace_entry(const struct hwv_trace_at *at);
void hwv_host_trace_inject(const struct hwv_trace_at *at, const struct hwv_trace_inject *event);
void hwv_host_trace_page_fault(const struct hwv_trace_at *at, __u64 address, __u64 error_code);
void hwv_host_trace_cpuid(const struct hwv_trace_at *at, const struct hwv_trace_cpuid *cpuid);
void hwv_host_trace_msr(const struct hwv_trace_at *at, __u32 index, __u64 data, int write, int exception);
void hwv_host_trace_pio(const struct hwv_trace_at *at, const struct hwv_exit_io *io, __u32 data);
void hwv_host_trace_mmio(const struct hwv_trace_at *at, __u32 type, __u32 bytes, __u64 gpa, __u64 data);
void hwv_host_trace_hypercall(const struct hwv_trace_at *at, const __u64 *words /* nr and four arguments */);
void hwv_host_trace_userspace_exit(const struct hwv_trace_at *at, __u32 reason, int error);

/* ---- VMX only ---- */
int hwv_host_vmxe(int on); /* irqs off: CR4.VMXE of this CPU. -EOPNOTSUPP: this kernel keeps it for KVM */
struct hwv_host_segments { /* selectors of the thread's that VM exits do not load back */
	union {
		struct {
			__u16 ds, es, fs, gs;
		};
		__u64 selectors; /* all four */
	};
	__u64 ldt;
};
void hwv_host_segments_restore(const struct hwv_host_segments *segments); /* irqs off; and the limit of the TSS */
int hwv_host_l1d_flush(int stale); /* irqs off, before an entry: whether to flush. stale: the thread or the core brought data into the cache since */

/* ---- SVM only ---- */
void hwv_host_virt_spec_ctrl(__u64 guest, int to_guest); /* irqs off, around an entry; only with HWV_SPEC_VIRT_SSBD */

/* ---- facts that do not change after load ---- */
struct hwv_host_facts {
	__u64 sme_mask;     /* to be ORed into every physical address that the CPU reads */
	__u64 xcr0;         /* host's XCR0 */
	__u64 xcr0_guest;   /* what guests may set in XCR0 */
	__u32 xsave_bytes;
	__u32 phys_bits;
	__u32 speculation;  /* HWV_SPEC_* */
	__u32 nx_huge_pages; /* iTLB multihit: no 2M/1G leaf may be executable */
	__u64 spec_ctrl;    /* host's SPEC_CTRL between kernel instructions */
	__u64 arch_capabilities; /* IA32_ARCH_CAPABILITIES for guests */
	/* CPUID bits that say what the CPU is not vulnerable to, and that the kernel knows although the CPU's own leaf may not */
	__u32 cpuid_ext8_ebx;  /* 0x80000008 */
	__u32 cpuid_ext21_eax; /* 0x80000021 */
	__u32 cpuid_ext21_ecx;
	__u32 cpu_timer;    /* a timer of the CPU's may count for guests */
	__u32 posted_vector; /* its handler only acknowledges: to notify guests with. 0: none */
	__u32 apicv;        /* the CPU may work on guests' local APICs */
	__u64 direct_map;   /* kernel virtual address of physical address 0 */
	__u32 paging_levels; /* of the host's own page tables, 4 or 5: NPT walks as many */
	__u32 statistics; /* exits are counted */
};
#define HWV_SPEC_IBPB (1U << 0)         /* IBPB exists and is wanted when another VM's vCPU comes to a CPU */
#define HWV_SPEC_CTRL (1U << 1)         /* SPEC_CTRL exists: swap around the guest */
#define HWV_SPEC_VIRT_SPEC_CTRL (1U << 2) /* the CPU switches SPEC_CTRL by itself (V_SPEC_CTRL) */
#define HWV_SPEC_SSBD (1U << 3)
#define HWV_SPEC_L1D_FLUSH (1U << 4)
#define HWV_SPEC_IBPB_ON_EXIT (1U << 5) /* IBPB before return to user after a guest (VMSCAPE, SRSO) */
#define HWV_SPEC_STIBP (1U << 6)
#define HWV_SPEC_VIRT_SSBD (1U << 7) /* AMD without SSBD in SPEC_CTRL: the kernel switches it for a guest (VIRT_SPEC_CTRL) */
const struct hwv_host_facts *hwv_host_facts(void);

#ifdef __cplusplus
}
#endif
#endif
