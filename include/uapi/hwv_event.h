/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_event.h - how events reach a guest: messages, eventfds, the local APIC, single events for a vCPU. Part of hwv.h.
 */
#ifndef HWV_EVENT_H
#define HWV_EVENT_H

#include <linux/types.h>

/* ---- of a VM --------------------------------------------------------------------------------------------------------- */

/*
 * HWV_MSI: delivers one message-signalled interrupt (address and data as in the Intel SDM, "Message Signalled Interrupts"; bits
 * 11:5 of the address are destination id bits 14:8, as KVM_FEATURE_MSI_EXT_DEST_ID). Returns the number of vCPUs that accepted.
 * EINVAL: reserved delivery mode, or the VM has no APIC.
 */
struct hwv_msi {
	__u64 address;
	__u32 data;
	__u32 flags; /* 0 */
};

/*
 * HWV_IRQFD: every signal of eventfd `fd` delivers the MSI. With HWV_IRQFD_RESAMPLE, `resample_fd` is signalled when a vCPU
 * ends (EOI) the MSI's vector. HWV_IRQFD_DEASSIGN removes by fd. EBADF, EINVAL, EBUSY (fd already used), ENOENT, ENOSPC.
 */
struct hwv_irqfd {
	__s32 fd;
	__s32 resample_fd;
	__u32 flags;
	__u32 data;
	__u64 address;
};
#define HWV_IRQFD_DEASSIGN (1U << 0)
#define HWV_IRQFD_RESAMPLE (1U << 1)

/*
 * HWV_IOEVENTFD: a guest write of `length` bytes (0: any) to `address` signals `fd` and does not leave to user. With
 * HWV_IOEVENTFD_DATAMATCH only a write of `datamatch`. EBADF, EINVAL, EEXIST, ENOENT, ENOSPC.
 */
struct hwv_ioeventfd {
	__u64 address;
	__u64 datamatch;
	__u32 length; /* 0, 1, 2, 4, 8 */
	__s32 fd;
	__u32 flags;
	__u32 reserved;
};
#define HWV_IOEVENTFD_DEASSIGN (1U << 0)
#define HWV_IOEVENTFD_PIO (1U << 1) /* a port, else a guest physical address */
#define HWV_IOEVENTFD_DATAMATCH (1U << 2)

/* HWV_EOI_EXITS: the vectors whose EOI, when delivered level-triggered, leaves as HWV_EXIT_EOI. */
struct hwv_eoi_exits {
	__u64 vectors[4]; /* bit v of 256 */
};

/* ---- of a vCPU ------------------------------------------------------------------------------------------------------- */

/* HWV_APIC_REG: reads or sets one 32-bit local APIC register as an access by the guest would, side effects included. EINVAL: offset no multiple of 16 or above 0xff0. */
struct hwv_apic_reg {
	__u32 offset;
	__u32 value;
	__u32 flags;
	__u32 reserved;
};
#define HWV_APIC_REG_SET (1U << 0)

/*
 * HWV_INTERRUPT: from any thread, wakes a halted vCPU. EXTINT: `vector` through LVT0/without APIC as soon as the guest can take
 * it (one is kept; EEXIST while one is pending); EXTINT_CANCEL takes it back. NMI: pends one. INIT, SIPI: as the bus messages.
 */
struct hwv_interrupt {
	__u32 kind; /* enum hwv_interrupt_kind */
	__u32 vector;
};
enum hwv_interrupt_kind {
	HWV_INTERRUPT_EXTINT = 0,
	HWV_INTERRUPT_EXTINT_CANCEL = 1,
	HWV_INTERRUPT_NMI = 2,
	HWV_INTERRUPT_INIT = 3,
	HWV_INTERRUPT_SIPI = 4,
};

#endif
