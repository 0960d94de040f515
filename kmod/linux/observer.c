// SPDX-License-Identifier: GPL-2.0-only
/*
 * An observer of a VM behind its fd: what it maps, pauses, reads and changes. Its end undoes all of
 * that.
 */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "compat.h"
#include "glue.h"

void hwv_host_observer_wake(struct hwv_host_observer *observer)
{
	struct eventfd_ctx *event;

	if (wq_has_sleeper(&observer->wait))
		wake_up_interruptible_poll(&observer->wait, EPOLLIN | EPOLLPRI | EPOLLHUP);
	rcu_read_lock();
	event = rcu_dereference(observer->event);
	if (event)
		hwv_eventfd_signal(event);
	rcu_read_unlock();
}

/* Not where the VM has ended or has no such vCPU. *id is one that arrays may be indexed by. */
struct hwv_host_vcpu *hwv_lock_vcpu(struct hwv_host_vm *vm, u32 *id)
{
	bool known = *id < HWV_MAX_VCPUS;

	*id = array_index_nospec(*id, HWV_MAX_VCPUS);
	if (mutex_lock_killable(&vm->lock))
		return ERR_PTR(-EINTR);
	if (!vm->ended && known && vm->vcpus[*id])
		return vm->vcpus[*id];
	mutex_unlock(&vm->lock);
	return ERR_PTR(vm->ended ? -ESRCH : -ENOENT);
}

/* ---- waiting for records ---- */

static bool has_records(const struct hwv_ring *ring)
{
	return READ_ONCE(ring->head) != READ_ONCE(ring->tail);
}

/* vm->lock. A reader that asks has made what room it can: who waits for some looks again. */
static __poll_t observer_events(struct hwv_host_observer *observer)
{
	struct hwv_host_vm *vm = observer->vm;
	__poll_t events = 0;
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++) {
		struct hwv_observer_ring *ring = &observer->rings[id];

		if (!ring->core)
			continue;
		if (has_records(ring->shared))
			events |= EPOLLIN | EPOLLRDNORM;
		if (!vm->ended)
			hwv_host_vcpu_wake(vm->vcpus[id]);
	}
	if (hwv_any_stop(observer))
		events |= EPOLLPRI;
	if (vm->ended)
		events |= EPOLLHUP;
	return events;
}

static __poll_t observer_poll(struct file *file, poll_table *table)
{
	struct hwv_host_observer *observer = file->private_data;
	__poll_t events;

	poll_wait(file, &observer->wait, table);
	mutex_lock(&observer->vm->lock);
	events = observer_events(observer);
	mutex_unlock(&observer->vm->lock);
	return events;
}

static long set_eventfd(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	const struct hwv_observe_eventfd *request = argument;
	struct eventfd_ctx *event = NULL;

	if (request->flags || request->fd < -1)
		return -EINVAL;
	if (request->fd >= 0)
		event = eventfd_ctx_fdget(request->fd);
	if (IS_ERR(event))
		return PTR_ERR(event);
	mutex_lock(&observer->vm->lock);
	event = rcu_replace_pointer(observer->event, event, true);
	if (request->fd >= 0 && observer_events(observer))
		hwv_host_observer_wake(observer);
	mutex_unlock(&observer->vm->lock);
	synchronize_rcu();
	if (event)
		eventfd_ctx_put(event);
	return 0;
}

/* ---- mappings ---- */

static int map_ring(struct hwv_observer_ring *ring, struct vm_area_struct *vma)
{
	if (!ring->core)
		return -ENOENT;
	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	return hwv_map_shared(vma, ring->shared, ring->bytes);
}

static int observer_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hwv_host_observer *observer = file->private_data;
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u32 id = (offset >> 32) & 0xff;
	struct hwv_host_vcpu *vcpu = hwv_lock_vcpu(observer->vm, &id);
	int err = -EINVAL;

	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	if (offset == HWV_MAP(HWV_MAP_STATS, id))
		err = hwv_map_stats(vcpu, vma);
	else if (offset == HWV_MAP(HWV_MAP_RING, id))
		err = map_ring(&observer->rings[id], vma);
	mutex_unlock(&observer->vm->lock);
	return err;
}

/* ---- pausing and ending ---- */

int hwv_vm_hold(struct hwv_host_vm *vm)
{
	return kref_get_unless_zero(&vm->refs) ? 0 : -ESRCH;
}

/* vm->lock */
static void tell_vcpus(struct hwv_host_vm *vm, void (*what)(struct hwv_core_vcpu *vcpu))
{
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++)
		if (vm->vcpus[id])
			what(vm->vcpus[id]->core);
}

/* vm->lock */
static void wake_vcpus(struct hwv_host_vm *vm)
{
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++)
		if (vm->vcpus[id])
			hwv_host_vcpu_wake(vm->vcpus[id]);
}

static bool any_runs(struct hwv_host_vm *vm, const struct hwv_host_vcpu *only)
{
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++) {
		struct hwv_host_vcpu *vcpu = READ_ONCE(vm->vcpus[id]);

		if (vcpu && (!only || vcpu == only) &&
		    atomic_read(&vcpu->user) == HWV_VCPU_RUNNING)
			return true;
	}
	return false;
}

void hwv_resume_locked(struct hwv_host_vm *vm, u32 slot)
{
	bool was = vm->paused;

	WRITE_ONCE(vm->paused, vm->paused & ~BIT(slot));
	if (vm->ended || vm->paused || !was)
		return;
	wake_vcpus(vm);
	hwv_news_tell(vm, HWV_NEWS_VM_RESUMED);
}

static long resume(void *object, void *unused)
{
	struct hwv_host_observer *observer = object;

	if (mutex_lock_killable(&observer->vm->lock))
		return -EINTR;
	hwv_resume_locked(observer->vm, observer->slot);
	mutex_unlock(&observer->vm->lock);
	return 0;
}

void hwv_pause_locked(struct hwv_host_vm *vm, u32 slot)
{
	bool was = vm->paused;

	WRITE_ONCE(vm->paused, vm->paused | BIT(slot));
	tell_vcpus(vm, hwv_core_vcpu_pause);
	if (!was)
		hwv_news_tell(vm, HWV_NEWS_VM_PAUSED);
}

int hwv_pause_wait(struct hwv_host_vm *vm, const struct hwv_host_vcpu *only, unsigned int limit_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(limit_ms);

	while (any_runs(vm, only)) {
		if (limit_ms && time_after(jiffies, end))
			return -ETIMEDOUT;
		if (msleep_interruptible(1))
			return -EINTR;
	}
	return 0;
}

static long pause_vm(void *object, void *unused)
{
	struct hwv_host_observer *observer = object;
	struct hwv_host_vm *vm = observer->vm;
	int err = hwv_vm_hold(vm);

	if (err)
		return err;
	if (mutex_lock_killable(&vm->lock)) {
		hwv_vm_put(vm);
		return -EINTR;
	}
	hwv_pause_locked(vm, observer->slot);
	mutex_unlock(&vm->lock);
	err = hwv_pause_wait(vm, NULL, 0);
	if (err)
		resume(observer, NULL);
	hwv_vm_put(vm);
	return err;
}

int hwv_kill(struct hwv_host_vm *vm)
{
	bool was;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	was = vm->killed;
	vm->killed = true;
	if (!vm->ended) {
		tell_vcpus(vm, hwv_core_vcpu_kill);
		if (!was)
			hwv_news_tell(vm, HWV_NEWS_VM_KILLED);
	}
	mutex_unlock(&vm->lock);
	return 0;
}

static long kill_vm(void *object, void *unused)
{
	struct hwv_host_observer *observer = object;

	return hwv_kill(observer->vm);
}

/* ---- life ---- */

static long info(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;

	hwv_describe(observer->vm, argument);
	return 0;
}

static const struct hwv_ioctl observer_ioctls[] = {
	{ HWV_OBSERVE_INFO, info, false },
	{ HWV_PAUSE, pause_vm, false },
	{ HWV_RESUME, resume, false },
	{ HWV_KILL, kill_vm, false },
	{ HWV_OBSERVE_REGS, hwv_observe_regs, false },
	{ HWV_OBSERVE_MEMORY, hwv_observe_memory, false },
	{ HWV_RING_OPEN, hwv_ring_open, false },
	{ HWV_RING_CLOSE, hwv_ring_close, false },
	{ HWV_POLICY_SET, hwv_policy_set, false, true },
	{ HWV_POLICY_GET, hwv_policy_get, false },
	{ HWV_STOP_GET, hwv_stop_get, false },
	{ HWV_STOP_REPLY, hwv_stop_reply, false },
	{ HWV_PROGRAM_ATTACH, hwv_program_attach, false, true },
	{ HWV_PROGRAM_DETACH, hwv_program_detach, false },
	{ HWV_PROGRAM_LIST, hwv_program_list, false },
	{ HWV_OBSERVE_EVENTFD, set_eventfd, false },
};

static long observer_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	return hwv_ioctl(observer_ioctls, ARRAY_SIZE(observer_ioctls), file->private_data, NULL,
			 request, argument);
}

static int observer_release(struct inode *inode, struct file *file)
{
	struct hwv_host_observer *observer = file->private_data;
	struct hwv_host_vm *vm = observer->vm;

	mutex_lock(&vm->lock);
	hwv_resume_locked(vm, observer->slot);
	hwv_rings_detach(observer);
	hwv_policy_detach(observer);
	hwv_programs_detach(observer);
	vm->observers[observer->slot] = NULL;
	mutex_unlock(&vm->lock);
	synchronize_rcu();
	hwv_rings_free(observer);
	hwv_policy_free(observer);
	if (rcu_access_pointer(observer->event))
		eventfd_ctx_put(rcu_access_pointer(observer->event));
	kvfree(observer);
	hwv_vm_shell_put(vm);
	return 0;
}

static const struct file_operations observer_fops = {
	.owner = THIS_MODULE,
	.release = observer_release,
	.unlocked_ioctl = observer_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = observer_mmap,
	.poll = observer_poll,
	.llseek = noop_llseek,
};

/* The lowest slot that nobody has. */
int hwv_observer_join(struct hwv_host_observer *observer)
{
	struct hwv_host_vm *vm = observer->vm;
	u32 slot;

	for (slot = 0; slot < HWV_MAX_OBSERVERS; slot++) {
		if (vm->observers[slot])
			continue;
		vm->observers[slot] = observer;
		observer->slot = slot;
		observer->age = ++vm->observers_ever;
		return 0;
	}
	return -ENOSPC;
}

int hwv_observer_open(struct hwv_host_vm *vm)
{
	struct hwv_host_observer *observer = kvzalloc(sizeof(*observer), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!observer)
		goto put;
	observer->vm = vm;
	init_waitqueue_head(&observer->wait);
	mutex_lock(&vm->lock);
	err = hwv_observer_join(observer);
	mutex_unlock(&vm->lock);
	if (err)
		goto free;
	err = anon_inode_getfd("hwv-observer", &observer_fops, observer, O_RDWR | O_CLOEXEC);
	if (err >= 0)
		return err;
	mutex_lock(&vm->lock);
	vm->observers[observer->slot] = NULL;
	mutex_unlock(&vm->lock);
free:
	kvfree(observer);
put:
	hwv_vm_shell_put(vm);
	return err;
}
