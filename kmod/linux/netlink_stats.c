// SPDX-License-Identifier: GPL-2.0-only
/* HWV_CMD_STATS_GET: what is counted of a VM's exits, read beside the vCPUs that count. */
#include <linux/err.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include "compat.h"
#include "glue.h"

#define HWV_TRIES 1000

/* The counts of a page, without histograms and keys: as of one moment. */
struct moment {
	u64 vm;
	u32 vcpu;
	u64 entries, first_tsc, last_tsc, open_reason, open_cycles;
	struct {
		u64 cycles, count, max_cycles;
	} segment[HWV_TIME_SEGMENTS];
	struct {
		u64 count, cycles, max_cycles, to_user;
	} exit[HWV_EXIT_CPU_REASONS];
};

static void copy(struct moment *to, const struct hwv_vcpu_stats *page)
{
	u32 i;

	to->last_tsc = READ_ONCE(page->last_tsc);
	smp_rmb();
	to->entries = READ_ONCE(page->entries);
	to->first_tsc = READ_ONCE(page->first_tsc);
	to->open_reason = READ_ONCE(page->open_reason);
	to->open_cycles = READ_ONCE(page->open_cycles);
	for (i = 0; i < HWV_TIME_SEGMENTS; i++) {
		to->segment[i].cycles = READ_ONCE(page->segment[i].cycles);
		to->segment[i].count = READ_ONCE(page->segment[i].count);
		to->segment[i].max_cycles = READ_ONCE(page->segment[i].max_cycles);
	}
	for (i = 0; i < HWV_EXIT_CPU_REASONS; i++) {
		to->exit[i].count = READ_ONCE(page->exit[i].count);
		to->exit[i].cycles = READ_ONCE(page->exit[i].cycles);
		to->exit[i].max_cycles = READ_ONCE(page->exit[i].max_cycles);
		to->exit[i].to_user = READ_ONCE(page->exit[i].to_user);
	}
	smp_rmb();
}

/*
 * The writer takes no lock. Nothing moved meanwhile, and no update was half done: time adds up, and
 * each entry but the one under way has come back with an exit, which is counted or open.
 */
static bool whole(const struct moment *m, const struct hwv_vcpu_stats *page)
{
	u64 cycles = 0, exits = m->open_reason != HWV_EXIT_NONE;
	u32 i;

	if (READ_ONCE(page->last_tsc) != m->last_tsc || READ_ONCE(page->entries) != m->entries)
		return false;
	for (i = 0; i < HWV_TIME_SEGMENTS; i++)
		cycles += m->segment[i].cycles;
	for (i = 0; i < HWV_EXIT_CPU_REASONS; i++)
		exits += m->exit[i].count;
	return cycles == m->last_tsc - m->first_tsc && m->entries - exits <= 1;
}

static int put_times(struct sk_buff *skb, u64 count, u64 cycles, u64 max_cycles)
{
	return hwv_u64(skb, HWV_ATTR_COUNT, count) ?:
	       hwv_u64(skb, HWV_ATTR_CYCLES, cycles) ?:
	       hwv_u64(skb, HWV_ATTR_MAX_CYCLES, max_cycles);
}

static int put_segment(struct sk_buff *skb, const struct moment *m, u32 kind)
{
	struct nlattr *nest = nla_nest_start(skb, HWV_ATTR_SEGMENT);
	int err = nest ? 0 : -EMSGSIZE;

	err = err ?: nla_put_u32(skb, HWV_ATTR_SEGMENT_KIND, kind) ?:
	      put_times(skb, m->segment[kind].count, m->segment[kind].cycles,
			m->segment[kind].max_cycles);
	if (!err)
		nla_nest_end(skb, nest);
	return err;
}

static int put_exit(struct sk_buff *skb, const struct moment *m, u32 reason)
{
	struct nlattr *nest = nla_nest_start(skb, HWV_ATTR_EXIT);
	int err = nest ? 0 : -EMSGSIZE;

	err = err ?: nla_put_u32(skb, HWV_ATTR_REASON, reason) ?:
	      put_times(skb, m->exit[reason].count, m->exit[reason].cycles,
			m->exit[reason].max_cycles) ?:
	      hwv_u64(skb, HWV_ATTR_TO_USER, m->exit[reason].to_user);
	if (!err)
		nla_nest_end(skb, nest);
	return err;
}

static int put_moment(struct sk_buff *skb, const void *what)
{
	const struct moment *m = what;
	u32 i;
	int err = hwv_u64(skb, HWV_ATTR_VM, m->vm) ?:
		  nla_put_u32(skb, HWV_ATTR_VCPU, m->vcpu) ?:
		  hwv_u64(skb, HWV_ATTR_ENTRIES, m->entries) ?:
		  hwv_u64(skb, HWV_ATTR_FIRST_TSC, m->first_tsc) ?:
		  hwv_u64(skb, HWV_ATTR_LAST_TSC, m->last_tsc) ?:
		  nla_put_u32(skb, HWV_ATTR_REASON, m->open_reason) ?:
		  hwv_u64(skb, HWV_ATTR_CYCLES, m->open_cycles);

	for (i = 0; !err && i < HWV_TIME_SEGMENTS; i++)
		err = put_segment(skb, m, i);
	for (i = 0; !err && i < HWV_EXIT_CPU_REASONS; i++)
		if (m->exit[i].count || m->exit[i].to_user)
			err = put_exit(skb, m, i);
	return err;
}

/* vm->lock */
static int dump_vcpu(struct sk_buff *skb, struct netlink_callback *cb, struct hwv_host_vm *vm,
		     u32 id, struct moment *m)
{
	const struct hwv_vcpu_stats *page = hwv_core_vcpu_stats(vm->vcpus[id]->core);
	u32 i;

	if (!page) {
		NL_SET_ERR_MSG(cb->extack, "no exits are counted: module parameter statistics=off");
		return -ENODATA;
	}
	for (i = 0; i < HWV_TRIES; i++) {
		copy(m, page);
		if (whole(m, page))
			break;
		cpu_relax();
	}
	m->vm = vm->id;
	m->vcpu = id;
	return i == HWV_TRIES ? -EAGAIN : hwv_dump(skb, cb, HWV_CMD_STATS_GET, put_moment, m);
}

/* vm->lock. From at->vcpu on, or the only one that is asked for. */
static int dump_from(struct sk_buff *skb, struct netlink_callback *cb, struct hwv_host_vm *vm,
		     struct moment *m)
{
	struct nlattr *only = hwv_dump_attrs(cb)[HWV_ATTR_VCPU];
	struct hwv_dump_at *at = (void *)cb->ctx;
	int err;

	if (vm->ended)
		return -ESRCH;
	if (only && !(vm->vcpu_ids >> nla_get_u32(only) & 1)) {
		NL_SET_ERR_MSG_ATTR(cb->extack, only, "the VM has no such vCPU");
		return -ENOENT;
	}
	for (; at->vcpu < HWV_MAX_VCPUS; at->vcpu++) {
		if (!vm->vcpus[at->vcpu] || (only && nla_get_u32(only) != at->vcpu))
			continue;
		err = dump_vcpu(skb, cb, vm, at->vcpu, m);
		if (err)
			return err;
	}
	return 0;
}

int hwv_dump_stats(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct hwv_host_vm *vm;
	struct moment *m;
	int err;

	cb->seq = hwv_registry_generation();
	vm = hwv_netlink_vm(cb->skb, hwv_dump_attrs(cb)[HWV_ATTR_VM], cb->extack);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	m = kmalloc(sizeof(*m), GFP_KERNEL);
	if (m) {
		mutex_lock(&vm->lock);
		err = dump_from(skb, cb, vm, m);
		mutex_unlock(&vm->lock);
	} else {
		err = -ENOMEM;
	}
	kfree(m);
	hwv_vm_shell_put(vm);
	return skb->len ?: err;
}
