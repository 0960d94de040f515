// SPDX-License-Identifier: GPL-2.0-only
/* Which VMs there are, who may observe them, and attaching to one. */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include "glue.h"

static DEFINE_MUTEX(registry_lock); /* outside every VM's lock */
static LIST_HEAD(vms); /* that have not ended, in the order of their ids */
static atomic_t generation = ATOMIC_INIT(1);

u32 hwv_registry_generation(void)
{
	return atomic_read(&generation);
}

/* Never 0, which netlink's dumps keep for themselves. */
void hwv_registry_changed(void)
{
	if (!atomic_inc_return(&generation))
		atomic_inc(&generation);
}

/* Two that are made at once may come here in the other order. */
void hwv_registry_add(struct hwv_host_vm *vm)
{
	struct hwv_host_vm *before;

	mutex_lock(&registry_lock);
	vm->id = hwv_core_vm_serial(vm->core);
	list_for_each_entry_reverse(before, &vms, list)
		if (before->id < vm->id)
			break;
	list_add(&vm->list, &before->list);
	hwv_registry_changed();
	mutex_unlock(&registry_lock);
}

void hwv_registry_remove(struct hwv_host_vm *vm)
{
	mutex_lock(&registry_lock);
	list_del_init(&vm->list);
	hwv_registry_changed();
	mutex_unlock(&registry_lock);
}

bool hwv_may_observe(const struct hwv_host_vm *vm)
{
	return uid_eq(current_euid(), vm->cred->euid) ||
	       ns_capable(vm->cred->user_ns, CAP_SYS_ADMIN);
}

bool hwv_file_may_observe(const struct hwv_host_vm *vm, const struct file *file)
{
	return uid_eq(file->f_cred->euid, vm->cred->euid) ||
	       file_ns_capable(file, vm->cred->user_ns, CAP_SYS_ADMIN);
}

static u32 observers(const struct hwv_host_vm *vm)
{
	u32 slot, count = 0;

	for (slot = 0; slot < HWV_MAX_OBSERVERS; slot++)
		count += vm->observers[slot] && vm->observers[slot] != vm->keeper;
	return count;
}

void hwv_describe(struct hwv_host_vm *vm, struct hwv_vm_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	mutex_lock(&vm->lock);
	entry->id = vm->id;
	memcpy(entry->name, vm->name, sizeof(entry->name));
	entry->pid = pid_vnr(vm->pid);
	entry->uid = from_kuid_munged(current_user_ns(), vm->cred->euid);
	entry->vcpus = vm->vcpu_ids;
	entry->age_ns = ktime_get_ns() - vm->created;
	entry->state = (vm->paused ? HWV_VM_STATE_PAUSED : 0) |
		       (vm->killed ? HWV_VM_STATE_KILLED : 0) |
		       (vm->ended ? HWV_VM_STATE_ENDED : 0);
	entry->observers = observers(vm);
	mutex_unlock(&vm->lock);
}

/* How many the caller may see; the first `room` of them are described. */
static u32 describe_all(struct hwv_vm_entry *entries, u32 room)
{
	struct hwv_host_vm *vm;
	u32 count = 0;

	mutex_lock(&registry_lock);
	list_for_each_entry(vm, &vms, list) {
		if (!hwv_may_observe(vm))
			continue;
		if (count < room)
			hwv_describe(vm, &entries[count]);
		count++;
	}
	mutex_unlock(&registry_lock);
	return count;
}

long hwv_list_vms(void *unused, void *argument)
{
	struct hwv_vm_list *request = argument;
	u32 room = min_t(u32, request->count, HWV_LIST_ROOM), copied;
	struct hwv_vm_entry *entries;
	int err = 0;

	if (request->reserved)
		return -EINVAL;
	entries = kvcalloc(max(room, 1U), sizeof(*entries), GFP_KERNEL_ACCOUNT);
	if (!entries)
		return -ENOMEM;
	request->count = describe_all(entries, room);
	copied = min(request->count, room);
	if (copy_to_user(u64_to_user_ptr(request->entries), entries, copied * sizeof(*entries)))
		err = -EFAULT;
	else if (request->count > room)
		err = -E2BIG;
	kvfree(entries);
	return err;
}

struct hwv_host_vm *hwv_vm_after(u64 id)
{
	struct hwv_host_vm *vm, *found = NULL;

	mutex_lock(&registry_lock);
	list_for_each_entry(vm, &vms, list) {
		if (vm->id <= id)
			continue;
		found = vm;
		kref_get(&vm->shell);
		break;
	}
	mutex_unlock(&registry_lock);
	return found;
}

struct hwv_host_vm *hwv_vm_find(u64 id)
{
	struct hwv_host_vm *vm = id ? hwv_vm_after(id - 1) : NULL;

	if (vm && vm->id != id) {
		hwv_vm_shell_put(vm);
		vm = NULL;
	}
	return vm;
}

long hwv_attach(void *unused, void *argument)
{
	const struct hwv_attach *request = argument;
	struct hwv_host_vm *vm;

	if (request->flags)
		return -EINVAL;
	vm = hwv_vm_find(request->vm);
	if (!vm)
		return -ENOENT;
	if (!hwv_may_observe(vm)) {
		hwv_vm_shell_put(vm);
		return -EPERM;
	}
	return hwv_observer_open(vm);
}
