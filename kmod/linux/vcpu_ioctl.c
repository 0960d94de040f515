// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU's requests and its run page. HWV_RUN owns the vCPU by `user` alone; every other request
 * that needs it holds the mutex, and is refused rather than kept waiting while the vCPU runs.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "glue.h"

static bool vcpu_take(struct hwv_host_vcpu *vcpu, int user)
{
	return atomic_cmpxchg_acquire(&vcpu->user, HWV_VCPU_IDLE, user) == HWV_VCPU_IDLE;
}

static int vcpu_lock(struct hwv_host_vcpu *vcpu)
{
	if (mutex_lock_killable(&vcpu->lock))
		return -EINTR;
	if (vcpu_take(vcpu, HWV_VCPU_ASKED))
		return 0;
	mutex_unlock(&vcpu->lock);
	return -EBUSY;
}

static void vcpu_unlock(struct hwv_host_vcpu *vcpu)
{
	atomic_set_release(&vcpu->user, HWV_VCPU_IDLE);
	mutex_unlock(&vcpu->lock);
}

int hwv_vcpu_borrow(struct hwv_host_vcpu *vcpu)
{
	if (!mutex_trylock(&vcpu->lock))
		return -EAGAIN;
	if (vcpu_take(vcpu, HWV_VCPU_ASKED))
		return HWV_VCPU_IDLE;
	if (atomic_cmpxchg_acquire(&vcpu->user, HWV_VCPU_PAUSED, HWV_VCPU_ASKED) == HWV_VCPU_PAUSED)
		return HWV_VCPU_PAUSED;
	mutex_unlock(&vcpu->lock);
	return -EBUSY;
}

void hwv_vcpu_give_back(struct hwv_host_vcpu *vcpu, int was)
{
	atomic_set_release(&vcpu->user, was);
	mutex_unlock(&vcpu->lock);
}

/* Another request under way is waited for; another run is not. */
static noinline int wait_for_run(struct hwv_host_vcpu *vcpu)
{
	bool taken;

	if (mutex_lock_killable(&vcpu->lock))
		return -EINTR;
	taken = vcpu_take(vcpu, HWV_VCPU_RUNNING);
	mutex_unlock(&vcpu->lock);
	return taken ? 0 : -EBUSY;
}

static long run(struct hwv_host_vcpu *vcpu)
{
	int err;

	if (current->mm != vcpu->vm->mm)
		return -EIO;
	if (unlikely(!vcpu_take(vcpu, HWV_VCPU_RUNNING))) {
		err = wait_for_run(vcpu);
		if (err)
			return err;
	}
	if (unlikely(!READ_ONCE(vcpu->vm->news.started)))
		hwv_news_started(vcpu->vm);
	preempt_disable();
	err = hwv_core_vcpu_run(vcpu->core, smp_processor_id(),
				(const __u32 *)&current_thread_info()->flags);
	local_irq_enable();
	if (vcpu->notified)
		hwv_vcpu_stays(vcpu);
	preempt_enable();
	atomic_set_release(&vcpu->user, HWV_VCPU_IDLE);
	return err;
}

static long sync_regs(void *object, void *unused)
{
	struct hwv_host_vcpu *vcpu = object;
	int err = vcpu_lock(vcpu);

	if (err)
		return err;
	hwv_vcpu_load(vcpu);
	err = hwv_core_vcpu_sync(vcpu->core);
	hwv_vcpu_unload(vcpu);
	vcpu_unlock(vcpu);
	return err;
}

static long kick(void *object, void *unused)
{
	struct hwv_host_vcpu *vcpu = object;

	hwv_core_vcpu_kick(vcpu->core);
	return 0;
}

static long set_cpuid(void *object, void *argument)
{
	struct hwv_host_vcpu *vcpu = object;
	const struct hwv_cpuid_table *request = argument;
	struct hwv_cpuid_entry *entries;
	int err;

	if (request->reserved)
		return -EINVAL;
	if (request->count > HWV_MAX_CPUID)
		return -E2BIG;
	entries = memdup_user(u64_to_user_ptr(request->entries), request->count * sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	err = vcpu_lock(vcpu);
	if (!err) {
		err = hwv_core_vcpu_set_cpuid(vcpu->core, entries, request->count);
		vcpu_unlock(vcpu);
	}
	kfree(entries);
	return err;
}

static int check_msr_entries(const struct hwv_msr_entry *entries, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		if (entries[i].reserved)
			return -EINVAL;
	return 0;
}

/* How many were done before the first that is refused. */
static long msrs_loaded(struct hwv_host_vcpu *vcpu, struct hwv_msr_entry *entries,
			const struct hwv_msrs *request)
{
	u32 done;

	hwv_vcpu_load(vcpu);
	for (done = 0; done < request->count; done++)
		if (hwv_core_vcpu_msr(vcpu->core, &entries[done], request->flags & HWV_MSRS_SET))
			break;
	hwv_vcpu_unload(vcpu);
	return done;
}

static long msrs(void *object, void *argument)
{
	struct hwv_host_vcpu *vcpu = object;
	const struct hwv_msrs *request = argument;
	struct hwv_msr_entry *entries;
	void __user *user = u64_to_user_ptr(request->entries);
	long done;

	if (request->flags & ~HWV_MSRS_SET)
		return -EINVAL;
	if (request->count > HWV_MAX_MSRS)
		return -E2BIG;
	entries = memdup_user(user, request->count * sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	done = check_msr_entries(entries, request->count);
	if (!done)
		done = vcpu_lock(vcpu);
	if (!done) {
		done = msrs_loaded(vcpu, entries, request);
		vcpu_unlock(vcpu);
	}
	if (done > 0 && !(request->flags & HWV_MSRS_SET) &&
	    copy_to_user(user, entries, done * sizeof(*entries)))
		done = -EFAULT;
	kfree(entries);
	return done;
}

static long xsave(void *object, void *argument)
{
	struct hwv_host_vcpu *vcpu = object;
	int err = vcpu_lock(vcpu);

	if (err)
		return err;
	err = hwv_fpu_xsave(&vcpu->fpu, argument);
	vcpu_unlock(vcpu);
	return err;
}

static long apic_reg(void *object, void *argument)
{
	struct hwv_host_vcpu *vcpu = object;
	int err = vcpu_lock(vcpu);

	if (err)
		return err;
	hwv_vcpu_load(vcpu);
	err = hwv_core_vcpu_apic_reg(vcpu->core, argument);
	hwv_vcpu_unload(vcpu);
	vcpu_unlock(vcpu);
	return err;
}

static long interrupt(void *object, void *argument)
{
	struct hwv_host_vcpu *vcpu = object;

	return hwv_core_vcpu_interrupt(vcpu->core, argument);
}

static const struct hwv_ioctl vcpu_ioctls[] = {
	{ HWV_SYNC_REGS, sync_regs, true },
	{ HWV_KICK, kick, false },
	{ HWV_SET_CPUID, set_cpuid, true },
	{ HWV_MSRS, msrs, true },
	{ HWV_XSAVE, xsave, true },
	{ HWV_APIC_REG, apic_reg, true },
	{ HWV_INTERRUPT, interrupt, false },
};

static long vcpu_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct hwv_host_vcpu *vcpu = file->private_data;

	/* The one that counts, ahead of the table. */
	if (request == HWV_RUN)
		return argument ? -EINVAL : run(vcpu);
	return hwv_ioctl(vcpu_ioctls, ARRAY_SIZE(vcpu_ioctls), vcpu, vcpu->vm->mm, request,
			 argument);
}

/*
 * The run page: one page, shared, for the owner alone. Not for children: they would hold the VM
 * without being able to use it.
 */
static int map_run_page(struct hwv_host_vcpu *vcpu, struct vm_area_struct *vma)
{
	if (current->mm != vcpu->vm->mm)
		return -EIO;
	if (vma->vm_end - vma->vm_start != HWV_RUN_PAGE_SIZE)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	hwv_vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND);
	return vm_insert_page(vma, vma->vm_start, vcpu->run_page);
}

/* Whoever maps them may keep them: the pages live as long as the mapping. */
int hwv_map_stats(struct hwv_host_vcpu *vcpu, struct vm_area_struct *vma)
{
	void *stats = hwv_core_vcpu_stats(vcpu->core);

	if (!stats)
		return -ENODATA;
	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & (VM_EXEC | VM_WRITE)))
		return -EINVAL;
	hwv_vm_flags_clear(vma, VM_MAYWRITE);
	return hwv_map_shared(vma, stats, HWV_STATS_BYTES);
}

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hwv_host_vcpu *vcpu = file->private_data;

	if (vma->vm_pgoff == HWV_MAP(HWV_MAP_RUN, 0) >> PAGE_SHIFT)
		return map_run_page(vcpu, vma);
	if (vma->vm_pgoff == HWV_MAP(HWV_MAP_STATS, 0) >> PAGE_SHIFT)
		return hwv_map_stats(vcpu, vma);
	return -EINVAL;
}

static int vcpu_file_release(struct inode *inode, struct file *file)
{
	struct hwv_host_vcpu *vcpu = file->private_data;
	struct hwv_host_vm *vm = vcpu->vm;

	if (!vcpu->core) /* never became part of the VM: see vcpu_publish() */
		hwv_vcpu_free(vcpu);
	hwv_vm_put(vm);
	return 0;
}

const struct file_operations hwv_vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_file_release,
	.unlocked_ioctl = vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};
