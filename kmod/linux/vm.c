// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM behind its fd: made and unmade, and its requests. It lives until the VM file and all vCPU
 * files are closed.
 */
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "glue.h"

/*
 * Words of a dirty log that are copied at a time, for 32 MiB of guest memory: so long the core's
 * memory lock is held.
 */
#define HWV_LOG_WORDS 128

/* vm->lock, with all vCPUs still there. */
static u32 why_it_ends(const struct hwv_host_vm *vm)
{
	unsigned int id;

	if (vm->killed)
		return HWV_END_KILLED;
	for (id = 0; id < HWV_MAX_VCPUS; id++)
		if (vm->vcpus[id] &&
		    hwv_core_vcpu_mp_state(vm->vcpus[id]->core) == HWV_MP_SHUTDOWN)
			return HWV_END_TRIPLE_FAULT;
	return HWV_END_CLOSED;
}

static void vm_release(struct kref *refs)
{
	struct hwv_host_vm *vm = container_of(refs, struct hwv_host_vm, refs);
	unsigned int id;
	u32 why;

	/*
	 * From outside inwards: who delivers interrupts, who takes pages away, then vCPUs and
	 * tables.
	 */
	hwv_registry_remove(vm);
	hwv_events_release(vm);
	hwv_notifier_stop(vm);
	mutex_lock(&vm->lock);
	vm->ended = true;
	why = why_it_ends(vm);
	for (id = 0; id < HWV_MAX_VCPUS; id++)
		if (vm->vcpus[id])
			hwv_vcpu_free(vm->vcpus[id]);
	hwv_core_vm_destroy(vm->core);
	hwv_keeper_end(vm);
	for (id = 0; id < HWV_MAX_OBSERVERS; id++)
		if (vm->observers[id])
			hwv_host_observer_wake(vm->observers[id]);
	mutex_unlock(&vm->lock);
	hwv_news_end(vm, why);
	hwv_cpus_put();
	hwv_vm_shell_put(vm);
}

static void shell_release(struct kref *shell)
{
	struct hwv_host_vm *vm = container_of(shell, struct hwv_host_vm, shell);

	mmdrop(vm->mm);
	put_cred(vm->cred);
	put_pid(vm->pid);
	kfree(vm);
}

void hwv_vm_shell_put(struct hwv_host_vm *vm)
{
	kref_put(&vm->shell, shell_release);
}

void hwv_vm_put(struct hwv_host_vm *vm)
{
	kref_put(&vm->refs, vm_release);
}

static struct hwv_host_vm *vm_alloc(void)
{
	struct hwv_host_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);

	if (!vm)
		return NULL;
	kref_init(&vm->refs);
	kref_init(&vm->shell);
	INIT_LIST_HEAD(&vm->list);
	vm->cred = get_current_cred();
	vm->pid = get_task_pid(current, PIDTYPE_TGID);
	vm->created = ktime_get_ns();
	mutex_init(&vm->lock);
	mutex_init(&vm->keeper_lock);
	hwv_news_init(&vm->news);
	spin_lock_init(&vm->invalidation.lock);
	hwv_events_init(vm);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	return vm;
}

/* Where hwv comes to ride on it, it holds the KVM VM itself. */
static int get_cpus(const struct hwv_create_vm *request)
{
	struct file *kvm = NULL;
	int err;

	if (request->flags & HWV_VM_RIDE) {
		kvm = hwv_kvm_vm(request->kvm_fd);
		if (IS_ERR(kvm))
			return PTR_ERR(kvm);
	} else if (request->kvm_fd) {
		return -EINVAL;
	}
	err = hwv_cpus_get(kvm);
	if (kvm)
		fput(kvm);
	return err;
}

static int vm_start(struct hwv_host_vm *vm, const struct hwv_create_vm *request)
{
	int err = get_cpus(request);

	if (err)
		return err;
	strscpy(vm->name, request->name, sizeof(vm->name));
	err = hwv_core_vm_create(vm, request, &vm->core);
	if (err)
		goto put_cpus;
	err = hwv_notifier_start(vm);
	if (err)
		goto destroy;
	return 0;
destroy:
	hwv_core_vm_destroy(vm->core);
put_cpus:
	hwv_cpus_put();
	return err;
}

static int vm_file_release(struct inode *inode, struct file *file)
{
	hwv_vm_put(file->private_data);
	return 0;
}

/* ---- requests ---- */

static long set_memory(void *object, void *argument)
{
	struct hwv_host_vm *vm = object;

	int err;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	err = hwv_core_vm_set_memory(vm->core, argument);
	mutex_unlock(&vm->lock);
	return err;
}

/*
 * Fetches and hands out one piece of the log; first and pages are multiples of 64 but for the
 * slot's odd end.
 */
static int dirty_log_piece(struct hwv_host_vm *vm, const struct hwv_dirty_log *request, u64 offset,
			   u64 *words)
{
	struct hwv_dirty_log piece = *request;
	u64 __user *bitmap = u64_to_user_ptr(request->bitmap);
	size_t bytes;
	int err;

	piece.first += offset;
	piece.pages = min_t(u64, request->pages - offset, HWV_LOG_WORDS * 64);
	memset(words, 0, HWV_LOG_WORDS * sizeof(*words));
	err = hwv_core_vm_dirty_log(vm->core, &piece, words);
	if (err)
		return err;
	bytes = DIV_ROUND_UP(piece.pages, 64) * sizeof(*words);
	if (copy_to_user(bitmap + offset / 64, words, bytes))
		return -EFAULT;
	return 0;
}

/* Backwards: a range that leaves the slot is refused at its end, before any bit is cleared. */
static long dirty_log(void *object, void *argument)
{
	const struct hwv_dirty_log *request = argument;
	u64 step = HWV_LOG_WORDS * 64, offset;
	u64 *words;
	int err = 0;

	if (request->flags || !request->pages || request->first + request->pages < request->first)
		return -EINVAL;
	words = kvmalloc_array(HWV_LOG_WORDS, sizeof(*words), GFP_KERNEL_ACCOUNT);
	if (!words)
		return -ENOMEM;
	offset = (request->pages - 1) / step * step;
	for (;;) {
		err = dirty_log_piece(object, request, offset, words);
		if (err || !offset)
			break;
		offset -= step;
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		cond_resched();
	}
	kvfree(words);
	return err;
}

static long msi(void *object, void *argument)
{
	struct hwv_host_vm *vm = object;
	const struct hwv_msi *request = argument;

	if (request->flags)
		return -EINVAL;
	return hwv_core_vm_msi(vm->core, request->address, request->data);
}

static long eoi_exits(void *object, void *argument)
{
	struct hwv_host_vm *vm = object;

	return hwv_core_vm_eoi_exits(vm->core, argument);
}

static long vm_clock(void *object, void *argument)
{
	struct hwv_host_vm *vm = object;

	return hwv_core_vm_clock(vm->core, argument);
}

static const struct hwv_ioctl vm_ioctls[] = {
	{ HWV_SET_MEMORY, set_memory, true },
	{ HWV_DIRTY_LOG, dirty_log, true },
	{ HWV_CREATE_VCPU, hwv_vcpu_create, true },
	{ HWV_MSI, msi, false },
	{ HWV_IRQFD, hwv_irqfd, false },
	{ HWV_IOEVENTFD, hwv_ioeventfd, false },
	{ HWV_EOI_EXITS, eoi_exits, true },
	{ HWV_CLOCK, vm_clock, true },
};

static long vm_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct hwv_host_vm *vm = file->private_data;

	return hwv_ioctl(vm_ioctls, ARRAY_SIZE(vm_ioctls), vm, vm->mm, request, argument);
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_file_release,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* ---- HWV_CREATE_VM, a request of /dev/hwv ---- */

static int check_request(const struct hwv_create_vm *request)
{
	struct hwv_info info = {};

	if (strnlen(request->name, HWV_NAME_LEN) == HWV_NAME_LEN)
		return -EINVAL;
	hwv_core_info(&info);
	/* Who holds the CPUs may have let go by now: that is found out by asking the CPUs. */
	if (info.unusable != HWV_USABLE && info.unusable != HWV_UNUSABLE_BUSY)
		return -ENODEV;
	return 0;
}

long hwv_vm_create(void *unused, void *argument)
{
	const struct hwv_create_vm *request = argument;
	struct hwv_host_vm *vm;
	int err = check_request(request);

	if (err)
		return err;
	vm = vm_alloc();
	if (!vm)
		return -ENOMEM;
	err = vm_start(vm, request);
	if (err) {
		hwv_vm_shell_put(vm);
		return err;
	}
	hwv_registry_add(vm);
	hwv_news_tell(vm, HWV_NEWS_VM_CREATED);
	/* Last: from here on every thread of the caller may use and close it. */
	err = anon_inode_getfd("hwv-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (err < 0)
		hwv_vm_put(vm);
	return err;
}
