// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VM keeps without an observer's fd: a pause and rules that were asked for by netlink. The
 * keeper is an observer that no file stands for. It is there while it has something to keep.
 */
#include <linux/err.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include "glue.h"

/* vm->lock. The one there is, or a new one. */
static struct hwv_host_observer *employ(struct hwv_host_vm *vm)
{
	struct hwv_host_observer *keeper = vm->keeper;
	int err;

	if (vm->ended)
		return ERR_PTR(-ESRCH);
	if (keeper)
		return keeper;
	keeper = kvzalloc(sizeof(*keeper), GFP_KERNEL_ACCOUNT);
	if (!keeper)
		return ERR_PTR(-ENOMEM);
	keeper->vm = vm;
	init_waitqueue_head(&keeper->wait);
	err = hwv_observer_join(keeper);
	if (err) {
		kvfree(keeper);
		return ERR_PTR(err);
	}
	WRITE_ONCE(vm->keeper_age, keeper->age);
	vm->keeper = keeper;
	return keeper;
}

/* vm->lock. With nothing to keep it goes. No vCPU knows it: it never had rings or stops. */
static void dismiss_if_idle(struct hwv_host_vm *vm)
{
	struct hwv_host_observer *keeper = vm->keeper;

	if (!keeper || keeper->busy || keeper->policy || (vm->paused & BIT(keeper->slot)))
		return;
	vm->observers[keeper->slot] = NULL;
	vm->keeper = NULL;
	kvfree(keeper);
}

/* Returns whether the VM was not kept paused before. */
static int ask_for_pause(struct hwv_host_vm *vm)
{
	struct hwv_host_observer *keeper;
	int first;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	keeper = employ(vm);
	first = PTR_ERR_OR_ZERO(keeper);
	if (!first) {
		first = !(vm->paused & BIT(keeper->slot));
		hwv_pause_locked(vm, keeper->slot);
	}
	mutex_unlock(&vm->lock);
	return first;
}

int hwv_keeper_pause(struct hwv_host_vm *vm)
{
	int err = hwv_vm_hold(vm), first;

	if (err)
		return err;
	first = ask_for_pause(vm);
	err = first < 0 ? first : hwv_pause_wait(vm, NULL, HWV_NETLINK_WAIT_MS);
	if (err && first > 0)
		hwv_keeper_resume(vm);
	hwv_vm_put(vm);
	return err;
}

/* ---- one vCPU ---- */

/* vm->lock */
static void release(struct hwv_host_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->held, false);
	hwv_host_vcpu_wake(vcpu);
}

static void release_all(struct hwv_host_vm *vm)
{
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++)
		if (vm->vcpus[id] && vm->vcpus[id]->held)
			release(vm->vcpus[id]);
}

/* vm->lock */
static struct hwv_host_vcpu *vcpu_of(struct hwv_host_vm *vm, u32 id)
{
	if (vm->ended)
		return ERR_PTR(-ESRCH);
	id = array_index_nospec(id, HWV_MAX_VCPUS);
	return vm->vcpus[id] ?: ERR_PTR(-ENOENT);
}

/* Returns the vCPU where it was not held before, NULL where it was. */
static struct hwv_host_vcpu *ask_one(struct hwv_host_vm *vm, u32 id)
{
	struct hwv_host_vcpu *vcpu;

	if (mutex_lock_killable(&vm->lock))
		return ERR_PTR(-EINTR);
	vcpu = vcpu_of(vm, id);
	if (!IS_ERR(vcpu) && vcpu->held)
		vcpu = NULL;
	if (!IS_ERR_OR_NULL(vcpu)) {
		WRITE_ONCE(vcpu->held, true);
		hwv_core_vcpu_pause(vcpu->core);
	}
	mutex_unlock(&vm->lock);
	return vcpu;
}

int hwv_keeper_pause_vcpu(struct hwv_host_vm *vm, u32 id)
{
	int err = hwv_vm_hold(vm);
	struct hwv_host_vcpu *vcpu;

	if (err)
		return err;
	vcpu = ask_one(vm, id);
	err = PTR_ERR_OR_ZERO(vcpu);
	if (!err && vcpu)
		err = hwv_pause_wait(vm, vcpu, HWV_NETLINK_WAIT_MS);
	if (err && !IS_ERR(vcpu))
		hwv_keeper_resume_vcpu(vm, id);
	hwv_vm_put(vm);
	return err;
}

int hwv_keeper_resume_vcpu(struct hwv_host_vm *vm, u32 id)
{
	struct hwv_host_vcpu *vcpu;
	int left;

	mutex_lock(&vm->lock);
	vcpu = vcpu_of(vm, id);
	left = PTR_ERR_OR_ZERO(vcpu);
	if (!left) {
		release(vcpu);
		left = vm->paused != 0;
	}
	mutex_unlock(&vm->lock);
	return left;
}

int hwv_keeper_resume(struct hwv_host_vm *vm)
{
	int left = -ESRCH;

	mutex_lock(&vm->lock);
	if (!vm->ended) {
		if (vm->keeper)
			hwv_resume_locked(vm, vm->keeper->slot);
		release_all(vm);
		dismiss_if_idle(vm);
		left = vm->paused != 0;
	}
	mutex_unlock(&vm->lock);
	return left;
}

/* vm->lock; NULL: there is none, and no need of one. It stays until it is not busy any more. */
static struct hwv_host_observer *keeper_for(struct hwv_host_vm *vm,
					    const struct hwv_policy *request)
{
	struct hwv_host_observer *keeper;

	if (!vm->keeper && !request->count)
		return NULL;
	keeper = employ(vm);
	if (!IS_ERR(keeper))
		keeper->busy = true;
	return keeper;
}

int hwv_keeper_rules(struct hwv_host_vm *vm, struct hwv_policy *request,
		     const struct hwv_rule *rules)
{
	struct hwv_host_observer *keeper;
	int err = hwv_vm_hold(vm);

	if (err)
		return err;
	mutex_lock(&vm->keeper_lock);
	mutex_lock(&vm->lock);
	keeper = keeper_for(vm, request);
	mutex_unlock(&vm->lock);
	err = PTR_ERR_OR_ZERO(keeper);
	if (!err && keeper) {
		err = hwv_rules_set(keeper, request, rules);
		mutex_lock(&vm->lock);
		keeper->busy = false;
		dismiss_if_idle(vm);
		mutex_unlock(&vm->lock);
	}
	mutex_unlock(&vm->keeper_lock);
	hwv_vm_put(vm);
	return err;
}

void hwv_keeper_end(struct hwv_host_vm *vm)
{
	struct hwv_host_observer *keeper = vm->keeper;

	if (!keeper)
		return;
	vm->observers[keeper->slot] = NULL;
	vm->keeper = NULL;
	hwv_policy_free(keeper);
	kvfree(keeper);
}
