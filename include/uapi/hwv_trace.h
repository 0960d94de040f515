/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_trace.h - the ring of exit records that an observer maps, one per vCPU and observer. Part of hwv.h.
 *
 * The kernel writes records and then moves `head`; the reader takes them and then moves `tail` (both with release, read with
 * acquire). Record n is at index n % capacity, from HWV_RING_HEADER on. Nothing that a reader writes can harm more than his own ring.
 */
#ifndef HWV_TRACE_H
#define HWV_TRACE_H

#include <linux/types.h>

struct hwv_record {
	__u64 tsc_exit;
	__u64 tsc_entry;     /* of the entry that ended the exit; the time in between includes what `flags` says */
	__u64 rip;
	__u64 cr3;
	__u64 qualification; /* the vendor's: exit qualification, EXITINFO1 */
	__u64 key;           /* enum hwv_exit_reason says of what */
	__u64 data;          /* see below */
	__u32 sequence;      /* of this ring, from 0, counting dropped ones: a gap is what was dropped */
	__u8 reason;         /* enum hwv_exit_reason */
	__u8 flags;          /* HWV_RECORD_* */
	__u16 vcpu;
};
/*
 * data: IO: value out, or bytes << 32 for IN. MSR_READ: the value read; MSR_WRITE: written. CPUID: ECX before. HYPERCALL: its first argument. PAGE_FAULT:
 * enum hwv_record_fault bits. EXCEPTION: error code. CR_*, DR_ACCESS: value written. Others: 0.
 */
#define HWV_RECORD_CPL 0x03u         /* the guest's privilege level */
#define HWV_RECORD_TO_USER 0x04u     /* left to user and came back */
#define HWV_RECORD_HALTED 0x08u
#define HWV_RECORD_DESCHEDULED 0x10u
#define HWV_RECORD_STOPPED 0x20u     /* by an observer */
#define HWV_RECORD_RULED 0x40u       /* a rule or a program acted on it */
#define HWV_RECORD_UNFINISHED 0x80u  /* the vCPU ended before it entered again: tsc_entry is when */

enum hwv_record_fault { HWV_FAULT_WRITE = 1, HWV_FAULT_FETCH = 2, HWV_FAULT_PRESENT = 4, HWV_FAULT_WALK = 8 };

#define HWV_RING_HEADER 4096 /* bytes before the first record */
#define HWV_RING_VERSION 1

struct hwv_ring {
	__u32 version;      /* HWV_RING_VERSION */
	__u32 record_bytes; /* 64 */
	__u64 capacity;     /* records, a power of two */
	__u64 pad0[6];
	__u64 head;         /* records written since the ring was opened; only the kernel writes */
	__u64 matched;      /* exits that were to be recorded: head + dropped */
	__u64 dropped;      /* for want of room */
	__u64 blocked;      /* times that the vCPU waited for room */
	__u64 pad1[4];
	__u64 tail;         /* records that the reader is done with; only the reader writes */
	__u64 pad2[7];
};

#define HWV_RING_MIN 64       /* records */
#define HWV_RING_MAX (1 << 20)

/*
 * HWV_RING_OPEN (observer): opens a ring for one vCPU; mmap HWV_MAP(HWV_MAP_RING, vcpu) of HWV_RING_HEADER + capacity * 64 bytes, shared,
 * readable and writable. HWV_RING_CLOSE ends it, as does the end of the observer; a vCPU that waits for room goes on.
 * poll() of the observer says POLLIN while one of its rings has records; a reader that made room in a full ring calls it to let the vCPU go on
 * (HWV_OBSERVE_EVENTFD is for waiting alone). EEXIST: this observer has one. ENOENT: no such vCPU. EINVAL: unknown flags or reasons, capacity. ENOMEM.
 */
struct hwv_ring_open {
	__u32 vcpu;
	__u32 flags;    /* HWV_RING_* */
	__u64 capacity; /* records: a power of two, HWV_RING_MIN to HWV_RING_MAX */
	__u64 reasons;  /* bit per enum hwv_exit_reason below 64; ~0: all */
	__u32 every;    /* one of so many of them; 0 and 1: each */
	__u32 reserved;
};
#define HWV_RING_BLOCK (1U << 0)      /* a full ring stops the vCPU until there is room; without: drop and count */
#define HWV_RING_RULED_ONLY (1U << 1) /* only what a rule or a program of this observer says to record */

#endif
