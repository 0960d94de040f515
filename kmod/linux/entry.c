// SPDX-License-Identifier: GPL-2.0-only
/*
 * Door 1, around a guest entry: accounting of time and RCU, the FPU. All with irqs off.
 */
#include <asm/mce.h>
#include "compat.h"
#include "glue.h"

static DEFINE_PER_CPU(unsigned long, noted); /* jiffies */

/*
 * Where RCU does not follow the context by itself, a guest that runs is a quiescent state which the
 * helper notes for some sixty instructions. RCU asks for one in a grace period, which takes several
 * ticks: one note in a tick is enough.
 */
noinstr void hwv_host_guest_enter(void)
{
	if (!IS_ENABLED(CONFIG_TRACE_IRQFLAGS) && !context_tracking_enabled()) {
		if (raw_cpu_read(noted) == jiffies)
			return;
		raw_cpu_write(noted, jiffies);
	}
	guest_state_enter_irqoff();
}

noinstr void hwv_host_guest_exit(void)
{
	hwv_ibpb_exit_to_user();
	guest_state_exit_irqoff();
}

int hwv_host_entry_begin(struct hwv_host_vcpu *vcpu)
{
	local_irq_disable();
	guest_timing_enter_irqoff();
	hwv_fpu_enter(&vcpu->fpu);
	return xfer_to_guest_mode_work_pending();
}

/*
 * What ended the guest is taken while time is the guest's: behind the shadow of STI, which CLI would be
 * in where nothing pads the two.
 */
static __always_inline void entry_end(void)
{
	local_irq_enable();
	asm volatile("nop");
	local_irq_disable();
	guest_timing_exit_irqoff();
	local_irq_enable();
}

void hwv_host_entry_end(struct hwv_host_vcpu *vcpu)
{
	hwv_fpu_leave(&vcpu->fpu);
	entry_end();
}

void hwv_host_entry_end_by(struct hwv_host_vcpu *vcpu, __u32 vector)
{
	hwv_fpu_leave(&vcpu->fpu);
	hwv_serve_interrupt(vector);
	entry_end();
}

/*
 * The exit's #MC is consumed: the handler is called by hand, and told of a user's context, in which
 * it may end the thread rather than the machine.
 */
void hwv_host_machine_check(void)
{
#ifdef CONFIG_X86_MCE
	struct pt_regs regs = { .cs = 3, .flags = X86_EFLAGS_IF };

	do_machine_check(&regs);
#endif
}
