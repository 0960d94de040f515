/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fpu.h - the guest's FPU state. Between HWV_RUNs, and while the guest does not run, it is where
 * HWV_XSAVE finds it; from hwv_fpu_enter() to hwv_fpu_leave() it is in the registers.
 *
 * Either the kernel keeps it, by what it has for KVM: in the registers from the start of HWV_RUN
 * to its end, saved and loaded again when the thread is scheduled. Or, where that is for KVM's
 * modules alone, hwv does, around each entry.
 */
#ifndef HWV_FPU_H
#define HWV_FPU_H

#include <linux/types.h>
#include <asm/fpu/types.h>
#include "compat.h"

struct hwv_host_vcpu;
struct hwv_xsave;

struct hwv_fpu {
#ifdef HWV_FPU_BY_KERNEL
	struct fpu_guest guest;
#else
	struct xregs_state *area; /* XSAVE's standard format; without XSAVE, FXSAVE's */
#endif
};

int hwv_fpu_init(struct hwv_fpu *fpu);
void hwv_fpu_free(struct hwv_fpu *fpu);
int hwv_fpu_xsave(struct hwv_fpu *fpu, const struct hwv_xsave *request); /* nobody runs */

/* irqs off */
#ifdef HWV_FPU_BY_KERNEL
static __always_inline void hwv_fpu_enter(struct hwv_fpu *fpu)
{
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
}

static __always_inline void hwv_fpu_leave(struct hwv_fpu *fpu)
{
}
#else
void hwv_fpu_enter(struct hwv_fpu *fpu);
void hwv_fpu_leave(struct hwv_fpu *fpu);
#endif

#endif
