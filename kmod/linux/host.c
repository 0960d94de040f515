// SPDX-License-Identifier: GPL-2.0-only
/* Door 1, the plain services: log, memory, lock, this CPU, time. */
#include <linux/bug.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include <asm/io.h>
#include <asm/tsc.h>
#include "compat.h"
#include "glue.h"

void hwv_host_log(const char *format, __u64 a, __u64 b)
{
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 10);
	char line[160];

	if (!__ratelimit(&limit))
		return;
	snprintf(line, sizeof(line), format, a, b);
	pr_info("%s\n", line);
}

void hwv_host_bug(void)
{
	BUG();
}

/* ---- memory ---- */

#define HWV_GFP (GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN)

void *hwv_host_alloc(__u64 bytes)
{
	if (bytes > INT_MAX)
		return NULL;
	return kvmalloc(bytes, HWV_GFP);
}

void hwv_host_free(void *memory)
{
	kvfree(memory);
}

void *hwv_host_shared_alloc(__u64 bytes)
{
	return bytes > INT_MAX ? NULL : __vmalloc(bytes, HWV_GFP);
}

/* Not remap_vmalloc_range(): it wants vmalloc_user(), which charges nobody. */
int hwv_map_shared(struct vm_area_struct *vma, void *memory, u64 bytes)
{
	u64 offset;
	int err = 0;

	if (vma->vm_end - vma->vm_start != bytes)
		return -EINVAL;
	hwv_vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	for (offset = 0; !err && offset < bytes; offset += PAGE_SIZE)
		err = vm_insert_page(vma, vma->vm_start + offset, vmalloc_to_page(memory + offset));
	return err;
}

void hwv_host_shared_free(void *memory)
{
	vfree(memory);
}

int hwv_host_pages_alloc(__u32 order, struct hwv_host_page *out)
{
	struct page *page = alloc_pages(HWV_GFP, order);

	if (!page)
		return -ENOMEM;
	out->va = page_address(page);
	out->pa = page_to_phys(page);
	return 0;
}

void hwv_host_pages_free(const struct hwv_host_page *page, __u32 order)
{
	__free_pages(virt_to_page(page->va), order);
}

/* ---- lock ---- */

void hwv_host_lock_init(struct hwv_host_lock *lock)
{
	BUILD_BUG_ON(sizeof(spinlock_t) > sizeof(*lock));
	spin_lock_init((spinlock_t *)lock);
}

void hwv_host_lock_take(struct hwv_host_lock *lock)
{
	spin_lock((spinlock_t *)lock);
}

void hwv_host_lock_release(struct hwv_host_lock *lock)
{
	spin_unlock((spinlock_t *)lock);
}

void hwv_host_give_way(void)
{
	cond_resched();
}

/* ---- this CPU ---- */

__u32 hwv_host_cpu(void)
{
	return raw_smp_processor_id();
}

__u32 hwv_host_cpu_count(void)
{
	return nr_cpu_ids;
}

void hwv_host_preempt_disable(void)
{
	preempt_disable();
}

void hwv_host_preempt_enable(void)
{
	preempt_enable();
}

void hwv_host_cpu_kick(__u32 cpu)
{
	smp_send_reschedule(cpu);
}

static void arrived(void *unused)
{
}

void hwv_host_cpu_kick_wait(__u32 cpu)
{
	/* A CPU that went offline meanwhile runs no guest: its error is the answer, too. */
	smp_call_function_single(cpu, arrived, NULL, 1);
}

void hwv_host_call(__u32 cpu, void (*function)(void *), void *argument)
{
	smp_call_function_single(cpu, function, argument, 1);
}

void hwv_host_irq_disable(void)
{
	local_irq_disable();
}

__u64 hwv_host_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

void hwv_host_irq_restore(__u64 flags)
{
	local_irq_restore((unsigned long)flags);
}

/* ---- time ---- */

__u64 hwv_host_boot_ns(void)
{
	return ktime_get_boottime_ns();
}

__u64 hwv_host_wall_ns(void)
{
	return ktime_get_real_ns();
}

__u32 hwv_host_tsc_khz(void)
{
	return tsc_khz;
}

int hwv_host_tsc_stable(void)
{
	return !check_tsc_unstable();
}

__u64 hwv_host_steal_ns(void)
{
	return current->sched_info.run_delay;
}
