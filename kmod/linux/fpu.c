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
#include "glue.h"

#ifdef HWV_FPU_BY_KERNEL

int hwv_fpu_init(struct hwv_fpu *fpu)
{
	return fpu_alloc_guest_fpstate(&fpu->guest) ? 0 : -ENOMEM;
}

void hwv_fpu_free(struct hwv_fpu *fpu)
{
	if (fpu->guest.fpstate)
		fpu_free_guest_fpstate(&fpu->guest);
}

void hwv_host_fpu_swap(struct hwv_host_vcpu *vcpu, int to_guest)
{
	fpu_swap_kvm_fpstate(&vcpu->fpu.guest, to_guest);
}

static u32 area_bytes(struct hwv_fpu *fpu)
{
	return max(hwv_host_facts()->xsave_bytes, fpu->guest.uabi_size);
}

static void get_area(struct hwv_fpu *fpu, void *buffer, u32 bytes)
{
	fpu_copy_guest_fpstate_to_uabi(&fpu->guest, buffer, bytes, hwv_host_facts()->xcr0_guest, 0);
}

/* The kernel checks XSTATE_BV against what guests may have, the rest of the header, and MXCSR. */
static int set_area(struct hwv_fpu *fpu, void *buffer)
{
	u32 pkru = 0;

	return fpu_copy_uabi_to_guest_fpstate(&fpu->guest, buffer, hwv_host_facts()->xcr0_guest,
					      &pkru);
}

#else

#define HWV_FCW_INIT 0x37f
#define HWV_MXCSR_MASK_OLDEST 0xffbf /* of CPUs that do not say */

static u32 area_bytes(struct hwv_fpu *fpu)
{
	return hwv_host_facts()->xsave_bytes;
}

/* State as after a CPU's INIT, and with it the bits of MXCSR that this CPU has. */
static void init_area(struct xregs_state *area)
{
	u32 mask;

	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "=m"(area->i387));
	kernel_fpu_end();
	mask = area->i387.mxcsr_mask ?: HWV_MXCSR_MASK_OLDEST;
	memset(area, 0, area_bytes(NULL));
	area->i387.cwd = HWV_FCW_INIT;
	area->i387.mxcsr = MXCSR_DEFAULT;
	area->i387.mxcsr_mask = mask;
}

/* XSAVE wants 64-byte alignment: powers of two are aligned to themselves. */
int hwv_fpu_init(struct hwv_fpu *fpu)
{
	fpu->area = kzalloc(roundup_pow_of_two(area_bytes(fpu)), GFP_KERNEL_ACCOUNT);
	if (!fpu->area)
		return -ENOMEM;
	init_area(fpu->area);
	return 0;
}

void hwv_fpu_free(struct hwv_fpu *fpu)
{
	kfree(fpu->area);
}

/* The exchange is around each entry. */
void hwv_host_fpu_swap(struct hwv_host_vcpu *vcpu, int to_guest)
{
}

/*
 * A section of the kernel's own use of the FPU, which saves the thread's state where that is still
 * in the registers and has it loaded before the return to user. With irqs off it changes neither
 * the preemption count nor softirqs. XCR0 is the host's; the components are those that guests may
 * have, whatever this one has switched on.
 */
void hwv_fpu_enter(struct hwv_fpu *fpu)
{
	u64 mask = hwv_host_facts()->xcr0_guest;

	kernel_fpu_begin_mask(0);
	if (mask)
		asm volatile("xrstor64 %0"
			     :
			     : "m"(*fpu->area), "a"((u32)mask), "d"((u32)(mask >> 32))
			     : "memory");
	else
		asm volatile("fxrstor64 %0" : : "m"(fpu->area->i387));
}

void hwv_fpu_leave(struct hwv_fpu *fpu)
{
	u64 mask = hwv_host_facts()->xcr0_guest;

	if (mask)
		asm volatile("xsave64 %0"
			     : "+m"(*fpu->area)
			     : "a"((u32)mask), "d"((u32)(mask >> 32))
			     : "memory");
	else
		asm volatile("fxsave64 %0" : "=m"(fpu->area->i387));
	kernel_fpu_end();
}

static void get_area(struct hwv_fpu *fpu, void *buffer, u32 bytes)
{
	memcpy(buffer, fpu->area, bytes);
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
	memcpy(fpu->area, area, area_bytes(fpu));
	return 0;
}

#endif

int hwv_fpu_xsave(struct hwv_fpu *fpu, const struct hwv_xsave *request)
{
	u32 bytes = hwv_host_facts()->xsave_bytes;
	void __user *user = u64_to_user_ptr(request->buffer);
	void *buffer;
	int err = 0;

	if ((request->flags & ~HWV_XSAVE_SET) || request->bytes < bytes)
		return -EINVAL;
	buffer = kvzalloc(area_bytes(fpu), GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	if (!(request->flags & HWV_XSAVE_SET)) {
		get_area(fpu, buffer, bytes);
		err = copy_to_user(user, buffer, bytes) ? -EFAULT : 0;
	} else if (copy_from_user(buffer, user, bytes)) {
		err = -EFAULT;
	} else {
		err = set_area(fpu, buffer);
	}
	kvfree(buffer);
	return err;
}
