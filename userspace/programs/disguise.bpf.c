// SPDX-License-Identifier: GPL-2.0-only
// One process of the guest, told by its CR3, sees another processor: CPUID leaf 0x40000000 shows no
// hypervisor, and its time stamp counter takes a step of 100 whenever it looks. Set the page of its tables by
//   bpftool map update name disguised key 0 0 0 0 value ...
// As it is, all zero bits, it is for a guest that has not turned paging on.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "hwv_program.h"

char LICENSE[] SEC("license") = "GPL";

struct disguise {
	__u64 cr3; /* bits 51:12 */
	__u64 tsc; /* what it was told last */
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct disguise);
} disguised SEC(".maps");

#define CR3_ADDRESS 0x000ffffffffff000ull

SEC("raw_tp.w/hwv")
int disguise(struct bpf_raw_tracepoint_args *args)
{
	struct hwv_program_context *exit = (void *)args->args[0];
	__u32 zero = 0;
	struct disguise *who = bpf_map_lookup_elem(&disguised, &zero);

	exit->ack = 1;
	if (!who || (exit->cr3 ^ who->cr3) & CR3_ADDRESS)
		return 0;
	if (exit->reason == HWV_EXIT_CPUID && exit->key == 0x40000000) {
		exit->value[0] = exit->value[1] = 0; /* EAX and EBX, ECX and EDX */
		exit->action = HWV_ACTION_ANSWER;
	} else if (exit->reason == HWV_EXIT_RDTSC || exit->reason == HWV_EXIT_RDTSCP) {
		exit->value[0] = __sync_fetch_and_add(&who->tsc, 100) + 100;
		exit->action = HWV_ACTION_ANSWER;
	}
	return 0;
}
