// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs in hwv's service: all online ones while a VM lives, none else. The core's own per-CPU state
 * says whether an entry is possible (it is asked with irqs off before each one); here is who
 * switches it, at every turn that a CPU's life takes.
 *
 * Tenure: the first VM's caller decides whether hwv owns SVM/VMX or rides on KVM's, and so it stays
 * until the last VM has ended. A rider holds a VM of KVM's for as long: without it KVM switches off
 * when its last VM ends (up to 6.11) or when its module is unloaded (later).
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/file.h>
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
static struct file *ridden; /* KVM's VM; null: hwv owns */
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
	err = hwv_core_cpu_enable(ridden ? HWV_TENURE_RIDE : HWV_TENURE_OWN);
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

/* ---- suspend: the last CPU, irqs off, threads frozen ---- */

static int suspend(void)
{
	disable_this_cpu();
	return 0;
}

static void resume(void)
{
	int err = enable_this_cpu();

	if (err)
		pr_warn("no virtualization after resume: error %d\n", err);
}

HWV_SYSCORE(power, suspend, resume);

/* ---- all of them; cpus_read_lock and usage_lock held ---- */

static void stop_all(void)
{
	unsigned int cpu;

	hwv_syscore_unregister(&power);
	hwv_emergency(NULL);
	on_each_cpu(call_disable, NULL, 1);
	for_each_possible_cpu(cpu)
		release_cpu(cpu);
	if (ridden)
		fput(ridden);
	ridden = NULL;
}

static void explain(int err)
{
	if (err == -EBUSY)
		pr_info_ratelimited("SVM/VMX is on already, by KVM or another hypervisor: hwv can ride on KVM's (HWV_VM_RIDE; hwvctl asks for it where kvm_amd or kvm_intel is loaded); others must end their VMs first\n");
	else if (err == -ENODEV && ridden)
		pr_info_ratelimited("nothing to ride on: KVM does not have SVM/VMX on on every CPU\n");
}

/*
 * Suspend asks whoever came last first, and resume the other way round: a rider comes after KVM,
 * whose VM there is by now, so that it finds SVM/VMX on both times.
 */
static int start_all(struct file *kvm)
{
	unsigned int cpu;
	int err = 0;

	ridden = kvm ? get_file(kvm) : NULL;
	hwv_syscore_register(&power);
	for_each_online_cpu(cpu) {
		err = prepare_cpu(cpu);
		if (err)
			break;
	}
	if (!ridden)
		hwv_emergency(disable_this_cpu);
	if (!err)
		on_each_cpu(call_enable, &err, 1);
	if (err) {
		explain(err);
		stop_all();
	}
	return err;
}

int hwv_cpus_get(struct file *kvm)
{
	int err = 0;

	cpus_read_lock();
	mutex_lock(&usage_lock);
	if (rebooting)
		err = -ENODEV;
	else if (!usage)
		err = start_all(kvm);
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

enum hwv_tenure hwv_cpus_tenure(void)
{
	enum hwv_tenure now = HWV_TENURE_NONE;

	mutex_lock(&usage_lock);
	if (usage)
		now = ridden ? HWV_TENURE_RIDE : HWV_TENURE_OWN;
	mutex_unlock(&usage_lock);
	return now;
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

/*
 * ---- reboot, power-off, kexec: the CPUs are handed on as they were found. A rider leaves before
 * KVM switches off ----
 */

static int reboot(struct notifier_block *block, unsigned long event, void *data)
{
	mutex_lock(&usage_lock);
	rebooting = true;
	on_each_cpu(call_disable, NULL, 1);
	mutex_unlock(&usage_lock);
	return NOTIFY_OK;
}

static struct notifier_block reboot_notifier = { .notifier_call = reboot, .priority = 1 };

int hwv_cpus_init(void)
{
	int state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "x86/hwv:online", came_online,
					      goes_offline);
	int err;

	if (state < 0)
		return state;
	hotplug_state = state;
	err = register_reboot_notifier(&reboot_notifier);
	if (err)
		goto remove_state;
	err = hwv_emergency_init();
	if (err)
		goto unregister_reboot;
	return 0;
unregister_reboot:
	unregister_reboot_notifier(&reboot_notifier);
remove_state:
	cpuhp_remove_state_nocalls(hotplug_state);
	return err;
}

void hwv_cpus_exit(void)
{
	hwv_emergency_exit();
	unregister_reboot_notifier(&reboot_notifier);
	cpuhp_remove_state_nocalls(hotplug_state);
}
