/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv.h - the ioctl interface of /dev/hwv, version 1.
 *
 * Four kinds of file descriptor: /dev/hwv (system), VM (HWV_CREATE_VM), vCPU (HWV_CREATE_VCPU), observer (HWV_ATTACH). They may be
 * closed in any order. A VM belongs to the address space that created it: HWV_RUN, HWV_SET_MEMORY and every call that may touch guest
 * memory return EIO from any other one.
 *
 * Extensible structures: the kernel dispatches on direction, type and number of a request; _IOC_SIZE is the caller's size
 * of the structure. A longer structure whose unknown tail is not zero is refused with E2BIG, a shorter one is filled up
 * with zeros (in) or cut (out), one shorter than its first version is refused with EINVAL. Reserved fields and unknown flag bits that are not zero are refused with EINVAL.
 * Every call returns EFAULT for a bad pointer and ENOTTY for an unknown request. All calls may sleep.
 */
#ifndef HWV_H
#define HWV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HWV_ABI_VERSION 1

#define HWV_MAX_VCPUS 64       /* vCPUs of one VM, and the range of their ids */
#define HWV_MAX_SLOTS 512      /* memory slots of one VM */
#define HWV_MAX_CPUID 128      /* entries of a CPUID table */
#define HWV_MAX_MSRS 128       /* entries of one HWV_MSRS call */
#define HWV_MAX_EVENTFDS 512   /* irqfds, and as many ioeventfds, of one VM */
#define HWV_NAME_LEN 32        /* bytes of a VM's name, the final NUL included */

/* ---- system ---------------------------------------------------------------------------------------------------------- */

enum hwv_vendor { HWV_VENDOR_NONE = 0, HWV_VENDOR_INTEL = 1, HWV_VENDOR_AMD = 2 };

/*
 * How hwv came by the CPUs' SVM/VMX, decided by the first VM for all until the last one ends. Own: hwv switched it on; KVM gets
 * EBUSY (EIO from Linux 6.12 on) meanwhile. Ride: KVM has it on and hwv uses it beside KVM, never switching it.
 */
enum hwv_tenure { HWV_TENURE_NONE = 0, HWV_TENURE_OWN = 1, HWV_TENURE_RIDE = 2 };

/* Bits of hwv_info.features: what this CPU and host offer. */
#define HWV_FEATURE_NEXT_RIP (1ULL << 0)      /* the CPU tells instruction lengths */
#define HWV_FEATURE_DECODE_ASSIST (1ULL << 1) /* the CPU hands over instruction bytes */
#define HWV_FEATURE_FLUSH_BY_ASID (1ULL << 2)
#define HWV_FEATURE_TSC_SCALING (1ULL << 3)
#define HWV_FEATURE_PAUSE_FILTER (1ULL << 4)
#define HWV_FEATURE_2M_PAGES (1ULL << 5)
#define HWV_FEATURE_1G_PAGES (1ULL << 6)
#define HWV_FEATURE_VNMI (1ULL << 7)
#define HWV_FEATURE_CPU_TIMER (1ULL << 8) /* the CPU counts for the guest's APIC timer while the guest runs */
#define HWV_FEATURE_APICV (1ULL << 9) /* the CPU serves a local APIC in x2APIC mode, and delivers its interrupts */
#define HWV_FEATURE_POSTED_INTERRUPTS (1ULL << 10) /* those that come while it runs without an exit */

/* HWV_GET_INFO: what this module and this machine can do. Works without SVM/VMX too: `unusable` then says why. */
struct hwv_info {
	__u32 abi_version;  /* HWV_ABI_VERSION */
	__u32 vendor;       /* enum hwv_vendor */
	__u64 features;     /* HWV_FEATURE_* */
	__u32 unusable;     /* 0, or the enum hwv_unusable that HWV_CREATE_VM would fail with */
	__u32 phys_bits;    /* guest physical address width */
	__u32 tsc_khz;      /* frequency of the host's TSC as guests see it */
	__u32 max_vcpus;    /* HWV_MAX_VCPUS */
	__u32 max_slots;    /* HWV_MAX_SLOTS */
	__u32 xsave_bytes;  /* size of the HWV_XSAVE buffer */
	__u64 xcr0_mask;    /* bits a guest may set in XCR0 */
	__u32 tenure;       /* enum hwv_tenure: of the VMs that live now */
	__u32 reserved0;
	__u64 reserved[3];
};

/* Why this machine cannot run guests; the text is hwvctl's. */
enum hwv_unusable {
	HWV_USABLE = 0,
	HWV_UNUSABLE_NO_VIRT = 1,          /* no SVM, no VMX in CPUID */
	HWV_UNUSABLE_LOCKED = 2,           /* switched off by firmware: VM_CR.SVMDIS, IA32_FEATURE_CONTROL */
	HWV_UNUSABLE_NO_NESTED_PAGING = 3, /* no NPT, no EPT */
	HWV_UNUSABLE_BUSY = 4,             /* another hypervisor (KVM, VirtualBox) holds the CPUs */
	HWV_UNUSABLE_CONFIDENTIAL = 5,     /* SEV or TDX host configuration that hwv does not handle */
	HWV_UNUSABLE_NO_UNRESTRICTED = 6,  /* VMX without unrestricted guest */
	HWV_UNUSABLE_NO_CONTROL = 7,       /* VMX without another control that hwv needs: the kernel log names it */
};

/* One CPUID leaf as a guest sees it. */
struct hwv_cpuid_entry {
	__u32 leaf;
	__u32 subleaf;
	__u32 flags; /* HWV_CPUID_SUBLEAF */
	__u32 eax, ebx, ecx, edx;
	__u32 reserved;
};
#define HWV_CPUID_SUBLEAF (1U << 0) /* `subleaf` counts; without it the entry answers every subleaf */

/*
 * HWV_GET_CPUID (system): the default table: the host's leaves less what hwv does not offer, and KVM's paravirtual leaves at
 * 0x40000000. `count` in: room in entries; out: entries written. E2BIG: not enough room, `count` says how many there are.
 * HWV_SET_CPUID (vCPU): the vCPU's whole table, before its first HWV_RUN, else EBUSY. E2BIG above HWV_MAX_CPUID. Bits that the
 * host or hwv cannot back are the caller's risk: the kernel itself relies only on its own copy of what it supports.
 */
struct hwv_cpuid_table {
	__u32 count;
	__u32 reserved;
	__aligned_u64 entries; /* struct hwv_cpuid_entry * */
};

/*
 * HWV_CREATE_VM: returns a new VM fd (close-on-exec). The first VM decides on enum hwv_tenure for all until the last one ends:
 * without HWV_VM_RIDE hwv turns SVM/VMX on itself; with it, kvm_fd is a VM of KVM's (an empty one will do), which has it on, and
 * which hwv holds until its own last VM ends. Every later VM runs as the first one decided, with the flag or without.
 * ENODEV: see hwv_info.unusable; or no CPU for a rider: KVM does not have SVM/VMX on. EBUSY: a CPU has SVM/VMX on already, and
 * nothing to ride on was given: for KVM give kvm_fd, for others (VirtualBox, VMware) end them. EBADF: kvm_fd is no file.
 * EINVAL: it is no VM of KVM's, or not 0 without the flag; unknown flags; name not NUL-terminated; tsc_khz out of what CPUs scale
 * to. ENODEV also: a tsc_khz of its own without HWV_FEATURE_TSC_SCALING. Who gives one tells the guest of it himself, by leaves
 * 0x15, 0x16 and 0x40000010 of HWV_SET_CPUID.
 */
struct hwv_create_vm {
	__u64 flags;
	char name[HWV_NAME_LEN]; /* shown to observers; may be empty */
	__s32 kvm_fd;            /* with HWV_VM_RIDE */
	__u32 tsc_khz;           /* frequency of the guest's TSC, 1000 at least; 0: the host's (hwv_info.tsc_khz) */
	__u64 reserved[3];
};
#define HWV_VM_HLT_TO_USER (1ULL << 0)   /* HLT leaves to user (HWV_EXIT_HLT) rather than waiting in the kernel */
#define HWV_VM_MSR_TO_USER (1ULL << 1)   /* unknown MSRs leave to user rather than raising #GP */
#define HWV_VM_HYPERCALL_TO_USER (1ULL << 2) /* unknown hypercalls leave to user rather than returning -KVM_ENOSYS (-1000) */
#define HWV_VM_NO_APIC (1ULL << 3)       /* no local APIC in the kernel: interrupts only by HWV_INTERRUPT and the reply area */
#define HWV_VM_RIDE (1ULL << 4)          /* kvm_fd is given */

/* ---- VM -------------------------------------------------------------------------------------------------------------- */

/*
 * HWV_SET_MEMORY: creates, moves (other gpa), re-flags or, with size 0, deletes memory slot `slot`. hva, gpa and size are
 * multiples of 4096. The memory stays the caller's: it is paged in on demand, and follows munmap, madvise, fork, swap, KSM.
 * EINVAL: alignment, range, flags, or another size or hva for an existing slot. EEXIST: overlaps another slot. ENOENT: delete of an absent
 * slot. EINTR: a fatal signal, while another thread's change was under way. A refused change has changed nothing. Device memory (VM_PFNMAP without reference) is refused at the guest's access, not here.
 */
struct hwv_memory {
	__u32 slot;  /* < HWV_MAX_SLOTS */
	__u32 flags; /* HWV_MEMORY_* */
	__u64 gpa;   /* guest physical address, bytes */
	__u64 size;  /* bytes */
	__u64 hva;   /* caller's virtual address */
};
#define HWV_MEMORY_READONLY (1U << 0)  /* guest writes leave as HWV_EXIT_MMIO */
#define HWV_MEMORY_LOG_DIRTY (1U << 1) /* keep a dirty log for HWV_DIRTY_LOG */

/*
 * HWV_DIRTY_LOG: copies the dirty bits of pages [first, first + pages) of a slot that logs, one bit a page, and clears them. Logged is
 * what the guest wrote and what the kernel wrote for it (paravirtual clock). What the caller writes himself is not, as with KVM: not
 * before a run, nor where he completes an instruction that left to him, whose stores he has to add.
 * ENOENT: no such slot or it does not log. EINVAL: range beyond the slot, or first or pages no multiple of 64 (a last odd run up to the slot's end is allowed).
 */
struct hwv_dirty_log {
	__u32 slot;
	__u32 flags; /* 0 */
	__u64 first; /* page number inside the slot */
	__u64 pages;
	__aligned_u64 bitmap; /* __u64 *, (pages + 63) / 64 words */
};

/* HWV_CREATE_VCPU: returns a vCPU fd. mmap its first HWV_RUN_PAGE_SIZE bytes (shared) for struct hwv_run. EEXIST, EINVAL (id). */
struct hwv_create_vcpu {
	__u32 id; /* < HWV_MAX_VCPUS; also its initial APIC id. Id 0 starts running, the others wait for INIT/SIPI */
	__u32 flags; /* 0 */
};

/* HWV_CLOCK: the paravirtual clock's guest time, nanoseconds since VM start. With HWV_CLOCK_SET it is set, else read. */
struct hwv_clock {
	__u64 ns;
	__u32 flags;
	__u32 reserved;
};
#define HWV_CLOCK_SET (1U << 0)

/* ---- vCPU ------------------------------------------------------------------------------------------------------------ */

/* HWV_MSRS: reads or (HWV_MSRS_SET) writes guest MSRs as the guest would see them. Returns how many were done before the first refused one. */
struct hwv_msr_entry {
	__u32 index;
	__u32 reserved;
	__u64 value;
};
struct hwv_msrs {
	__u32 count; /* <= HWV_MAX_MSRS */
	__u32 flags;
	__aligned_u64 entries; /* struct hwv_msr_entry * */
};
#define HWV_MSRS_SET (1U << 0)

/* HWV_XSAVE: reads or sets the guest's FPU in the standard (not compacted) XSAVE format. EINVAL: size below hwv_info.xsave_bytes, bad XSTATE_BV or MXCSR. */
struct hwv_xsave {
	__u32 bytes;
	__u32 flags;
	__aligned_u64 buffer;
};
#define HWV_XSAVE_SET (1U << 0)

#include "hwv_event.h"
#include "hwv_exit.h"
#include "hwv_guest.h"
#include "hwv_observe.h"
#include "hwv_policy.h"
#include "hwv_program.h"
#include "hwv_run.h"
#include "hwv_stats.h"
#include "hwv_trace.h"

/* ---- requests -------------------------------------------------------------------------------------------------------- */

#define HWV_IOC 0xb7
#define HWV_GET_INFO _IOR(HWV_IOC, 0x00, struct hwv_info)
#define HWV_GET_CPUID _IOWR(HWV_IOC, 0x01, struct hwv_cpuid_table)
#define HWV_CREATE_VM _IOW(HWV_IOC, 0x02, struct hwv_create_vm)

#define HWV_LIST_VMS _IOWR(HWV_IOC, 0x03, struct hwv_vm_list)
#define HWV_ATTACH _IOW(HWV_IOC, 0x04, struct hwv_attach)

#define HWV_SET_MEMORY _IOW(HWV_IOC, 0x10, struct hwv_memory)
#define HWV_DIRTY_LOG _IOW(HWV_IOC, 0x11, struct hwv_dirty_log)
#define HWV_CREATE_VCPU _IOW(HWV_IOC, 0x12, struct hwv_create_vcpu)
#define HWV_MSI _IOW(HWV_IOC, 0x13, struct hwv_msi)
#define HWV_IRQFD _IOW(HWV_IOC, 0x14, struct hwv_irqfd)
#define HWV_IOEVENTFD _IOW(HWV_IOC, 0x15, struct hwv_ioeventfd)
#define HWV_EOI_EXITS _IOW(HWV_IOC, 0x16, struct hwv_eoi_exits)
#define HWV_CLOCK _IOWR(HWV_IOC, 0x17, struct hwv_clock)

#define HWV_RUN _IO(HWV_IOC, 0x20)  /* enters the guest until an exit for user: see struct hwv_run. EINTR: a signal. EBUSY: already running */
#define HWV_KICK _IO(HWV_IOC, 0x21) /* from any thread: the HWV_RUN under way, or else the next one, leaves with HWV_EXIT_KICKED */
#define HWV_SYNC_REGS _IO(HWV_IOC, 0x22) /* applies reply.dirty and fills reply.wanted without entering the guest */
#define HWV_SET_CPUID _IOW(HWV_IOC, 0x23, struct hwv_cpuid_table)
#define HWV_MSRS _IOWR(HWV_IOC, 0x24, struct hwv_msrs)
#define HWV_XSAVE _IOW(HWV_IOC, 0x25, struct hwv_xsave)
#define HWV_APIC_REG _IOWR(HWV_IOC, 0x26, struct hwv_apic_reg)
#define HWV_INTERRUPT _IOW(HWV_IOC, 0x27, struct hwv_interrupt)

#define HWV_OBSERVE_INFO _IOR(HWV_IOC, 0x30, struct hwv_vm_entry)
#define HWV_PAUSE _IO(HWV_IOC, 0x31)
#define HWV_RESUME _IO(HWV_IOC, 0x32)
#define HWV_KILL _IO(HWV_IOC, 0x33)
#define HWV_OBSERVE_REGS _IOW(HWV_IOC, 0x34, struct hwv_observe_regs)
#define HWV_OBSERVE_MEMORY _IOWR(HWV_IOC, 0x35, struct hwv_observe_memory)
#define HWV_RING_OPEN _IOW(HWV_IOC, 0x36, struct hwv_ring_open)
#define HWV_RING_CLOSE _IOW(HWV_IOC, 0x37, __u32)
#define HWV_POLICY_SET _IOWR(HWV_IOC, 0x38, struct hwv_policy)
#define HWV_POLICY_GET _IOWR(HWV_IOC, 0x39, struct hwv_policy)
#define HWV_STOP_GET _IOR(HWV_IOC, 0x3a, struct hwv_stop)
#define HWV_STOP_REPLY _IOW(HWV_IOC, 0x3b, struct hwv_stop_reply)
#define HWV_PROGRAM_ATTACH _IOWR(HWV_IOC, 0x3c, struct hwv_program_attach)
#define HWV_PROGRAM_DETACH _IOW(HWV_IOC, 0x3d, __u64)
#define HWV_PROGRAM_LIST _IOWR(HWV_IOC, 0x3e, struct hwv_program_list)
#define HWV_OBSERVE_EVENTFD _IOW(HWV_IOC, 0x3f, struct hwv_observe_eventfd)

#endif
