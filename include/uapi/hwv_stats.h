/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_stats.h - what is always counted of every exit, as a page group that observers and launchers map. Part of hwv.h.
 *
 * Times are in TSC cycles of the host, from the exit's TSC read to the next entry's; time halted, descheduled, in user and
 * stopped is not in them. One writer, the vCPU's thread: a reader takes `entries` before and after what it copies, and copies again
 * where it moved. An exit is counted when its record closes, at the next entry: the one under way is `open_*`, and N exits
 * are the counts and the open one.
 */
#ifndef HWV_STATS_H
#define HWV_STATS_H

#include <linux/types.h>
#include "hwv_exit.h"

#define HWV_HISTOGRAM 64  /* bucket b: times of [2^b, 2^(b+1)), bucket 0 also 0 */
#define HWV_KEY_WAYS 4    /* a key lies in one set of so many slots */
#define HWV_KEY_SETS 64
#define HWV_KEY_SLOTS (HWV_KEY_SETS * HWV_KEY_WAYS)

struct hwv_exit_stats {
	__u64 count;
	__u64 cycles;
	__u64 max_cycles;
	__u64 to_user; /* of count: left to user */
	__u64 histogram[HWV_HISTOGRAM]; /* its mass is count */
};

/* What a vCPU's life is cut into; index of hwv_vcpu_stats.segment. */
enum hwv_segment_kind {
	HWV_TIME_GUEST = 0,
	HWV_TIME_KERNEL = 1,      /* the exits' own time, whose stretches are under exit[], and HWV_RUN's around them: cycles alone */
	HWV_TIME_HALTED = 2,
	HWV_TIME_DESCHEDULED = 3, /* in HWV_RUN, but off the CPU */
	HWV_TIME_USER = 4,        /* between two HWV_RUNs */
	HWV_TIME_STOPPED = 5,     /* by an observer */
	HWV_TIME_SEGMENTS = 6,
};

/* Adjacent stretches share one TSC read, so that all segments add up to last_tsc - first_tsc. */
struct hwv_segment_stats {
	__u64 cycles;
	__u64 count;      /* stretches; not of GUEST, whose are `entries` less the one under way */
	__u64 max_cycles;
	__u64 histogram[HWV_HISTOGRAM]; /* of stretches; its mass is count */
};

/*
 * One sub-key: a port, an MSR, a CPUID leaf, see hwv_key in hwv_exit.h. The hot ones stay, a rare one may give its slot to another:
 * what the slots of a reason lack of its count is "other", exactly.
 */
struct hwv_key_stats {
	__u64 tag;   /* reason << 56 | the key's low 56 bits; 0: free */
	__u64 count;
};

#define HWV_STATS_VERSION 1
struct hwv_vcpu_stats {
	__u32 version;     /* HWV_STATS_VERSION */
	__u32 reasons;     /* HWV_EXIT_CPU_REASONS */
	__u64 entries;     /* guest entries */
	__u64 first_tsc, last_tsc;
	__u64 open_reason; /* enum hwv_exit_reason of the exit under way; HWV_EXIT_NONE: the guest runs, or has not run */
	__u64 open_cycles; /* its own time up to last_tsc */
	__u64 reserved[2];
	struct hwv_segment_stats segment[HWV_TIME_SEGMENTS];
	struct hwv_exit_stats exit[HWV_EXIT_CPU_REASONS];
	struct hwv_key_stats key[HWV_KEY_SLOTS];
};
#define HWV_STATS_BYTES 32768 /* to be mapped, read-only and shared */

#endif
