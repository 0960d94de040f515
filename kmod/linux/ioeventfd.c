// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioeventfd: a guest's write to a port or an address becomes a signal. Looked up on every such
 * exit, hence hashed and lock-free.
 */
#include <linux/eventfd.h>
#include <linux/hashtable.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include "compat.h"
#include "glue.h"

struct ioeventfd {
	struct hlist_node link;
	struct eventfd_ctx *event;
	u64 address;
	u64 datamatch;
	u32 length;
	u32 flags;
};

static bool takes(const struct ioeventfd *io, u32 flags, u64 address, u32 length, u64 data)
{
	if (io->address != address || (io->flags & HWV_IOEVENTFD_PIO) != flags)
		return false;
	if (io->length && io->length != length)
		return false;
	return !(io->flags & HWV_IOEVENTFD_DATAMATCH) || io->datamatch == data;
}

int hwv_host_ioevent(struct hwv_host_vm *vm, int port, __u64 address, __u32 bytes, __u64 data)
{
	u32 flags = port ? HWV_IOEVENTFD_PIO : 0;
	struct ioeventfd *io;
	int taken = 0;

	rcu_read_lock();
	hash_for_each_possible_rcu(vm->events.ioevents, io, link, address) {
		if (!takes(io, flags, address, bytes, data))
			continue;
		hwv_eventfd_signal(io->event);
		taken = 1;
		break;
	}
	rcu_read_unlock();
	return taken;
}

static int check(const struct hwv_ioeventfd *request)
{
	u32 known = HWV_IOEVENTFD_DEASSIGN | HWV_IOEVENTFD_PIO | HWV_IOEVENTFD_DATAMATCH;
	u64 last = request->address + (request->length ? request->length - 1 : 0);

	if ((request->flags & ~known) || request->reserved)
		return -EINVAL;
	if (request->length > 8 || (request->length & (request->length - 1)))
		return -EINVAL;
	if (last < request->address)
		return -EINVAL;
	if ((request->flags & HWV_IOEVENTFD_PIO) && (last > 0xffff || request->length > 4))
		return -EINVAL;
	if (!(request->flags & HWV_IOEVENTFD_DATAMATCH))
		return request->datamatch ? -EINVAL : 0;
	/*
	 * A value that the width cannot hold would never match; without a width there is no saying.
	 */
	if (!request->length ||
	    (request->length < 8 && request->datamatch >> (8 * request->length)))
		return -EINVAL;
	return 0;
}

/* Some write would be taken by both. */
static bool collides(const struct ioeventfd *io, const struct hwv_ioeventfd *request)
{
	if (io->address != request->address ||
	    ((io->flags ^ request->flags) & HWV_IOEVENTFD_PIO))
		return false;
	if (io->length && request->length && io->length != request->length)
		return false;
	if (io->flags & request->flags & HWV_IOEVENTFD_DATAMATCH)
		return io->datamatch == request->datamatch;
	return true;
}

/* Exits of a VM without ioeventfds do not even ask. */
static void tell_core(struct hwv_events *events)
{
	struct hwv_host_vm *vm = container_of(events, struct hwv_host_vm, events);

	if (vm->core)
		hwv_core_vm_ioevents(vm->core, events->ioevent_count);
}

static int assign(struct hwv_events *events, const struct hwv_ioeventfd *request,
		  struct eventfd_ctx *event)
{
	struct ioeventfd *io;

	hash_for_each_possible(events->ioevents, io, link, request->address)
		if (collides(io, request))
			return -EEXIST;
	if (events->ioevent_count >= HWV_MAX_EVENTFDS)
		return -ENOSPC;
	io = kzalloc(sizeof(*io), GFP_KERNEL_ACCOUNT);
	if (!io)
		return -ENOMEM;
	io->event = event;
	io->address = request->address;
	io->datamatch = request->datamatch;
	io->length = request->length;
	io->flags = request->flags;
	hash_add_rcu(events->ioevents, &io->link, io->address);
	events->ioevent_count++;
	tell_core(events);
	return 0;
}

static void ioeventfd_end(struct hwv_events *events, struct ioeventfd *io)
{
	hash_del_rcu(&io->link);
	events->ioevent_count--;
	tell_core(events);
	synchronize_rcu(); /* a vCPU may be about to signal it */
	eventfd_ctx_put(io->event);
	kfree(io);
}

static int deassign(struct hwv_events *events, const struct hwv_ioeventfd *request,
		    struct eventfd_ctx *event)
{
	u32 flags = request->flags & ~HWV_IOEVENTFD_DEASSIGN;
	struct ioeventfd *io;

	hash_for_each_possible(events->ioevents, io, link, request->address) {
		if (io->event != event || io->address != request->address || io->flags != flags ||
		    io->length != request->length || io->datamatch != request->datamatch)
			continue;
		ioeventfd_end(events, io);
		return 0;
	}
	return -ENOENT;
}

long hwv_ioeventfd(void *object, void *argument)
{
	struct hwv_events *events = &((struct hwv_host_vm *)object)->events;
	const struct hwv_ioeventfd *request = argument;
	bool remove = request->flags & HWV_IOEVENTFD_DEASSIGN;
	struct eventfd_ctx *event;
	int err = check(request);

	if (err)
		return err;
	event = eventfd_ctx_fdget(request->fd);
	if (IS_ERR(event))
		return PTR_ERR(event);
	if (mutex_lock_killable(&events->lock)) {
		eventfd_ctx_put(event);
		return -EINTR;
	}
	if (remove)
		err = deassign(events, request, event);
	else
		err = assign(events, request, event);
	mutex_unlock(&events->lock);
	if (remove || err) /* else the entry keeps it */
		eventfd_ctx_put(event);
	return err;
}

/* The VM's last reference is gone, so that no vCPU runs. */
void hwv_ioeventfds_release(struct hwv_host_vm *vm)
{
	struct ioeventfd *io;
	struct hlist_node *next;
	int bucket;

	hash_for_each_safe(vm->events.ioevents, bucket, next, io, link) {
		hash_del(&io->link);
		eventfd_ctx_put(io->event);
		kfree(io);
	}
}
