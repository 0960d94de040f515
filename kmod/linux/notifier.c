// SPDX-License-Identifier: GPL-2.0-only
/*
 * The owner's memory changes: every such change reaches the guest's tables before the host's, and a
 * fault that was under way meanwhile notices (hwv_host_fault_stale). Order, as for any secondary
 * MMU: `active` rises before the core unmaps under its memory lock; `sequence` rises before
 * `active` falls. A fault reads `sequence` before the page tables, and checks both under the core's
 * memory lock before it installs.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include "compat.h"
#include "glue.h"

static struct hwv_host_vm *vm_of(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct hwv_host_vm, notifier);
}

static void invalidate_begin(struct hwv_invalidation *inv, unsigned long start, unsigned long end)
{
	spin_lock(&inv->lock);
	if (inv->active++ == 0) {
		inv->start = start;
		inv->end = end;
	} else {
		inv->start = min(inv->start, start);
		inv->end = max(inv->end, end);
	}
	spin_unlock(&inv->lock);
}

static void invalidate_end(struct hwv_invalidation *inv)
{
	spin_lock(&inv->lock);
	WRITE_ONCE(inv->sequence, inv->sequence + 1);
	inv->active--;
	spin_unlock(&inv->lock);
}

static int range_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct hwv_host_vm *vm = vm_of(notifier);

	invalidate_begin(&vm->invalidation, range->start, range->end);
	hwv_core_vm_unmap_hva(vm->core, range->start, range->end,
			      mmu_notifier_range_blockable(range));
	return 0;
}

static void range_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	invalidate_end(&vm_of(notifier)->invalidation);
}

static hwv_young_t clear_flush_young(struct mmu_notifier *notifier, struct mm_struct *mm,
				     unsigned long start, unsigned long end)
{
	return hwv_core_vm_age_hva(vm_of(notifier)->core, start, end, 1);
}

static hwv_young_t clear_young(struct mmu_notifier *notifier, struct mm_struct *mm,
			       unsigned long start, unsigned long end)
{
	return hwv_core_vm_age_hva(vm_of(notifier)->core, start, end, 1);
}

static hwv_young_t test_young(struct mmu_notifier *notifier, struct mm_struct *mm,
			      unsigned long address)
{
	return hwv_core_vm_age_hva(vm_of(notifier)->core, address, address + 1, 0);
}

/*
 * The owner is gone, or the VM is: no page may stay in the guest's tables, for no further notice
 * will come.
 */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	hwv_core_vm_unmap_hva(vm_of(notifier)->core, 0, ULONG_MAX, 1);
}

static const struct mmu_notifier_ops ops = {
	.invalidate_range_start = range_start,
	.invalidate_range_end = range_end,
	.clear_flush_young = clear_flush_young,
	.clear_young = clear_young,
	.test_young = test_young,
	.release = release,
};

int hwv_notifier_start(struct hwv_host_vm *vm)
{
	int err;

	vm->notifier.ops = &ops;
	err = mmu_notifier_register(&vm->notifier, vm->mm);
	/* It gives up for any signal: made again behind that one's handler, the request succeeds. */
	return err == -EINTR ? -ERESTARTNOINTR : err;
}

void hwv_notifier_stop(struct hwv_host_vm *vm)
{
	mmu_notifier_unregister(&vm->notifier, vm->mm);
}
