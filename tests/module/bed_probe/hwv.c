// SPDX-License-Identifier: GPL-2.0-only
/* A module with hwv's name that does wrong on demand: what the bed must notice. */
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/string.h>
#include <asm/desc.h>

static void hang(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static void triple_fault(void)
{
	static const struct desc_ptr none;

	load_idt(&none);
	asm volatile("int3");
}

static int set_act(const char *text, const struct kernel_param *param)
{
	if (sysfs_streq(text, "leak"))
		__module_get(THIS_MODULE);
	else if (sysfs_streq(text, "warn"))
		WARN_ON(1);
	else if (sysfs_streq(text, "hang"))
		hang();
	else if (sysfs_streq(text, "triple"))
		triple_fault();
	else
		return -EINVAL;
	return 0;
}

static const struct kernel_param_ops act_ops = { .set = set_act };
module_param_cb(act, &act_ops, NULL, 0200);
MODULE_DESCRIPTION("what scripts/bed must notice");
MODULE_LICENSE("GPL");
