// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU behind its fd: made and unmade, and its way on and off a CPU. It ends with the VM, not
 * with its file: others may send it interrupts as long as the VM lives.
 */
#include <linux/anon_inodes.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include "compat.h"
#include "glue.h"

/*
 * ---- residency: on a CPU from load to unload, except while the thread is scheduled out. The
 * scheduler is told of the vCPU before preemption is on for the first time, which a short HWV_RUN does
 * without ----
 */

/* Observers borrow a vCPU too: the guest's memory is not theirs. */
static void put(struct hwv_host_vcpu *vcpu)
{
	hwv_core_vcpu_put(vcpu->core, current->mm == vcpu->vm->mm);
}

static void sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct hwv_host_vcpu *vcpu = container_of(notifier, struct hwv_host_vcpu, preempt);

	WRITE_ONCE(vcpu->displaced, NULL);
	hwv_core_vcpu_load(vcpu->core, cpu);
}

static void sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	struct hwv_host_vcpu *vcpu = container_of(notifier, struct hwv_host_vcpu, preempt);

	put(vcpu);
	WRITE_ONCE(vcpu->displaced, hwv_task_preempted() ? current : NULL);
}

static struct preempt_ops preempt_ops = { .sched_in = sched_in, .sched_out = sched_out };

void hwv_host_vcpu_may_sleep(struct hwv_host_vcpu *vcpu)
{
	if (!vcpu->notified)
		preempt_notifier_register(&vcpu->preempt);
	vcpu->notified = true;
	preempt_enable();
}

void hwv_vcpu_load(struct hwv_host_vcpu *vcpu)
{
	preempt_disable();
	hwv_core_vcpu_load(vcpu->core, smp_processor_id());
	hwv_host_vcpu_may_sleep(vcpu);
}

/* Preemption off. */
void hwv_vcpu_stays(struct hwv_host_vcpu *vcpu)
{
	preempt_notifier_unregister(&vcpu->preempt);
	vcpu->notified = false;
}

void hwv_vcpu_unload(struct hwv_host_vcpu *vcpu)
{
	preempt_disable();
	hwv_vcpu_stays(vcpu);
	local_irq_disable();
	put(vcpu);
	local_irq_enable();
	preempt_enable();
}

/* ---- life ---- */

void hwv_vcpu_free(struct hwv_host_vcpu *vcpu)
{
	hrtimer_cancel(&vcpu->timer);
	if (vcpu->core)
		hwv_core_vcpu_destroy(vcpu->core);
	hwv_fpu_free(&vcpu->fpu);
	if (vcpu->run_page)
		put_page(vcpu->run_page); /* a mapping may keep it */
	kfree(vcpu);
}

static struct hwv_host_vcpu *vcpu_alloc(struct hwv_host_vm *vm)
{
	struct hwv_host_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);

	if (!vcpu)
		return NULL;
	vcpu->vm = vm;
	mutex_init(&vcpu->lock);
	preempt_notifier_init(&vcpu->preempt, &preempt_ops);
	hwv_thread_init(vcpu);
	vcpu->run_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!vcpu->run_page || hwv_fpu_init(&vcpu->fpu)) {
		hwv_vcpu_free(vcpu);
		return NULL;
	}
	return vcpu;
}

/*
 * vm->lock held; takes over the vCPU. The fd becomes usable last, when nothing can fail any more.
 * Once there is a file, its release frees a vCPU that did not make it into the VM.
 */
static long vcpu_publish(struct hwv_host_vm *vm, struct hwv_host_vcpu *vcpu, u32 id)
{
	int fd = get_unused_fd_flags(O_RDWR | O_CLOEXEC);
	struct file *file;
	int err;

	if (fd < 0) {
		hwv_vcpu_free(vcpu);
		return fd;
	}
	file = anon_inode_getfile("hwv-vcpu", &hwv_vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		hwv_vcpu_free(vcpu);
		return PTR_ERR(file);
	}
	kref_get(&vm->refs); /* the file's; its release gives it back */
	err = hwv_core_vcpu_create(vm->core, id, vcpu, page_address(vcpu->run_page), &vcpu->core);
	if (err) {
		vcpu->core = NULL;
		put_unused_fd(fd);
		fput(file);
		return err;
	}
	vm->vcpus[id] = vcpu;
	vm->vcpu_ids |= 1ULL << id;
	if (vm->killed)
		hwv_core_vcpu_kill(vcpu->core);
	if (vm->paused)
		hwv_core_vcpu_pause(vcpu->core);
	hwv_registry_changed();
	fd_install(fd, file);
	return fd;
}

long hwv_vcpu_create(void *object, void *argument)
{
	struct hwv_host_vm *vm = object;
	const struct hwv_create_vcpu *request = argument;
	struct hwv_host_vcpu *vcpu;
	long result;
	u32 id;

	if (request->flags || request->id >= HWV_MAX_VCPUS)
		return -EINVAL;
	id = array_index_nospec(request->id, HWV_MAX_VCPUS);
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	if (vm->vcpus[id]) {
		result = -EEXIST;
	} else {
		vcpu = vcpu_alloc(vm);
		result = vcpu ? vcpu_publish(vm, vcpu, id) : -ENOMEM;
	}
	mutex_unlock(&vm->lock);
	return result;
}
