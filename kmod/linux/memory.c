// SPDX-License-Identifier: GPL-2.0-only
/*
 * Door 1, guest memory: pages in what a guest touches and tells how the host maps it. From the
 * moment that the core installs the page under its memory lock, the notifier (notifier.c) keeps the
 * mapping honest; what was found before counts only if no invalidation came in between.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include "compat.h"
#include "glue.h"

struct mapping {
	u64 pfn;
	unsigned long flags; /* _PAGE_* of the entry */
	u32 level;
	bool writable;
};

/* A page-table entry of any level, as flags and the frame that it maps. */
static bool leaf(struct mapping *out, u64 pfn, unsigned long flags, u32 level, u64 hva)
{
	u64 pages = 1ULL << (9 * (level - 1));

	out->level = level;
	out->pfn = pfn + ((hva >> PAGE_SHIFT) & (pages - 1));
	out->flags = flags;
	out->writable = flags & _PAGE_RW;
	return true;
}

/*
 * The host's leaf around `hva`. With irqs off the tables stay: freeing them waits for an IPI or an
 * RCU grace period that this CPU holds up. Every entry is read once. _PAGE_RW, not pte_write():
 * that is also true for shadow stacks.
 */
static bool walk_irqoff(struct mm_struct *mm, u64 hva, struct mapping *out)
{
	pgd_t pgd = READ_ONCE(*pgd_offset(mm, hva));
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;
	pte_t pte;

	if (pgd_none(pgd) || pgd_bad(pgd))
		return false;
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (p4d_none(p4d) || !p4d_present(p4d))
		return false;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (!pud_present(pud))
		return false;
	if (pud_leaf(pud))
		return leaf(out, pud_pfn(pud), pud_flags(pud), 3, hva);
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	if (!pmd_present(pmd))
		return false;
	if (pmd_leaf(pmd))
		return leaf(out, pmd_pfn(pmd), pmd_flags(pmd), 2, hva);
	pte = READ_ONCE(*pte_offset_kernel(&pmd, hva));
	if (!pte_present(pte))
		return false;
	return leaf(out, pte_pfn(pte), pte_flags(pte), 1, hva);
}

static bool walk(struct mm_struct *mm, u64 hva, struct mapping *out)
{
	unsigned long flags;
	bool found;

	local_irq_save(flags);
	found = walk_irqoff(mm, hva, out);
	local_irq_restore(flags);
	return found;
}

/*
 * An ordinary page, mapped and in use already, to be used as the owner himself could use it now: no
 * fault, and so no reference, is needed. All else (device memory, copy on write, a first access,
 * NUMA hints) goes the long way.
 */
static bool at_hand(const struct mapping *map, int write)
{
	unsigned long need = _PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED;

	if (write)
		need |= _PAGE_RW | _PAGE_DIRTY;
	return (map->flags & need) == need && !(map->flags & (_PAGE_SPECIAL | _PAGE_DEVMAP)) &&
	       pfn_valid(map->pfn);
}

/*
 * Why the page could not be had: device memory has no page that could be referenced, and is refused
 * by name.
 */
static int refusal(struct mm_struct *mm, u64 hva, int err)
{
	struct vm_area_struct *vma;

	if (err != -EFAULT)
		return err;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, hva);
	if (vma && vma->vm_start <= hva && (vma->vm_flags & (VM_IO | VM_PFNMAP)))
		err = -EPERM;
	mmap_read_unlock(mm);
	return err;
}

static int get_page_of(u64 hva, int write, struct page **page)
{
	unsigned int flags = write ? FOLL_WRITE : 0;
	long got;

	if (get_user_pages_fast_only(hva, 1, flags, page) == 1)
		return 0;
	got = get_user_pages_unlocked(hva, 1, page, flags | FOLL_HWPOISON);
	if (got == 1)
		return 0;
	if (fatal_signal_pending(current))
		return -EINTR;
	return got < 0 ? got : -EFAULT;
}

int hwv_host_fault_in(struct hwv_host_vm *vm, __u64 hva, int write, struct hwv_host_fault *out)
{
	struct mapping map;
	struct page *page;
	int err;

	if (current->mm != vm->mm || hva >= TASK_SIZE_MAX)
		return -EFAULT;
	out->sequence = READ_ONCE(vm->invalidation.sequence);
	smp_rmb(); /* the tables are read after it: pairs with invalidate_end() */
	out->held = 0;
	if (walk(vm->mm, hva, &map) && at_hand(&map, write)) {
		out->pfn = map.pfn;
		out->level = map.level;
		out->writable = map.writable;
		return 0;
	}
	err = get_page_of(hva, write, &page);
	if (err)
		return refusal(vm->mm, hva, err);
	out->held = 1;
	out->pfn = page_to_pfn(page);
	out->level = 1;
	out->writable = !!write;
	/*
	 * The tables may have moved on since; what they say counts only for the page that is held.
	 */
	if (walk(vm->mm, hva, &map) && map.pfn == out->pfn && (map.writable || !write)) {
		out->level = map.level;
		out->writable = map.writable;
	}
	return 0;
}

int hwv_host_fault_stale(struct hwv_host_vm *vm, __u64 sequence, __u64 hva)
{
	struct hwv_invalidation *inv = &vm->invalidation;
	bool stale;

	spin_lock(&inv->lock);
	stale = inv->sequence != sequence;
	if (inv->active && hva >= inv->start && hva < inv->end)
		stale = true;
	spin_unlock(&inv->lock);
	return stale;
}

/*
 * Only the flag: the host's own page-table entry is dirty as well, and it is that which file
 * systems wait for.
 */
static void mark_dirty(struct page *page)
{
	if (!PageReserved(page))
		SetPageDirty(page);
}

void hwv_host_fault_done(const struct hwv_host_fault *fault, int written)
{
	struct page *page = pfn_to_page(fault->pfn);

	/* Whether the guest uses it is told by the accessed bits of its own table, when asked. */
	if (!fault->held)
		return;
	if (written)
		mark_dirty(page);
	put_page(page);
}

void hwv_host_page_set_dirty(__u64 pfn)
{
	if (pfn_valid(pfn))
		mark_dirty(pfn_to_page(pfn));
}
