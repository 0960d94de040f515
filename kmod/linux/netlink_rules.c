// SPDX-License-Identifier: GPL-2.0-only
/* HWV_CMD_POLICY_*: rules that a VM keeps, and all that are in force. */
#include <linux/err.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include "compat.h"
#include "glue.h"

/* ---- setting ---- */

static struct nlattr *rule_at(const struct nlattr *list, u32 index)
{
	struct nlattr *rule;
	int left;

	nla_for_each_nested(rule, list, left)
		if (!index--)
			return rule;
	return NULL;
}

/* How many; or an error. */
static int copy_rules(const struct nlattr *list, struct hwv_rule *rules,
		      struct netlink_ext_ack *extack)
{
	struct nlattr *rule;
	u32 count = 0;
	int left;

	nla_for_each_nested(rule, list, left) {
		if (count == HWV_MAX_RULES) {
			NL_SET_ERR_MSG_ATTR(extack, rule, "too many rules");
			return -E2BIG;
		}
		memcpy(&rules[count], nla_data(rule), sizeof(*rules));
		if (rules[count++].action == HWV_ACTION_STOP) {
			NL_SET_ERR_MSG_ATTR(extack, rule,
					    "a rule that stops wants an observer who replies");
			return -EOPNOTSUPP;
		}
	}
	if (!count)
		NL_SET_ERR_MSG_ATTR(extack, list, "no rules: HWV_CMD_POLICY_RESET takes them away");
	return count ?: -EINVAL;
}

static int keep(struct hwv_host_vm *vm, const struct nlattr *list, struct hwv_rule *rules,
		struct netlink_ext_ack *extack)
{
	struct hwv_policy request = {};
	int err = copy_rules(list, rules, extack);

	if (err < 0)
		return err;
	request.count = err;
	err = hwv_keeper_rules(vm, &request, rules);
	if (err != -EINVAL && err != -EOPNOTSUPP)
		return err;
	NL_SET_BAD_ATTR(extack, rule_at(list, request.bad_rule));
	if (err == -EINVAL)
		NL_SET_ERR_MSG(extack, "this rule makes no sense");
	else
		NL_SET_ERR_MSG(extack, "this CPU cannot make the exit that this rule is for");
	nl_set_extack_cookie_u64(extack, (u64)request.bad_rule << 32 | request.bad_field);
	return err;
}

int hwv_set_rules(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = hwv_netlink_vm(skb, info->attrs[HWV_ATTR_VM], info->extack);
	const struct nlattr *list = info->attrs[HWV_ATTR_RULES];
	struct hwv_rule *rules;
	int err = -EINVAL;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	rules = kcalloc(HWV_MAX_RULES, sizeof(*rules), GFP_KERNEL);
	if (!rules)
		err = -ENOMEM;
	else if (list)
		err = keep(vm, list, rules, info->extack);
	else
		NL_SET_ERR_MSG(info->extack, "the request has no rules");
	kfree(rules);
	hwv_vm_shell_put(vm);
	return hwv_explain(info, err);
}

int hwv_reset_rules(struct sk_buff *skb, struct genl_info *info)
{
	struct hwv_host_vm *vm = hwv_netlink_vm(skb, info->attrs[HWV_ATTR_VM], info->extack);
	struct hwv_policy none = {};
	int err;

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = hwv_keeper_rules(vm, &none, NULL);
	hwv_vm_shell_put(vm);
	return hwv_explain(info, err);
}

/* ---- all that are in force, the oldest holder's first ---- */

struct ruling {
	u64 vm, holder;
	u32 index;
	struct hwv_rule rules[HWV_MAX_RULES];
	struct hwv_rule_counts counts[HWV_MAX_RULES];
};

static int put_rule(struct sk_buff *skb, const void *what)
{
	const struct ruling *r = what;

	return hwv_u64(skb, HWV_ATTR_VM, r->vm) ?: hwv_u64(skb, HWV_ATTR_HOLDER, r->holder) ?:
	       nla_put_u32(skb, HWV_ATTR_RULE_INDEX, r->index) ?:
	       nla_put(skb, HWV_ATTR_RULE, sizeof(r->rules[0]), &r->rules[r->index]) ?:
	       hwv_u64(skb, HWV_ATTR_MATCHED, r->counts[r->index].matched) ?:
	       hwv_u64(skb, HWV_ATTR_ACTED, r->counts[r->index].acted);
}

/* vm->lock. The one that has rules and came first after that one, or NULL. */
static struct hwv_host_observer *holder_after(struct hwv_host_vm *vm, u64 age)
{
	struct hwv_host_observer *found = NULL, *observer;
	u32 slot;

	for (slot = 0; slot < HWV_MAX_OBSERVERS; slot++) {
		observer = vm->observers[slot];
		if (observer && observer->policy && observer->age > age &&
		    (!found || observer->age < found->age))
			found = observer;
	}
	return found;
}

/* vm->lock */
static int dump_from(struct sk_buff *skb, struct netlink_callback *cb, struct hwv_host_vm *vm,
		     struct ruling *r)
{
	struct hwv_dump_at *at = (void *)cb->ctx;
	struct hwv_host_observer *holder;
	u32 count;
	int err;

	if (vm->ended)
		return -ESRCH;
	cb->seq = vm->rulings + 1;
	while ((holder = holder_after(vm, at->holder))) {
		r->vm = vm->id;
		r->holder = holder == vm->keeper ? 0 : holder->age;
		count = hwv_core_policy_read(holder->policy, r->rules, r->counts);
		for (; at->rule < count; at->rule++) {
			r->index = at->rule;
			err = hwv_dump(skb, cb, HWV_CMD_POLICY_GET, put_rule, r);
			if (err)
				return err;
		}
		at->holder = holder->age;
		at->rule = 0;
	}
	return 0;
}

int hwv_dump_rules(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct hwv_host_vm *vm;
	struct ruling *r;
	int err = -ENOMEM;

	vm = hwv_netlink_vm(cb->skb, hwv_dump_attrs(cb)[HWV_ATTR_VM], cb->extack);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	r = kmalloc(sizeof(*r), GFP_KERNEL);
	if (r) {
		mutex_lock(&vm->lock);
		err = dump_from(skb, cb, vm, r);
		mutex_unlock(&vm->lock);
	}
	kfree(r);
	hwv_vm_shell_put(vm);
	return skb->len ?: err;
}
