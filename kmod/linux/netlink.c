// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generic netlink family `hwv` (hwv_netlink.h): its commands, who may send them, and the lists of
 * VMs and vCPUs. Requests run side by side: nothing here is locked but what they are about.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include "compat.h"
#include "glue.h"

int hwv_u64(struct sk_buff *skb, int attribute, u64 value)
{
	return nla_put_u64_64bit(skb, attribute, value, HWV_ATTR_PAD);
}

/* ---- who may, and about which VM ---- */

/* Of a dump's later pieces the caller is who receives. */
bool hwv_netlink_may(const struct sk_buff *skb, const struct hwv_host_vm *vm)
{
	return hwv_may_observe(vm) &&
	       hwv_file_may_observe(vm, NETLINK_CB(skb).sk->sk_socket->file);
}

struct hwv_host_vm *hwv_netlink_vm(const struct sk_buff *skb, struct nlattr *id,
				   struct netlink_ext_ack *extack)
{
	struct hwv_host_vm *vm;

	if (!id) {
		NL_SET_ERR_MSG(extack, "the request names no VM");
		return ERR_PTR(-EINVAL);
	}
	vm = hwv_vm_find(nla_get_u64(id));
	if (!vm) {
		NL_SET_ERR_MSG_ATTR(extack, id, "there is no such VM");
		return ERR_PTR(-ENOENT);
	}
	if (hwv_netlink_may(skb, vm))
		return vm;
	hwv_vm_shell_put(vm);
	NL_SET_ERR_MSG_ATTR(extack, id, "neither your VM nor CAP_SYS_ADMIN in its user namespace");
	return ERR_PTR(-EPERM);
}

static struct hwv_host_vm *named_vm(struct sk_buff *skb, struct genl_info *info)
{
	return hwv_netlink_vm(skb, info->attrs[HWV_ATTR_VM], info->extack);
}

/* What the same errors of all commands mean. */
int hwv_explain(struct genl_info *info, int err)
{
	if (err == -ESRCH)
		NL_SET_ERR_MSG(info->extack, "the VM has ended");
	else if (err == -ETIMEDOUT)
		NL_SET_ERR_MSG(info->extack, "a vCPU does not stand still: it waits for memory");
	else if (err == -ENOENT)
		NL_SET_ERR_MSG(info->extack, "the VM has no such vCPU");
	else if (err == -ENOSPC)
		NL_SET_ERR_MSG(info->extack, "the VM has as many observers as it can have");
	return err;
}

/* ---- commands ---- */

static int pause_vm(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = named_vm(skb, info);
	struct nlattr *only = info->attrs[HWV_ATTR_VCPU];
	int err;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = only ? hwv_keeper_pause_vcpu(vm, nla_get_u32(only)) : hwv_keeper_pause(vm);
	hwv_vm_shell_put(vm);
	return hwv_explain(info, err);
}

static int resume_vm(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = named_vm(skb, info);
	struct nlattr *only = info->attrs[HWV_ATTR_VCPU];
	int left;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	left = only ? hwv_keeper_resume_vcpu(vm, nla_get_u32(only)) : hwv_keeper_resume(vm);
	hwv_vm_shell_put(vm);
	if (left <= 0)
		return hwv_explain(info, left);
	NL_SET_ERR_MSG(info->extack, "the VM is paused, too: by an observer, or as a whole");
	return -EBUSY;
}

static int kill_vm(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = named_vm(skb, info);
	int err;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = hwv_kill(vm);
	hwv_vm_shell_put(vm);
	return err;
}

/* vm->lock. The one of them, or with a null id all. */
static int kick(struct hwv_host_vm *vm, const struct nlattr *only)
{
	u32 id, kicked = 0;

	if (vm->ended)
		return -ESRCH;
	for (id = 0; id < HWV_MAX_VCPUS; id++) {
		if (!vm->vcpus[id] || (only && nla_get_u32(only) != id))
			continue;
		hwv_core_vcpu_kick(vm->vcpus[id]->core);
		kicked++;
	}
	return only && !kicked ? -ENOENT : 0;
}

static int kick_vm(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = named_vm(skb, info);
	struct nlattr *only = info->attrs[HWV_ATTR_VCPU];
	int err;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	mutex_lock(&vm->lock);
	err = kick(vm, only);
	mutex_unlock(&vm->lock);
	hwv_vm_shell_put(vm);
	return hwv_explain(info, err);
}

/* ---- answers ---- */

/* compose: into the message, -EMSGSIZE where it does not fit. */
static int answer(struct genl_info *info, size_t bytes, u8 command,
		  int (*compose)(struct sk_buff *skb, const void *what), const void *what)
{
	struct sk_buff *skb = genlmsg_new(bytes, GFP_KERNEL);
	void *header;

	if (!skb)
		return -ENOMEM;
	header = genlmsg_put_reply(skb, info, &hwv_family, 0, command);
	if (!header || compose(skb, what)) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, header);
	return genlmsg_reply(skb, info);
}

struct inspected {
	u64 vm;
	u32 vcpu;
	struct hwv_regs regs;
};

static int put_regs(struct sk_buff *skb, const void *what)
{
	const struct inspected *i = what;

	return hwv_u64(skb, HWV_ATTR_VM, i->vm) ?: nla_put_u32(skb, HWV_ATTR_VCPU, i->vcpu) ?:
	       nla_put(skb, HWV_ATTR_REGS, sizeof(i->regs), &i->regs);
}

static int explain_regs(struct genl_info *info, int err)
{
	if (err == -EBUSY)
		NL_SET_ERR_MSG(info->extack, "the vCPU is in use: pause the VM first");
	else if (err == -ENOENT)
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[HWV_ATTR_VCPU],
				    "the VM has no such vCPU");
	return hwv_explain(info, err);
}

static int get_regs(struct sk_buff *skb, struct genl_info *info)
{
	const struct nlattr *groups = info->attrs[HWV_ATTR_GROUPS];
	struct hwv_host_vm *vm = named_vm(skb, info);
	struct inspected *what;
	int err = -EINVAL;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	what = kzalloc(sizeof(*what), GFP_KERNEL);
	if (!what) {
		err = -ENOMEM;
	} else if (!info->attrs[HWV_ATTR_VCPU]) {
		NL_SET_ERR_MSG(info->extack, "the request names no vCPU");
	} else {
		what->vm = vm->id;
		what->vcpu = nla_get_u32(info->attrs[HWV_ATTR_VCPU]);
		err = hwv_read_regs(vm, what->vcpu, groups ? nla_get_u32(groups) : HWV_REGS_ALL,
				    HWV_NETLINK_WAIT_MS, &what->regs);
		err = explain_regs(info, err);
	}
	if (!err)
		err = answer(info, sizeof(*what) + 64, HWV_CMD_REGS_GET, put_regs, what);
	kfree(what);
	hwv_vm_shell_put(vm);
	return err;
}

static int put_vm(struct sk_buff *skb, const void *what)
{
	const struct hwv_vm_entry *vm = what;

	return hwv_u64(skb, HWV_ATTR_VM, vm->id) ?:
	       nla_put_string(skb, HWV_ATTR_NAME, vm->name) ?:
	       nla_put_u32(skb, HWV_ATTR_PID, vm->pid) ?:
	       nla_put_u32(skb, HWV_ATTR_UID, vm->uid) ?:
	       hwv_u64(skb, HWV_ATTR_VCPUS, vm->vcpus) ?:
	       hwv_u64(skb, HWV_ATTR_AGE, vm->age_ns) ?:
	       nla_put_u32(skb, HWV_ATTR_STATE, vm->state) ?:
	       nla_put_u32(skb, HWV_ATTR_OBSERVERS, vm->observers);
}

static int get_vm(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = named_vm(skb, info);
	struct hwv_vm_entry entry;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	hwv_describe(vm, &entry);
	hwv_vm_shell_put(vm);
	return answer(info, GENLMSG_DEFAULT_SIZE, HWV_CMD_VM_GET, put_vm, &entry);
}

/* ---- dumps: each piece goes on behind the last id that was whole ---- */

/* One message; -EMSGSIZE: not in this piece. */
int hwv_dump(struct sk_buff *skb, struct netlink_callback *cb, u8 command,
	     int (*compose)(struct sk_buff *skb, const void *what), const void *what)
{
	void *header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &hwv_family,
				   NLM_F_MULTI, command);

	if (!header)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, header);
	if (compose(skb, what)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, header);
	return 0;
}

static int dump_vms(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr *one = hwv_dump_attrs(cb)[HWV_ATTR_VM];
	struct hwv_dump_at *at = (void *)cb->ctx;
	struct hwv_host_vm *vm;
	struct hwv_vm_entry entry;
	int err = 0;

	BUILD_BUG_ON(sizeof(*at) > sizeof(cb->ctx));
	if (one) {
		NL_SET_ERR_MSG_ATTR(cb->extack, one, "a dump is of all VMs");
		return -EINVAL;
	}
	cb->seq = hwv_registry_generation();
	while (!err && (vm = hwv_vm_after(at->vm))) {
		if (hwv_netlink_may(cb->skb, vm)) {
			hwv_describe(vm, &entry);
			err = hwv_dump(skb, cb, HWV_CMD_VM_GET, put_vm, &entry);
		}
		if (!err)
			at->vm = vm->id;
		hwv_vm_shell_put(vm);
	}
	return skb->len ?: err;
}

struct vcpu_entry {
	u64 vm, entries;
	u32 id, state, mp_state;
	bool counted;
};

static int put_vcpu(struct sk_buff *skb, const void *what)
{
	const struct vcpu_entry *vcpu = what;

	return hwv_u64(skb, HWV_ATTR_VM, vcpu->vm) ?:
	       nla_put_u32(skb, HWV_ATTR_VCPU, vcpu->id) ?:
	       nla_put_u32(skb, HWV_ATTR_VCPU_STATE, vcpu->state) ?:
	       nla_put_u32(skb, HWV_ATTR_MP_STATE, vcpu->mp_state) ?:
	       (vcpu->counted ? hwv_u64(skb, HWV_ATTR_ENTRIES, vcpu->entries) : 0);
}

static u32 state_of(const struct hwv_host_vcpu *vcpu)
{
	switch (atomic_read(&vcpu->user)) {
	case HWV_VCPU_RUNNING:
		return HWV_VCPU_STATE_RUN;
	case HWV_VCPU_ASKED:
		return HWV_VCPU_STATE_BUSY;
	case HWV_VCPU_PAUSED:
		return HWV_VCPU_STATE_STOPPED;
	default:
		return HWV_VCPU_STATE_USER;
	}
}

static int dump_vcpu(struct sk_buff *skb, struct netlink_callback *cb, struct hwv_host_vm *vm,
		     u32 id)
{
	const struct hwv_host_vcpu *vcpu = vm->vcpus[id];
	const struct hwv_vcpu_stats *stats = hwv_core_vcpu_stats(vcpu->core);
	struct vcpu_entry entry = {
		.vm = vm->id,
		.id = id,
		.state = state_of(vcpu),
		.mp_state = hwv_core_vcpu_mp_state(vcpu->core),
		.counted = stats,
		.entries = stats ? READ_ONCE(stats->entries) : 0,
	};

	return hwv_dump(skb, cb, HWV_CMD_VCPU_GET, put_vcpu, &entry);
}

/* From at->vcpu on. */
static int dump_vcpus_of(struct sk_buff *skb, struct netlink_callback *cb, struct hwv_host_vm *vm)
{
	struct hwv_dump_at *at = (void *)cb->ctx;
	int err = 0;

	mutex_lock(&vm->lock);
	for (; !vm->ended && at->vcpu < HWV_MAX_VCPUS; at->vcpu++) {
		if (vm->vcpus[at->vcpu])
			err = dump_vcpu(skb, cb, vm, at->vcpu);
		if (err)
			break;
	}
	mutex_unlock(&vm->lock);
	return err;
}

static int dump_all_vcpus(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct hwv_dump_at *at = (void *)cb->ctx;
	struct hwv_host_vm *vm;
	int err = 0;

	while (!err && (vm = hwv_vm_after(at->vm))) {
		if (at->half != vm->id)
			at->vcpu = 0;
		at->half = vm->id;
		if (hwv_netlink_may(cb->skb, vm))
			err = dump_vcpus_of(skb, cb, vm);
		if (!err)
			at->vm = vm->id;
		hwv_vm_shell_put(vm);
	}
	return err;
}

static int dump_vcpus(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr *one = hwv_dump_attrs(cb)[HWV_ATTR_VM];
	struct hwv_host_vm *vm;
	int err;

	cb->seq = hwv_registry_generation();
	if (!one) {
		err = dump_all_vcpus(skb, cb);
		return skb->len ?: err;
	}
	vm = hwv_netlink_vm(cb->skb, one, cb->extack);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = dump_vcpus_of(skb, cb, vm);
	hwv_vm_shell_put(vm);
	return skb->len ?: err;
}

/* ---- the family ---- */

/* What a command's policy does not name, it refuses. */
static const struct nla_policy of_a_vm[] = {
	[HWV_ATTR_VM] = { .type = NLA_U64 },
};

static const struct nla_policy of_a_vcpu[] = {
	[HWV_ATTR_VM] = { .type = NLA_U64 },
	[HWV_ATTR_VCPU] = NLA_POLICY_MAX(NLA_U32, HWV_MAX_VCPUS - 1),
};

static const struct nla_policy of_registers[] = {
	[HWV_ATTR_VM] = { .type = NLA_U64 },
	[HWV_ATTR_VCPU] = NLA_POLICY_MAX(NLA_U32, HWV_MAX_VCPUS - 1),
	[HWV_ATTR_GROUPS] = NLA_POLICY_MASK(NLA_U32, HWV_REGS_ALL),
};

static const struct nla_policy of_a_list[] = {
	[HWV_ATTR_RULE] = NLA_POLICY_EXACT_LEN(sizeof(struct hwv_rule)),
};

static const struct nla_policy of_rules[] = {
	[HWV_ATTR_VM] = { .type = NLA_U64 },
	[HWV_ATTR_RULES] = NLA_POLICY_NESTED(of_a_list),
};

#define HWV_TAKES(attributes) .policy = attributes, .maxattr = ARRAY_SIZE(attributes) - 1

static const struct genl_ops commands[] = {
	{ .cmd = HWV_CMD_VM_GET, .doit = get_vm, .dumpit = dump_vms,
	  HWV_TAKES(of_a_vm) },
	{ .cmd = HWV_CMD_VCPU_GET, .dumpit = dump_vcpus, HWV_TAKES(of_a_vm) },
	{ .cmd = HWV_CMD_STATS_GET, .dumpit = hwv_dump_stats,
	  HWV_TAKES(of_a_vcpu) },
	{ .cmd = HWV_CMD_POLICY_SET, .doit = hwv_set_rules, HWV_TAKES(of_rules) },
	{ .cmd = HWV_CMD_POLICY_GET, .dumpit = hwv_dump_rules,
	  HWV_TAKES(of_a_vm) },
	{ .cmd = HWV_CMD_POLICY_RESET, .doit = hwv_reset_rules, HWV_TAKES(of_a_vm) },
	{ .cmd = HWV_CMD_PAUSE, .doit = pause_vm, HWV_TAKES(of_a_vcpu) },
	{ .cmd = HWV_CMD_RESUME, .doit = resume_vm, HWV_TAKES(of_a_vcpu) },
	{ .cmd = HWV_CMD_KICK, .doit = kick_vm, HWV_TAKES(of_a_vcpu) },
	{ .cmd = HWV_CMD_KILL, .doit = kill_vm, HWV_TAKES(of_a_vm) },
	{ .cmd = HWV_CMD_REGS_GET, .doit = get_regs, HWV_TAKES(of_registers) },
	{ .cmd = HWV_CMD_WATCH, .doit = hwv_watch },
};

/* CAP_SYS_ADMIN: an event tells what somebody's guest does. */
static const struct genl_multicast_group groups[] = {
	{ .name = HWV_NETLINK_EVENTS, .flags = GENL_MCAST_CAP_SYS_ADMIN },
};

struct genl_family hwv_family __ro_after_init = {
	.name = HWV_NETLINK_NAME,
	.version = HWV_NETLINK_VERSION,
	.module = THIS_MODULE,
	.netnsok = true,
	.parallel_ops = true,
	.ops = commands,
	.n_ops = ARRAY_SIZE(commands),
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

int hwv_netlink_init(void)
{
	int err = hwv_news_module_init();

	if (err)
		return err;
	err = genl_register_family(&hwv_family);
	if (err)
		hwv_news_module_exit();
	return err;
}

/* First no requests any more, then nobody who waits for events. */
void hwv_netlink_exit(void)
{
	genl_unregister_family(&hwv_family);
	hwv_news_module_exit();
}
