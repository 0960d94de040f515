/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fpu.h - the guest's FPU state. From hwv_fpu_enter() to hwv_fpu_leave() it is in the registers, else
 * in its area. In between is a section of the kernel's own use of the FPU, which saves the thread's
 * state where that is still in the registers, and has it loaded before the return to user: whoever
 * leaves to user at once pays for one exchange, as he must; a guest that stays, for two instructions
 * per entry. What KVM uses instead costs two hundred more, and later kernels keep it for KVM alone.
 */
#ifndef HWV_FPU_H
#define HWV_FPU_H

#include <linux/types.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>

struct hwv_xsave;

struct hwv_fpu {
	struct xregs_state *area; /* XSAVE's standard format; without XSAVE, FXSAVE's */
	u32 mask_low, mask_high;  /* components that guests may have, whatever this one has switched on */
};

int hwv_fpu_init(struct hwv_fpu *fpu);
void hwv_fpu_free(struct hwv_fpu *fpu);
int hwv_fpu_xsave(struct hwv_fpu *fpu, const struct hwv_xsave *request); /* nobody runs */

/* irqs off: the section then changes neither the preemption count nor softirqs. XCR0 is the host's. */
static __always_inline void hwv_fpu_enter(struct hwv_fpu *fpu)
{
	kernel_fpu_begin_mask(0);
	if (static_cpu_has(X86_FEATURE_XSAVE))
		asm volatile("xrstor64 %0"
			     :
			     : "m"(*fpu->area), "a"(fpu->mask_low), "d"(fpu->mask_high)
			     : "memory");
	else
		asm volatile("fxrstor64 %0" : : "m"(fpu->area->i387));
}

/* XSAVEOPT writes what the guest changed. */
static __always_inline void hwv_fpu_leave(struct hwv_fpu *fpu)
{
	if (static_cpu_has(X86_FEATURE_XSAVEOPT))
		asm volatile("xsaveopt64 %0"
			     : "+m"(*fpu->area)
			     : "a"(fpu->mask_low), "d"(fpu->mask_high)
			     : "memory");
	else if (static_cpu_has(X86_FEATURE_XSAVE))
		asm volatile("xsave64 %0"
			     : "+m"(*fpu->area)
			     : "a"(fpu->mask_low), "d"(fpu->mask_high)
			     : "memory");
	else
		asm volatile("fxsave64 %0" : "=m"(fpu->area->i387));
	kernel_fpu_end();
}

#endif
