/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_stats.h - what is always counted of every exit. Part of hwv.h.
 *
 * Times are in TSC cycles of the host, from the exit's TSC read to the next entry's; time halted, descheduled and in user is
 * not in them. The histogram's mass equals the count.
 */
#ifndef HWV_STATS_H
#define HWV_STATS_H

#include <linux/types.h>
#include "hwv_exit.h"

#define HWV_HISTOGRAM 32 /* bucket b: times of [2^b, 2^(b+1)), bucket 0 also 0, the last one everything above */

struct hwv_exit_stats {
	__u64 count;
	__u64 cycles;
	__u64 max_cycles;
	__u64 to_user; /* of count: left to user */
	__u32 histogram[HWV_HISTOGRAM];
};

/* Where a vCPU's time went; adjacent segments share one TSC read, so that they add up to last_tsc - first_tsc. */
struct hwv_time {
	__u64 guest;
	__u64 kernel;
	__u64 halted;
	__u64 descheduled;
	__u64 user;
	__u64 first_tsc;
	__u64 last_tsc;
	__u64 reserved;
};

/*
 * HWV_STATS (vCPU): a snapshot; exact while the vCPU does not run. `reasons` in: room; out: how many there are (HWV_EXIT_CPU_REASONS).
 */
struct hwv_stats {
	__u32 reasons;
	__u32 reserved;
	__u64 entries; /* guest entries */
	struct hwv_time time;
	__aligned_u64 exits; /* struct hwv_exit_stats[reasons] * */
};

#endif
