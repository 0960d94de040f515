// SPDX-License-Identifier: GPL-2.0-only
/* Module life: load and unload. */
#include <linux/bug.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "host.h"

void hwv_host_bug(void)
{
	BUG();
}

void *hwv_host_alloc(__u64 bytes)
{
	return kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
}

void hwv_host_free(void *memory)
{
	kvfree(memory);
}

static int __init hwv_init(void)
{
	return 0;
}

static void __exit hwv_exit(void)
{
}

module_init(hwv_init);
module_exit(hwv_exit);
MODULE_DESCRIPTION("hwv: a thin hypervisor and instrument for VM exits");
MODULE_LICENSE("GPL");
