// SPDX-License-Identifier: GPL-2.0-only
/*
 * Crash, and every other end that asks nobody: the CPUs are shot down by NMI, and INIT, by which the
 * next kernel starts them, is held back by VMX. The kernel has one slot for who switches it off
 * then. KVM takes it with its module or its first VM, and warns where it finds it occupied: hwv has
 * it only while KVM's module is not there. KVM's function looks at CR4.VMXE and EFER.SVME of the CPU
 * itself, and so serves hwv too.
 */
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include "compat.h"
#include "glue.h"

static DEFINE_MUTEX(slot_lock);
static void (*wanted)(void); /* null: hwv owns no CPU */
static void (*taken)(void);

static bool kvm_is_there(void)
{
	if (!symbol_get(kvm_get_kvm))
		return false;
	symbol_put(kvm_get_kvm);
	return true;
}

static void settle(void)
{
	void (*next)(void) = kvm_is_there() ? NULL : wanted;

	if (next == taken)
		return;
	if (taken)
		hwv_emergency_give(taken);
	if (next)
		hwv_emergency_take(next);
	taken = next;
}

/* null: no more. May sleep */
void hwv_emergency(void (*callback)(void))
{
	mutex_lock(&slot_lock);
	wanted = callback;
	settle();
	mutex_unlock(&slot_lock);
}

/* Called before a module's first function and after its last: kvm is there when its vendor's module comes. */
static int module_event(struct notifier_block *block, unsigned long state, void *data)
{
	const struct module *module = data;

	if (strncmp(module->name, "kvm", 3))
		return NOTIFY_DONE;
	mutex_lock(&slot_lock);
	settle();
	mutex_unlock(&slot_lock);
	return NOTIFY_OK;
}

static struct notifier_block module_notifier = { .notifier_call = module_event };

int hwv_emergency_init(void)
{
	return register_module_notifier(&module_notifier);
}

void hwv_emergency_exit(void)
{
	unregister_module_notifier(&module_notifier);
}
