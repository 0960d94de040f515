// SPDX-License-Identifier: GPL-2.0-only
/* The rings of an observer: memory that both sides map, and when nobody uses it any more. */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include "glue.h"

/* vm->lock. The vCPU lets go of it, whatever it waits for. */
static void ring_detach(struct hwv_host_observer *observer, u32 id)
{
	if (!observer->vm->ended && observer->rings[id].core)
		hwv_core_vcpu_set_ring(observer->vm->vcpus[id]->core, observer->slot, NULL);
}

/* After ring_detach() and synchronize_rcu(). A mapping keeps its pages. */
static void ring_free(struct hwv_observer_ring *ring)
{
	if (ring->core)
		hwv_core_ring_destroy(ring->core);
	hwv_host_shared_free(ring->shared);
	memset(ring, 0, sizeof(*ring));
}

static int ring_alloc(struct hwv_host_observer *observer, const struct hwv_ring_open *request,
		      struct hwv_observer_ring *ring)
{
	int err;

	if (!request->capacity || request->capacity > HWV_RING_MAX)
		return -EINVAL;
	ring->bytes = PAGE_ALIGN(HWV_RING_HEADER + request->capacity * sizeof(struct hwv_record));
	ring->shared = hwv_host_shared_alloc(ring->bytes);
	if (!ring->shared)
		return -ENOMEM;
	err = hwv_core_ring_create(ring->shared, observer, observer->age, request, &ring->core);
	if (err)
		ring_free(ring);
	return err;
}

long hwv_ring_open(void *object, void *argument)
{
	const struct hwv_ring_open *request = argument;
	struct hwv_host_observer *observer = object;
	struct hwv_observer_ring ring = {};
	struct hwv_host_vcpu *vcpu;
	u32 id = request->vcpu;
	int err = ring_alloc(observer, request, &ring);

	if (err)
		return err;
	vcpu = hwv_lock_vcpu(observer->vm, &id);
	if (IS_ERR(vcpu)) {
		err = PTR_ERR(vcpu);
		goto free;
	}
	if (observer->rings[id].core) {
		err = -EEXIST;
	} else {
		observer->rings[id] = ring;
		hwv_core_vcpu_set_ring(vcpu->core, observer->slot, ring.core);
	}
	mutex_unlock(&observer->vm->lock);
free:
	if (err)
		ring_free(&ring);
	return err;
}

long hwv_ring_close(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	u32 id = *(u32 *)argument;
	struct hwv_observer_ring ring;

	if (id >= HWV_MAX_VCPUS)
		return -ENOENT;
	id = array_index_nospec(id, HWV_MAX_VCPUS);
	if (mutex_lock_killable(&observer->vm->lock))
		return -EINTR;
	ring_detach(observer, id);
	ring = observer->rings[id];
	memset(&observer->rings[id], 0, sizeof(ring));
	mutex_unlock(&observer->vm->lock);
	if (!ring.core)
		return -ENOENT;
	synchronize_rcu();
	ring_free(&ring);
	return 0;
}

/* vm->lock; to be followed by synchronize_rcu(). */
void hwv_rings_detach(struct hwv_host_observer *observer)
{
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++)
		ring_detach(observer, id);
}

void hwv_rings_free(struct hwv_host_observer *observer)
{
	u32 id;

	for (id = 0; id < HWV_MAX_VCPUS; id++)
		ring_free(&observer->rings[id]);
}
