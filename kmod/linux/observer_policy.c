// SPDX-License-Identifier: GPL-2.0-only
/* The rules of an observer, and the vCPUs that wait for it because a rule said so. */
#include <linux/err.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include "glue.h"

/* vm->lock. Returns the policy that is to be freed after synchronize_rcu(). */
static struct hwv_core_policy *exchange(struct hwv_host_observer *observer,
					struct hwv_core_policy *policy)
{
	struct hwv_core_policy *old = observer->policy;

	if (!observer->vm->ended)
		hwv_core_vm_set_policy(observer->vm->core, observer->slot, policy);
	observer->policy = policy;
	observer->vm->rulings++;
	return old;
}

int hwv_rules_set(struct hwv_host_observer *observer, struct hwv_policy *request,
		  const struct hwv_rule *rules)
{
	struct hwv_core_policy *policy = NULL;
	int err = 0;

	request->bad_rule = request->bad_field = 0;
	if (request->count)
		err = hwv_core_policy_create(request, rules, observer->age, &policy,
					     &request->bad_rule, &request->bad_field);
	if (err)
		return err;
	if (mutex_lock_killable(&observer->vm->lock))
		err = -EINTR;
	else if (observer->vm->ended)
		err = -ESRCH;
	else
		policy = exchange(observer, policy);
	if (err != -EINTR)
		mutex_unlock(&observer->vm->lock);
	synchronize_rcu();
	hwv_core_policy_destroy(policy);
	return err;
}

long hwv_policy_set(void *object, void *argument)
{
	struct hwv_policy *request = argument;
	struct hwv_rule *rules = NULL;
	int err;

	if (request->counts)
		return -EINVAL;
	if (request->count > HWV_MAX_RULES)
		return -E2BIG;
	if (request->count)
		rules = memdup_user(u64_to_user_ptr(request->rules),
				    request->count * sizeof(*rules));
	if (IS_ERR(rules))
		return PTR_ERR(rules);
	err = hwv_rules_set(object, request, rules);
	kfree(rules);
	return err;
}

struct policy_copy {
	struct hwv_rule rules[HWV_MAX_RULES];
	struct hwv_rule_counts counts[HWV_MAX_RULES];
};

static int copy_out(const struct hwv_policy *request, const struct policy_copy *copy, u32 count)
{
	void __user *rules = u64_to_user_ptr(request->rules);
	void __user *counts = u64_to_user_ptr(request->counts);

	if (copy_to_user(rules, copy->rules, count * sizeof(copy->rules[0])))
		return -EFAULT;
	if (counts && copy_to_user(counts, copy->counts, count * sizeof(copy->counts[0])))
		return -EFAULT;
	return 0;
}

long hwv_policy_get(void *object, void *argument)
{
	struct policy_copy *copy = kzalloc(sizeof(*copy), GFP_KERNEL_ACCOUNT);
	struct hwv_host_observer *observer = object;
	struct hwv_policy *request = argument;
	u32 room = request->count;
	long err = -EINTR;

	if (!copy)
		return -ENOMEM;
	if (mutex_lock_killable(&observer->vm->lock))
		goto free;
	request->count = 0;
	if (observer->policy)
		request->count = hwv_core_policy_read(observer->policy, copy->rules, copy->counts);
	mutex_unlock(&observer->vm->lock);
	err = request->count > room ? -E2BIG : copy_out(request, copy, request->count);
free:
	kfree(copy);
	return err;
}

void hwv_policy_detach(struct hwv_host_observer *observer)
{
	struct hwv_host_vm *vm = observer->vm;
	u32 id;

	if (vm->ended)
		return;
	if (observer->policy) {
		hwv_core_vm_set_policy(vm->core, observer->slot, NULL);
		vm->rulings++;
	}
	for (id = 0; id < HWV_MAX_VCPUS; id++)
		if (vm->vcpus[id])
			hwv_core_vcpu_let_go(vm->vcpus[id]->core, observer->age);
}

void hwv_policy_free(struct hwv_host_observer *observer)
{
	hwv_core_policy_destroy(observer->policy);
}

/* ---- stops ---- */

/* vm->lock. The one that waits longest; false: none. */
static bool oldest_stop(struct hwv_host_observer *observer, struct hwv_stop *out)
{
	struct hwv_host_vm *vm = observer->vm;
	struct hwv_stop stop;
	bool found = false;
	u32 id;

	for (id = 0; !vm->ended && id < HWV_MAX_VCPUS; id++) {
		if (!vm->vcpus[id] ||
		    !hwv_core_vcpu_stopped(vm->vcpus[id]->core, observer->age, &stop))
			continue;
		if (!found || stop.id < out->id)
			*out = stop;
		found = true;
	}
	return found;
}

bool hwv_any_stop(struct hwv_host_observer *observer)
{
	struct hwv_stop stop;

	return oldest_stop(observer, &stop);
}

long hwv_stop_get(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	bool found;

	if (mutex_lock_killable(&observer->vm->lock))
		return -EINTR;
	found = oldest_stop(observer, argument);
	mutex_unlock(&observer->vm->lock);
	return found ? 0 : -EAGAIN;
}

long hwv_stop_reply(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	struct hwv_host_vm *vm = observer->vm;
	int err = -ESTALE;
	u32 id;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	for (id = 0; !vm->ended && id < HWV_MAX_VCPUS && err == -ESTALE; id++)
		if (vm->vcpus[id])
			err = hwv_core_vcpu_go_on(vm->vcpus[id]->core, observer->age, argument);
	mutex_unlock(&vm->lock);
	return err;
}

/* The vCPU's thread; the observer may have gone since its rule matched. */
bool hwv_tell_of_stop(struct hwv_host_vm *vm, u64 age)
{
	bool told = false;
	u32 slot;

	mutex_lock(&vm->lock);
	for (slot = 0; slot < HWV_MAX_OBSERVERS && !told; slot++) {
		told = vm->observers[slot] && vm->observers[slot]->age == age;
		if (told)
			hwv_host_observer_wake(vm->observers[slot]);
	}
	mutex_unlock(&vm->lock);
	return told;
}
