// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's FPU state: where it lives while the guest does not run, its exchange with the
 * thread's, and HWV_XSAVE.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>
#include "compat.h"
#include "glue.h"

#define HWV_FCW_INIT 0x37f
#define HWV_MXCSR_MASK_OLDEST 0xffbf /* of CPUs that do not say */

static void init_x87(struct fxregs_state *x87)
{
	memset(x87, 0, offsetof(struct fxregs_state, mxcsr));
	memset(x87->st_space, 0, sizeof(x87->st_space));
	x87->cwd = HWV_FCW_INIT;
}

/* State as after a CPU's INIT, and with it the bits of MXCSR that this CPU has. */
static void init_area(struct xregs_state *area)
{
	u32 mask;

	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "=m"(area->i387));
	kernel_fpu_end();
	mask = area->i387.mxcsr_mask ?: HWV_MXCSR_MASK_OLDEST;
	memset(area, 0, hwv_host_facts()->xsave_bytes);
	init_x87(&area->i387);
	area->i387.mxcsr = MXCSR_DEFAULT;
	area->i387.mxcsr_mask = mask;
}

/* XSAVE wants 64-byte alignment: powers of two are aligned to themselves. */
int hwv_fpu_init(struct hwv_fpu *fpu)
{
	size_t bytes = roundup_pow_of_two(hwv_host_facts()->xsave_bytes);

	fpu->area = kzalloc(bytes, GFP_KERNEL_ACCOUNT);
	fpu->thread = kzalloc(bytes, GFP_KERNEL_ACCOUNT);
	if (!fpu->area || !fpu->thread)
		return -ENOMEM; /* the caller frees */
	init_area(fpu->area);
	fpu->mask_low = (u32)hwv_host_facts()->xcr0_guest;
	fpu->mask_high = hwv_host_facts()->xcr0_guest >> 32;
	return 0;
}

void hwv_fpu_free(struct hwv_fpu *fpu)
{
	kfree(fpu->area);
	kfree(fpu->thread);
}

/*
 * Of components in their initial state XSAVEOPT writes nothing but that they are. Intel SDM, "CPUID:
 * Processor Extended State Enumeration": leaf 0DH, sub-leaf n: size in EAX, offset in EBX.
 */
static void fill_in(struct xregs_state *area)
{
	u64 initial = hwv_host_facts()->xcr0_guest & ~area->header.xfeatures;
	u32 size, offset, ecx, edx;
	unsigned int component;

	if (initial & XFEATURE_MASK_FP)
		init_x87(&area->i387);
	if (initial & XFEATURE_MASK_SSE)
		memset(area->i387.xmm_space, 0, sizeof(area->i387.xmm_space));
	for (component = 2; component < 63; component++) {
		if (!(initial & BIT_ULL(component)))
			continue;
		cpuid_count(0xd, component, &size, &offset, &ecx, &edx);
		memset((u8 *)area + offset, 0, size);
	}
}

/*
 * Everything on which XRSTOR would fault. Intel SDM, "Standard Form of XRSTOR": the header beyond
 * XSTATE_BV is zero; MXCSR comes from memory even where SSE is in its initial state.
 */
static int set_area(struct hwv_fpu *fpu, void *buffer)
{
	struct xregs_state *area = buffer;
	u64 known = hwv_host_facts()->xcr0_guest ?: XFEATURE_MASK_FPSSE;
	u32 mask = fpu->area->i387.mxcsr_mask;

	if ((area->header.xfeatures & ~known) || area->header.xcomp_bv ||
	    memchr_inv(area->header.reserved, 0, sizeof(area->header.reserved)))
		return -EINVAL;
	if (!(area->header.xfeatures & (XFEATURE_MASK_SSE | XFEATURE_MASK_YMM)))
		area->i387.mxcsr = MXCSR_DEFAULT;
	if (area->i387.mxcsr & ~mask)
		return -EINVAL;
	area->i387.mxcsr_mask = mask;
	memcpy(fpu->area, area, hwv_host_facts()->xsave_bytes);
	return 0;
}

int hwv_fpu_xsave(struct hwv_fpu *fpu, const struct hwv_xsave *request)
{
	u32 bytes = hwv_host_facts()->xsave_bytes;
	void __user *user = u64_to_user_ptr(request->buffer);
	void *buffer;
	int err = 0;

	if ((request->flags & ~HWV_XSAVE_SET) || request->bytes < bytes)
		return -EINVAL;
	buffer = kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	if (!(request->flags & HWV_XSAVE_SET)) {
		fill_in(fpu->area);
		memcpy(buffer, fpu->area, bytes);
		err = copy_to_user(user, buffer, bytes) ? -EFAULT : 0;
	} else if (copy_from_user(buffer, user, bytes)) {
		err = -EFAULT;
	} else {
		err = set_area(fpu, buffer);
	}
	kvfree(buffer);
	return err;
}
