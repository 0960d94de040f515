// SPDX-License-Identifier: GPL-2.0-only
/* Module life, and /dev/hwv with its requests. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "glue.h"

static long get_info(void *unused, void *argument)
{
	struct hwv_info *info = argument;

	hwv_core_info(info);
	info->tenure = hwv_cpus_tenure();
	return 0;
}

static int copy_cpuid(struct hwv_cpuid_table *request, const struct hwv_cpuid_entry *entries,
		      u32 count)
{
	u32 room = request->count;

	request->count = count;
	if (room < count)
		return -E2BIG;
	if (copy_to_user(u64_to_user_ptr(request->entries), entries, count * sizeof(*entries)))
		return -EFAULT;
	return 0;
}

static long get_cpuid(void *unused, void *argument)
{
	struct hwv_cpuid_table *request = argument;
	struct hwv_cpuid_entry *entries;
	u32 count = HWV_MAX_CPUID;
	int err;

	if (request->reserved)
		return -EINVAL;
	entries = kvcalloc(HWV_MAX_CPUID, sizeof(*entries), GFP_KERNEL_ACCOUNT);
	if (!entries)
		return -ENOMEM;
	err = hwv_core_supported_cpuid(entries, &count);
	if (!err)
		err = copy_cpuid(request, entries, count);
	kvfree(entries);
	return err;
}

static const struct hwv_ioctl system_ioctls[] = {
	{ HWV_GET_INFO, get_info, false },
	{ HWV_GET_CPUID, get_cpuid, false },
	{ HWV_CREATE_VM, hwv_vm_create, false },
	{ HWV_LIST_VMS, hwv_list_vms, false },
	{ HWV_ATTACH, hwv_attach, false },
};

static long system_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	return hwv_ioctl(system_ioctls, ARRAY_SIZE(system_ioctls), NULL, NULL, request, argument);
}

static const struct file_operations system_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = system_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hwv",
	.fops = &system_fops,
	.mode = 0660,
};

/* ---- life ---- */

static const char *describe(const struct hwv_info *info)
{
	switch (info->unusable) {
	case HWV_USABLE:
		return info->vendor == HWV_VENDOR_AMD ? "AMD-V" : "VT-x";
	case HWV_UNUSABLE_NO_VIRT:
		return "unusable: this CPU shows neither AMD-V nor VT-x";
	case HWV_UNUSABLE_LOCKED:
		return "unusable: firmware switched virtualization off";
	case HWV_UNUSABLE_NO_NESTED_PAGING:
		return "unusable: this CPU has no nested paging";
	case HWV_UNUSABLE_BUSY:
		return "another hypervisor holds the CPUs at the moment";
	default:
		return "unusable: see hwvctl doctor";
	}
}

/* Loads on every machine: HWV_GET_INFO then says what is missing, which a failed load could not. */
static int __init hwv_init(void)
{
	struct hwv_info info = {};
	int err;

	hwv_facts_init();
	err = hwv_core_init();
	if (err)
		return err;
	err = hwv_irqfd_module_init();
	if (err)
		goto exit_core;
	err = hwv_cpus_init();
	if (err)
		goto exit_irqfd;
	err = hwv_netlink_init();
	if (err)
		goto exit_cpus;
	preempt_notifier_inc();
	err = misc_register(&device);
	if (err)
		goto exit_netlink;
	hwv_core_info(&info);
	pr_info("loaded, %s\n", describe(&info));
	return 0;
exit_netlink:
	preempt_notifier_dec();
	hwv_netlink_exit();
exit_cpus:
	hwv_cpus_exit();
exit_irqfd:
	hwv_irqfd_module_exit();
exit_core:
	hwv_core_exit();
	return err;
}

static void __exit hwv_exit(void)
{
	misc_deregister(&device);
	preempt_notifier_dec();
	hwv_netlink_exit();
	hwv_cpus_exit();
	hwv_irqfd_module_exit();
	hwv_core_exit();
}

module_init(hwv_init);
module_exit(hwv_exit);
MODULE_DESCRIPTION("hwv: a thin hypervisor and instrument for VM exits");
MODULE_LICENSE("GPL");
