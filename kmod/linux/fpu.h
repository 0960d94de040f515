/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fpu.h - the guest's FPU state. From hwv_fpu_enter() to hwv_fpu_leave() it is in the registers, else
 * in its area. With irqs off in between nobody else asks for the registers: where the thread's state
 * is in them, as it is until the thread sleeps or is interrupted by another user of the FPU, it is put
 * aside and back, and the kernel need not know. An exit that goes to user pays for one exchange, as it
 * must. Where the thread's state is in memory, it is a section of the kernel's own use of the FPU, and
 * the thread's state is loaded before the return to user. What KVM uses instead costs some hundred
 * instructions more, and later kernels keep it for KVM alone.
 */
#ifndef HWV_FPU_H
#define HWV_FPU_H

#include <linux/thread_info.h>
#include <linux/types.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>

struct hwv_xsave;

struct hwv_fpu {
	struct xregs_state *area; /* XSAVE's standard format; without XSAVE, FXSAVE's */
	struct xregs_state *thread; /* the same of the thread's components, while they are put aside */
	u32 mask_low, mask_high;    /* components that guests may have, whatever this one has switched on */
	bool aside;
};

int hwv_fpu_init(struct hwv_fpu *fpu);
void hwv_fpu_free(struct hwv_fpu *fpu);
int hwv_fpu_xsave(struct hwv_fpu *fpu, const struct hwv_xsave *request); /* nobody runs */

/*
 * XRSTOR of older CPUs of AMD's leaves the pointers to the last x87 instruction as they are, so that
 * they are overwritten first, as the kernel does it.
 */
static __always_inline void hwv_fpu_load(const struct hwv_fpu *fpu, const struct xregs_state *area)
{
	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK))
		asm volatile("fnclex\n\temms\n\tfildl %0" : : "m"(*area));
	if (static_cpu_has(X86_FEATURE_XSAVE))
		asm volatile("xrstor64 %0"
			     :
			     : "m"(*area), "a"(fpu->mask_low), "d"(fpu->mask_high)
			     : "memory");
	else
		asm volatile("fxrstor64 %0" : : "m"(area->i387));
}

/* XSAVEOPT writes what was changed since the area was loaded. */
static __always_inline void hwv_fpu_save(const struct hwv_fpu *fpu, struct xregs_state *area)
{
	if (static_cpu_has(X86_FEATURE_XSAVEOPT))
		asm volatile("xsaveopt64 %0"
			     : "+m"(*area)
			     : "a"(fpu->mask_low), "d"(fpu->mask_high)
			     : "memory");
	else if (static_cpu_has(X86_FEATURE_XSAVE))
		asm volatile("xsave64 %0"
			     : "+m"(*area)
			     : "a"(fpu->mask_low), "d"(fpu->mask_high)
			     : "memory");
	else
		asm volatile("fxsave64 %0" : "=m"(area->i387));
}

/* irqs off: a section then changes neither the preemption count nor softirqs. XCR0 is the host's. */
static __always_inline void hwv_fpu_enter(struct hwv_fpu *fpu)
{
	if (likely(!test_thread_flag(TIF_NEED_FPU_LOAD))) {
		fpu->aside = true;
		hwv_fpu_save(fpu, fpu->thread);
	} else {
		fpu->aside = false;
		kernel_fpu_begin_mask(0);
	}
	hwv_fpu_load(fpu, fpu->area);
}

static __always_inline void hwv_fpu_leave(struct hwv_fpu *fpu)
{
	hwv_fpu_save(fpu, fpu->area);
	if (likely(fpu->aside))
		hwv_fpu_load(fpu, fpu->thread);
	else
		kernel_fpu_end();
}

#endif
