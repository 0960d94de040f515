// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs in hwv's service: all online ones while a VM lives, none else. The core's own per-CPU state
 * says whether an entry is possible (it is asked with irqs off before each one); here is who
 * switches it, at every turn that a CPU's life takes.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/syscore_ops.h>
#include <asm/reboot.h>
#include "compat.h"
#include "glue.h"

static DEFINE_MUTEX(usage_lock); /* inside cpus_read_lock() */
static unsigned int usage;       /* VMs */
static bool rebooting;
static struct cpumask prepared;
static DEFINE_PER_CPU(bool, enabled);
static int hotplug_state;

/* ---- one CPU; irqs off ---- */

static int enable_this_cpu(void)
{
	int err;

	if (this_cpu_read(enabled))
		return 0;
	err = hwv_core_cpu_enable(HWV_TENURE_OWN);
	if (!err)
		this_cpu_write(enabled, true);
	return err;
}

/* Never switches off what another hypervisor switched on. */
static void disable_this_cpu(void)
{
	if (!this_cpu_read(enabled))
		return;
	this_cpu_write(enabled, false);
	hwv_core_cpu_disable();
}

static void call_enable(void *first_error)
{
	int err = enable_this_cpu();

	if (err)
		cmpxchg((int *)first_error, 0, err);
}

static void call_disable(void *unused)
{
	disable_this_cpu();
}

static int prepare_cpu(unsigned int cpu)
{
	int err = hwv_core_cpu_prepare(cpu);

	if (!err)
		cpumask_set_cpu(cpu, &prepared);
	return err;
}

static void release_cpu(unsigned int cpu)
{
	if (cpumask_test_and_clear_cpu(cpu, &prepared))
		hwv_core_cpu_release(cpu);
}

/* ---- all of them; cpus_read_lock and usage_lock held ---- */

static void stop_all(void)
{
	unsigned int cpu;

	hwv_emergency_unregister(disable_this_cpu);
	on_each_cpu(call_disable, NULL, 1);
	for_each_possible_cpu(cpu)
		release_cpu(cpu);
}

static int start_all(void)
{
	unsigned int cpu;
	int err = 0;

	for_each_online_cpu(cpu) {
		err = prepare_cpu(cpu);
		if (err)
			break;
	}
	hwv_emergency_register(disable_this_cpu);
	if (!err)
		on_each_cpu(call_enable, &err, 1);
	if (err)
		stop_all();
	if (err == -EBUSY)
		pr_info("another hypervisor holds the CPUs (a KVM VM?); end its VMs first\n");
	return err;
}

int hwv_cpus_get(void)
{
	int err = 0;

	cpus_read_lock();
	mutex_lock(&usage_lock);
	if (rebooting)
		err = -ENODEV;
	else if (!usage)
		err = start_all();
	if (!err)
		usage++;
	mutex_unlock(&usage_lock);
	cpus_read_unlock();
	return err;
}

void hwv_cpus_put(void)
{
	cpus_read_lock();
	mutex_lock(&usage_lock);
	if (--usage == 0)
		stop_all();
	mutex_unlock(&usage_lock);
	cpus_read_unlock();
}

/* ---- hotplug: on the CPU, before user threads come to it and after they left it ---- */

/*
 * A CPU that hwv cannot have comes online all the same; a vCPU that is scheduled there leaves with
 * an error.
 */
static int came_online(unsigned int cpu)
{
	unsigned long flags;
	int err = 0;

	mutex_lock(&usage_lock);
	if (usage && !rebooting) {
		err = prepare_cpu(cpu);
		if (!err) {
			local_irq_save(flags);
			err = enable_this_cpu();
			local_irq_restore(flags);
		}
	}
	mutex_unlock(&usage_lock);
	if (err)
		pr_warn("CPU %u stays without virtualization: error %d\n", cpu, err);
	return 0;
}

static int goes_offline(unsigned int cpu)
{
	unsigned long flags;

	mutex_lock(&usage_lock);
	local_irq_save(flags);
	disable_this_cpu();
	local_irq_restore(flags);
	release_cpu(cpu);
	mutex_unlock(&usage_lock);
	return 0;
}

/* ---- suspend: the last CPU, irqs off, threads frozen ---- */

static int suspend(void)
{
	disable_this_cpu();
	return 0;
}

static void resume(void)
{
	int err;

	if (!usage)
		return;
	err = enable_this_cpu();
	if (err)
		pr_warn("no virtualization after resume: error %d\n", err);
}

/* ---- reboot, power-off, kexec: the CPUs are handed on as they were found ---- */

static int reboot(struct notifier_block *block, unsigned long event, void *data)
{
	mutex_lock(&usage_lock);
	rebooting = true;
	on_each_cpu(call_disable, NULL, 1);
	mutex_unlock(&usage_lock);
	return NOTIFY_OK;
}

static struct notifier_block reboot_notifier = { .notifier_call = reboot };

HWV_SYSCORE(power, suspend, resume);

int hwv_cpus_init(void)
{
	int state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "x86/hwv:online", came_online,
					      goes_offline);
	int err;

	if (state < 0)
		return state;
	hotplug_state = state;
	err = register_reboot_notifier(&reboot_notifier);
	if (err) {
		cpuhp_remove_state_nocalls(hotplug_state);
		return err;
	}
	hwv_syscore_register(&power);
	return 0;
}

void hwv_cpus_exit(void)
{
	hwv_syscore_unregister(&power);
	unregister_reboot_notifier(&reboot_notifier);
	cpuhp_remove_state_nocalls(hotplug_state);
}
