// SPDX-License-Identifier: GPL-2.0-only
/* What an observer reads and changes of the guest: registers of vCPUs that stand still, memory. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "glue.h"

struct access {
	u32 vcpu, groups;
	bool set; /* in, or out */
	unsigned int limit_ms; /* to wait for the vCPU; 0: however long */
	struct hwv_regs *regs;
};

/*
 * An event for a paused VM makes its vCPU look up for a moment: that is no running. Another
 * request under way is waited for, not under vm->lock: it may be waiting for user memory.
 */
static int borrow(struct hwv_host_vcpu *vcpu, unsigned int limit_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(limit_ms);
	int was;

	for (;;) {
		was = hwv_vcpu_borrow(vcpu);
		if (was != -EAGAIN && (was != -EBUSY || !hwv_vcpu_stands(vcpu)))
			return was;
		if (limit_ms && time_after(jiffies, end))
			return -EBUSY;
		if (msleep_interruptible(1))
			return -EINTR;
	}
}

/* The VM is held. */
static int held_registers(struct hwv_host_vm *vm, const struct access *access)
{
	u32 id = access->vcpu;
	struct hwv_host_vcpu *vcpu = hwv_lock_vcpu(vm, &id);
	int was, err;

	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	mutex_unlock(&vm->lock);
	was = borrow(vcpu, access->limit_ms);
	if (was < 0)
		return was;
	hwv_vcpu_load(vcpu);
	err = hwv_core_vcpu_registers(vcpu->core, access->regs, access->groups, access->set);
	hwv_vcpu_unload(vcpu);
	hwv_vcpu_give_back(vcpu, was);
	return err;
}

static int access_registers(struct hwv_host_vm *vm, const struct access *access)
{
	int err = hwv_vm_hold(vm);

	if (err)
		return err;
	err = held_registers(vm, access);
	hwv_vm_put(vm);
	return err;
}

int hwv_read_regs(struct hwv_host_vm *vm, u32 vcpu, u32 groups, unsigned int limit_ms,
		  struct hwv_regs *regs)
{
	return access_registers(vm, &(struct access){ .vcpu = vcpu, .groups = groups,
						      .limit_ms = limit_ms, .regs = regs });
}

long hwv_observe_regs(void *object, void *argument)
{
	const struct hwv_observe_regs *request = argument;
	void __user *user = u64_to_user_ptr(request->regs);
	struct hwv_host_observer *observer = object;
	bool set = request->flags & HWV_OBSERVE_SET;
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
	err = access_registers(observer->vm, &(struct access){ .vcpu = request->vcpu, .set = set,
							      .groups = request->groups, .regs = regs });
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
	long pinned;
	void *at;

	pinned = hwv_pin_page(mm, hva & PAGE_MASK, write, &page);
	if (pinned != 1)
		return pinned == -EINTR ? -EINTR : -EFAULT;
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
