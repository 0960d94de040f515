// SPDX-License-Identifier: GPL-2.0-only
// Where the guest exits: a count for each RIP. `hwvctl prog attach` prints the top of `counts`.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "hwv_program.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} counts SEC(".maps");

SEC("raw_tp.w/hwv")
int rips(struct bpf_raw_tracepoint_args *args)
{
	struct hwv_program_context *exit = (void *)args->args[0];
	__u64 rip = exit->rip, one = 1, *count = bpf_map_lookup_elem(&counts, &rip);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&counts, &rip, &one, BPF_ANY);
	exit->ack = 1;
	return 0;
}
