// SPDX-License-Identifier: GPL-2.0-only
/*
 * Door 1, what only VMX needs of Linux: CR4.VMXE, which the kernel shadows; what VM exits leave
 * behind of the host's segments, and interrupts that they have taken.
 */
#include <linux/percpu.h>
#include <asm/apic.h>
#include <asm/desc.h>
#include <asm/intel_pt.h>
#include <asm/segment.h>
#include <asm/tlbflush.h>
#include "compat.h"
#include "glue.h"

/* Intel PT and VMX exclude each other on CPUs that cannot trace in VMX operation. */
int hwv_host_vmxe(int on)
{
#ifdef HWV_HAVE_CR4_UPDATE_IRQSOFF
	if (on) {
		intel_pt_handle_vmx(1);
		cr4_set_bits_irqsoff(X86_CR4_VMXE);
	} else {
		cr4_clear_bits_irqsoff(X86_CR4_VMXE);
		intel_pt_handle_vmx(0);
	}
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

/*
 * VM exits set the limit of the TSS to a constant, LDTR to none, and the data segments to what
 * the VMCS has: none. GS goes first, since its base is the user's only in KERNEL_GS_BASE, which the
 * caller restores after this.
 */
static noinline void restore_selectors(const struct hwv_host_segments *s)
{
	if (s->ldt)
		asm volatile("lldt %0" : : "m"(s->ldt));
	if (s->gs)
		load_gs_index(s->gs);
	if (s->fs)
		loadsegment(fs, s->fs);
	if (s->ds | s->es) {
		loadsegment(ds, s->ds);
		loadsegment(es, s->es);
	}
}

/* The TSS's: without a bitmap of ports it is enough to note that it is wrong. */
static noinline void restore_limit(void)
{
	invalidate_tss_limit();
}

void hwv_host_segments_restore(const struct hwv_host_segments *s)
{
	if (s->selectors | s->ldt)
		restore_selectors(s);
	if (test_thread_flag(TIF_IO_BITMAP))
		restore_limit();
	else
		this_cpu_write(__tss_limit_invalid, true);
}

/*
 * KVM's vector for the same purpose. Its handler is there with KVM's modules configured, and only
 * counts. With FRED there are no gates to call handlers by.
 */
u32 hwv_posted_vector(void)
{
#ifdef X86_FEATURE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED))
		return 0;
#endif
	return IS_ENABLED(CONFIG_KVM) ? POSTED_INTR_VECTOR : 0;
}

void hwv_host_cpu_post(__u32 cpu)
{
	apic->send_IPI(cpu, POSTED_INTR_VECTOR);
}

/* irqs off, and the FPU the host's: handlers may use it. */
void hwv_serve_interrupt(u32 vector)
{
	struct desc_ptr idt;

	store_idt(&idt);
	hwv_vmx_interrupt(gate_offset((gate_desc *)idt.address + vector));
}
