/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - everything that differs between the kernels that hwv builds for (6.1, 6.12, 7.2). The
 * other files of this room read as for one kernel. HWV_HAVE_* come from Kbuild, which looks into
 * the kernel's headers.
 */
#ifndef HWV_COMPAT_H
#define HWV_COMPAT_H

#include <linux/cpu.h>
#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/syscore_ops.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/nospec-branch.h>
#include <asm/reboot.h>
#include <asm/vmx.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#include <trace/events/ipi.h> /* smp_send_reschedule() traces from then on */
#endif

/* guest_{state,timing}_enter_irqoff() are in kvm_host.h; entry work moved house in 6.18. */
#if __has_include(<linux/entry-virt.h>)
#include <linux/entry-virt.h>
#else
#include <linux/entry-kvm.h>
#endif

#if __has_include(<asm/cpuid/api.h>) /* out of processor.h since 6.16 */
#include <asm/cpuid/api.h>
#endif

/* int, in later kernels bool */
typedef typeof(((struct mmu_notifier_ops *)NULL)->test_young(NULL, NULL, 0)) hwv_young_t;

#ifndef _PAGE_DEVMAP /* gone in 6.17 */
#define _PAGE_DEVMAP 0
#endif

/* What a generic netlink dump was asked with. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define hwv_dump_attrs(cb) (genl_info_dump(cb)->attrs)
#else
#define hwv_dump_attrs(cb) (genl_dumpit_info(cb)->attrs)
#endif

/* An eBPF program that may sleep in its helpers. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define hwv_bpf_sleepable(prog) ((prog)->sleepable)
#else
#define hwv_bpf_sleepable(prog) ((prog)->aux->sleepable)
#endif

static inline void hwv_eventfd_signal(struct eventfd_ctx *event)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(event);
#else
	eventfd_signal(event, 1);
#endif
}

static inline void hwv_hrtimer_setup(struct hrtimer *timer,
				     enum hrtimer_restart (*callback)(struct hrtimer *))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, callback, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer->function = callback;
#endif
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define hwv_vm_flags_set(vma, flags) vm_flags_set(vma, flags)
#define hwv_vm_flags_clear(vma, flags) vm_flags_clear(vma, flags)
#else
#define hwv_vm_flags_set(vma, flags) ((vma)->vm_flags |= (flags))
#define hwv_vm_flags_clear(vma, flags) ((vma)->vm_flags &= ~(flags))
#endif

/* One page of another process's, to be read or written: 1, or an error. */
static inline long hwv_pin_page(struct mm_struct *mm, unsigned long hva, bool write,
				struct page **page)
{
	unsigned int flags = write ? FOLL_WRITE : 0;
	long pinned;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	pinned = pin_user_pages_remote(mm, hva, 1, flags, page, NULL);
#else
	pinned = pin_user_pages_remote(mm, hva, 1, flags, page, NULL, NULL);
#endif
	mmap_read_unlock(mm);
	return pinned;
}

/* The thread that leaves the CPU still wants it. From 6.12 on one that sleeps may stay queued. */
static inline bool hwv_task_preempted(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return task_is_runnable(current);
#else
	return current->on_rq;
#endif
}

/* IBPB between guests is the kernel's choice (spectre_v2_user=); 6.15 renamed the feature bit. */
static inline bool hwv_wants_ibpb(void)
{
#ifdef X86_FEATURE_USE_IBPB
	return boot_cpu_has(X86_FEATURE_USE_IBPB);
#else
	return boot_cpu_has(X86_FEATURE_IBPB);
#endif
}

static inline bool hwv_wants_ibpb_on_exit(void)
{
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
	return boot_cpu_has(X86_FEATURE_IBPB_ON_VMEXIT);
#else
	return boot_cpu_has(X86_FEATURE_ENTRY_IBPB);
#endif
}

/*
 * L1TF: when to flush, on a CPU that has it. kvm_intel.vmentry_l1d_flush
 * decides that for KVM, and may be written at any time. Until it is loaded, or where it does
 * without EPT, l1tf= decides, as KVM would. Where neither is told, each entry counts.
 */
enum hwv_l1d_mode { HWV_L1D_NEVER, HWV_L1D_STALE, HWV_L1D_ALWAYS };

#if defined(HWV_HAVE_L1TF_VMX_MITIGATION) && defined(HWV_HAVE_L1TF_MITIGATION)
static inline enum hwv_l1d_mode hwv_l1d_mode(void)
{
	switch (l1tf_vmx_mitigation) {
	case VMENTER_L1D_FLUSH_NEVER:
	case VMENTER_L1D_FLUSH_NOT_REQUIRED:
		return HWV_L1D_NEVER;
	case VMENTER_L1D_FLUSH_COND:
		return HWV_L1D_STALE;
	case VMENTER_L1D_FLUSH_ALWAYS:
		return HWV_L1D_ALWAYS;
	default:
		break;
	}
	if (l1tf_mitigation == L1TF_MITIGATION_OFF)
		return HWV_L1D_NEVER;
	return l1tf_mitigation >= L1TF_MITIGATION_FULL ? HWV_L1D_ALWAYS : HWV_L1D_STALE;
}
#else
static inline enum hwv_l1d_mode hwv_l1d_mode(void)
{
	return cpu_mitigations_off() ? HWV_L1D_NEVER : HWV_L1D_ALWAYS;
}
#endif

#ifndef HWV_HAVE_GDS_UCODE_MITIGATED /* not told: neither are guests, which lock AVX then */
#define gds_ucode_mitigated() false
#endif

/* SSBD for a guest, where the kernel switches it for more than KVM's modules. */
#ifdef HWV_HAVE_X86_VIRT_SPEC_CTRL
#define hwv_virt_spec_ctrl(guest, to_guest) x86_virt_spec_ctrl(guest, to_guest)
#else
#define hwv_virt_spec_ctrl(guest, to_guest) ((void)(guest), (void)(to_guest))
#endif

/* The host's SPEC_CTRL, less what it sets for single threads; or where that is not told, with it. */
static inline u64 hwv_spec_ctrl_base(void)
{
#ifdef HWV_HAVE_X86_SPEC_CTRL_BASE
	return x86_spec_ctrl_base;
#else
	return raw_cpu_read(x86_spec_ctrl_current);
#endif
}

/* VMSCAPE: the next return to user of this CPU issues an IBPB. */
static __always_inline void hwv_ibpb_exit_to_user(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/*
 * Up to 6.17 the helper that serves pending work tells a KVM vCPU about a signal: it gets one that
 * nobody looks at, because all else that the helper does (task work, rseq, memcg throttling) is not
 * exported piece by piece.
 */
static inline int hwv_xfer_handle_work(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	return xfer_to_guest_mode_handle_work();
#else
	static struct kvm_run nobody_run;
	static struct kvm_vcpu nobody = { .run = &nobody_run };

	return xfer_to_guest_mode_handle_work(&nobody);
#endif
}

/* Suspend and resume of the last CPU: HWV_SYSCORE(name, suspend, resume) is what is registered. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define HWV_SYSCORE(name, on_suspend, on_resume)                                                   \
	static int name##_suspend(void *unused)                                                    \
	{                                                                                          \
		return on_suspend();                                                               \
	}                                                                                          \
	static void name##_resume(void *unused)                                                    \
	{                                                                                          \
		on_resume();                                                                       \
	}                                                                                          \
	static const struct syscore_ops name##_ops = { .suspend = name##_suspend,                  \
						       .resume = name##_resume };                  \
	static struct syscore name = { .ops = &name##_ops }
#define hwv_syscore_register(name) register_syscore(name)
#define hwv_syscore_unregister(name) unregister_syscore(name)
#else
#define HWV_SYSCORE(name, on_suspend, on_resume)                                                   \
	static struct syscore_ops name = { .suspend = on_suspend, .resume = on_resume }
#define hwv_syscore_register(name) register_syscore_ops(name)
#define hwv_syscore_unregister(name) unregister_syscore_ops(name)
#endif

/*
 * Crash: the one slot for who switches virtualization off on a CPU that is shot down, see
 * emergency.c. Kernels without it, or with one for KVM alone, look at CR4.VMXE themselves.
 */
#ifdef HWV_HAVE_CPU_EMERGENCY_REGISTER_VIRT_CALLBACK
#define hwv_emergency_take(callback) cpu_emergency_register_virt_callback(callback)
#define hwv_emergency_give(callback) cpu_emergency_unregister_virt_callback(callback)
#else
#define hwv_emergency_take(callback) ((void)(callback))
#define hwv_emergency_give(callback) ((void)(callback))
#endif

#endif
