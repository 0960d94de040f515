// SPDX-License-Identifier: GPL-2.0-only
/* What an observer reads and changes of the guest: registers of vCPUs that stand still, memory. */
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "glue.h"

static int registers_locked(struct hwv_host_vcpu *vcpu, const struct hwv_observe_regs *request,
			    struct hwv_regs *regs)
{
	int was = hwv_vcpu_borrow(vcpu), err;

	if (was < 0)
		return was;
	hwv_vcpu_load(vcpu);
	err = hwv_core_vcpu_registers(vcpu->core, regs, request->groups,
				      request->flags & HWV_OBSERVE_SET);
	hwv_vcpu_unload(vcpu);
	hwv_vcpu_give_back(vcpu, was);
	return err;
}

long hwv_observe_regs(void *object, void *argument)
{
	const struct hwv_observe_regs *request = argument;
	void __user *user = u64_to_user_ptr(request->regs);
	struct hwv_host_observer *observer = object;
	bool set = request->flags & HWV_OBSERVE_SET;
	struct hwv_host_vcpu *vcpu;
	struct hwv_regs *regs;
	long err;

	if ((request->flags & ~HWV_OBSERVE_SET) || request->bytes != sizeof(*regs))
		return -EINVAL;
	regs = kzalloc(sizeof(*regs), GFP_KERNEL_ACCOUNT);
	if (!regs)
		return -ENOMEM;
	err = set && copy_from_user(regs, user, sizeof(*regs)) ? -EFAULT : 0;
	if (err)
		goto free;
	vcpu = hwv_observed_vcpu(observer, request->vcpu);
	err = PTR_ERR_OR_ZERO(vcpu);
	if (err)
		goto free;
	err = registers_locked(vcpu, request, regs);
	mutex_unlock(&observer->vm->lock);
	if (!err && !set && copy_to_user(user, regs, sizeof(*regs)))
		err = -EFAULT;
free:
	kfree(regs);
	return err;
}

/* One page at most; vm->mm is held. */
static long access_page(struct mm_struct *mm, u64 hva, void __user *user, size_t bytes, bool write)
{
	unsigned int offset = offset_in_page(hva);
	unsigned long left;
	struct page *page;
	void *at;

	if (hwv_pin_page(mm, hva & PAGE_MASK, write, &page) != 1)
		return -EFAULT;
	at = kmap_local_page(page) + offset;
	if (write)
		left = copy_from_user(at, user, bytes);
	else
		left = copy_to_user(user, at, bytes);
	kunmap_local(at);
	if (write)
		unpin_user_pages_dirty_lock(&page, 1, true);
	else
		unpin_user_page(page);
	return left ? -EFAULT : 0;
}

static int find_memory(struct hwv_host_observer *observer, u64 gpa, u64 *hva, u64 *bytes)
{
	struct hwv_host_vm *vm = observer->vm;
	int err;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	err = vm->ended ? -ESRCH : hwv_core_vm_find_memory(vm->core, gpa, hva, bytes);
	mutex_unlock(&vm->lock);
	return err;
}

static long access_memory(struct hwv_host_observer *observer, struct hwv_observe_memory *request)
{
	bool write = request->flags & HWV_OBSERVE_SET;
	u64 hva, bytes;
	int err;

	while (request->done < request->bytes) {
		err = find_memory(observer, request->gpa + request->done, &hva, &bytes);
		if (err)
			return err;
		bytes = min3(bytes, request->bytes - request->done, PAGE_SIZE - offset_in_page(hva));
		err = access_page(observer->vm->mm, hva,
				  u64_to_user_ptr(request->buffer + request->done), bytes, write);
		if (err)
			return err;
		request->done += bytes;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

long hwv_observe_memory(void *object, void *argument)
{
	struct hwv_observe_memory *request = argument;
	struct hwv_host_observer *observer = object;
	long err;

	request->done = 0;
	if ((request->flags & ~HWV_OBSERVE_SET) || request->reserved ||
	    request->gpa + request->bytes < request->gpa)
		return -EINVAL;
	if (!mmget_not_zero(observer->vm->mm))
		return -ESRCH;
	err = access_memory(observer, request);
	mmput(observer->vm->mm);
	return request->done ? 0 : err;
}
