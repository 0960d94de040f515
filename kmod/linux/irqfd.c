// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqfd: a signal of an eventfd becomes an MSI, in the signaller's context. An entry leaves the
 * list by deassign, by the VM's end, or by the eventfd's (EPOLLHUP, in atomic context: the rest is
 * done by a worker); who takes it off the list ends it.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "compat.h"
#include "glue.h"

struct irqfd {
	struct hwv_host_vm *vm;
	struct eventfd_ctx *event;
	struct eventfd_ctx *resample;
	u64 address;
	u32 data;
	bool listed; /* irqfd_lock */
	struct list_head link;
	wait_queue_entry_t wait;
	poll_table table;
	struct work_struct ended;
};

static struct workqueue_struct *ended_queue;

/* irqfd_lock held. False: somebody else did it. */
static bool unlist(struct hwv_events *events, struct irqfd *irqfd)
{
	if (!irqfd->listed)
		return false;
	irqfd->listed = false;
	list_del_rcu(&irqfd->link);
	events->irqfd_count--;
	if (irqfd->resample)
		WRITE_ONCE(events->resample_count, events->resample_count - 1);
	return true;
}

static void irqfd_free(struct irqfd *irqfd)
{
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
	if (irqfd->event)
		eventfd_ctx_put(irqfd->event);
	kfree(irqfd);
}

/* After unlist(). */
static void irqfd_end(struct irqfd *irqfd)
{
	u64 count;

	eventfd_ctx_remove_wait_queue(irqfd->event, &irqfd->wait, &count);
	synchronize_rcu(); /* hwv_host_resample() may still see it */
	irqfd_free(irqfd);
}

static void ended(struct work_struct *work)
{
	irqfd_end(container_of(work, struct irqfd, ended));
}

/* Under the eventfd's wait queue lock, irqs off. */
static int signalled(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	struct hwv_events *events = &irqfd->vm->events;
	__poll_t flags = key_to_poll(key);
	unsigned long irq_flags;
	u64 count;

	if (flags & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->event, &count);
		hwv_core_vm_msi(irqfd->vm->core, irqfd->address, irqfd->data);
	}
	if (flags & EPOLLHUP) {
		spin_lock_irqsave(&events->irqfd_lock, irq_flags);
		if (unlist(events, irqfd))
			queue_work(ended_queue, &irqfd->ended);
		spin_unlock_irqrestore(&events->irqfd_lock, irq_flags);
	}
	return 0;
}

static void enqueue(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	add_wait_queue(head, &container_of(table, struct irqfd, table)->wait);
}

static struct irqfd *irqfd_alloc(struct hwv_host_vm *vm, const struct hwv_irqfd *request,
				 struct file *file)
{
	struct irqfd *irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	struct eventfd_ctx *event;

	if (!irqfd)
		return ERR_PTR(-ENOMEM);
	irqfd->vm = vm;
	irqfd->address = request->address;
	irqfd->data = request->data;
	init_waitqueue_func_entry(&irqfd->wait, signalled);
	init_poll_funcptr(&irqfd->table, enqueue);
	INIT_WORK(&irqfd->ended, ended);
	event = eventfd_ctx_fileget(file);
	if (IS_ERR(event))
		goto fail;
	irqfd->event = event;
	if (request->flags & HWV_IRQFD_RESAMPLE) {
		event = eventfd_ctx_fdget(request->resample_fd);
		if (IS_ERR(event))
			goto fail;
		irqfd->resample = event;
	}
	return irqfd;
fail:
	irqfd_free(irqfd);
	return ERR_CAST(event);
}

static int enlist(struct hwv_events *events, struct irqfd *irqfd)
{
	struct irqfd *other;
	int err = 0;

	spin_lock_irq(&events->irqfd_lock);
	list_for_each_entry(other, &events->irqfds, link)
		if (other->event == irqfd->event)
			err = -EBUSY;
	if (!err && events->irqfd_count >= HWV_MAX_EVENTFDS)
		err = -ENOSPC;
	if (!err) {
		events->irqfd_count++;
		if (irqfd->resample)
			WRITE_ONCE(events->resample_count, events->resample_count + 1);
		irqfd->listed = true;
		list_add_rcu(&irqfd->link, &events->irqfds);
	}
	spin_unlock_irq(&events->irqfd_lock);
	return err;
}

/*
 * The reference to the file keeps EPOLLHUP away until the entry is whole, events->lock a deassign.
 */
static int assign(struct hwv_host_vm *vm, const struct hwv_irqfd *request)
{
	struct file *file = fget(request->fd);
	struct irqfd *irqfd;
	int err;

	if (!file)
		return -EBADF;
	irqfd = irqfd_alloc(vm, request, file);
	if (IS_ERR(irqfd)) {
		fput(file);
		return PTR_ERR(irqfd);
	}
	err = enlist(&vm->events, irqfd);
	if (err)
		irqfd_free(irqfd);
	else if (vfs_poll(file, &irqfd->table) & EPOLLIN) /* signalled before it was assigned */
		hwv_core_vm_msi(vm->core, request->address, request->data);
	fput(file);
	return err;
}

static int deassign(struct hwv_host_vm *vm, const struct hwv_irqfd *request)
{
	struct eventfd_ctx *event = eventfd_ctx_fdget(request->fd);
	struct hwv_events *events = &vm->events;
	struct irqfd *irqfd, *found = NULL;

	if (IS_ERR(event))
		return PTR_ERR(event);
	spin_lock_irq(&events->irqfd_lock);
	list_for_each_entry(irqfd, &events->irqfds, link)
		if (irqfd->event == event)
			found = irqfd;
	if (found)
		unlist(events, found);
	spin_unlock_irq(&events->irqfd_lock);
	if (found)
		irqfd_end(found);
	eventfd_ctx_put(event);
	return found ? 0 : -ENOENT;
}

long hwv_irqfd(void *object, void *argument)
{
	struct hwv_host_vm *vm = object;
	const struct hwv_irqfd *request = argument;
	int err;

	if (request->flags & ~(HWV_IRQFD_DEASSIGN | HWV_IRQFD_RESAMPLE))
		return -EINVAL;
	if (mutex_lock_killable(&vm->events.lock))
		return -EINTR;
	if (request->flags & HWV_IRQFD_DEASSIGN)
		err = deassign(vm, request);
	else
		err = assign(vm, request);
	mutex_unlock(&vm->events.lock);
	return err;
}

void hwv_host_resample(struct hwv_host_vm *vm, __u8 vector)
{
	struct irqfd *irqfd;

	if (!READ_ONCE(vm->events.resample_count))
		return;
	rcu_read_lock();
	list_for_each_entry_rcu(irqfd, &vm->events.irqfds, link)
		if (irqfd->resample && (u8)irqfd->data == vector)
			hwv_eventfd_signal(irqfd->resample);
	rcu_read_unlock();
}

/* ---- life ---- */

void hwv_events_init(struct hwv_host_vm *vm)
{
	mutex_init(&vm->events.lock);
	spin_lock_init(&vm->events.irqfd_lock);
	INIT_LIST_HEAD(&vm->events.irqfds);
	hash_init(vm->events.ioevents);
}

/* The VM's last reference is gone: only eventfds that close can still take entries off the list. */
void hwv_events_release(struct hwv_host_vm *vm)
{
	struct hwv_events *events = &vm->events;
	struct irqfd *irqfd;

	for (;;) {
		spin_lock_irq(&events->irqfd_lock);
		irqfd = list_first_entry_or_null(&events->irqfds, struct irqfd, link);
		if (irqfd && unlist(events, irqfd))
			queue_work(ended_queue, &irqfd->ended);
		spin_unlock_irq(&events->irqfd_lock);
		if (!irqfd)
			break;
	}
	flush_workqueue(ended_queue);
	hwv_ioeventfds_release(vm);
}

int hwv_irqfd_module_init(void)
{
	ended_queue = alloc_workqueue("hwv-irqfd", WQ_UNBOUND, 0);
	return ended_queue ? 0 : -ENOMEM;
}

void hwv_irqfd_module_exit(void)
{
	destroy_workqueue(ended_queue);
}
