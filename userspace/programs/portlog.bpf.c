// SPDX-License-Identifier: GPL-2.0-only
// Every access to one port, 0x3f8 unless `port` says another, into a BPF ring buffer. `hwvctl prog attach`
// prints what comes through `lines`: for INs the value is not known yet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "hwv_program.h"

char LICENSE[] SEC("license") = "GPL";

volatile const __u16 port = 0x3f8;
__u64 lost = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} lines SEC(".maps");

SEC("raw_tp.w/hwv")
int portlog(struct bpf_raw_tracepoint_args *args)
{
	struct hwv_program_context *exit = (void *)args->args[0];
	__u64 *line;

	exit->ack = 1;
	if (exit->key != port)
		return 0;
	line = bpf_ringbuf_reserve(&lines, 4 * sizeof(*line), 0);
	if (!line) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	line[0] = exit->tsc;
	line[1] = exit->rip;
	line[2] = exit->key;
	line[3] = exit->data;
	bpf_ringbuf_submit(line, 0);
	return 0;
}
