// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's FPU state: where it lives while the guest does not run, its exchange with the
 * thread's, and HWV_XSAVE.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>
#include "compat.h"
#include "glue.h"

int hwv_fpu_init(struct hwv_host_vcpu *vcpu)
{
	return fpu_alloc_guest_fpstate(&vcpu->fpu) ? 0 : -ENOMEM;
}

void hwv_fpu_free(struct hwv_host_vcpu *vcpu)
{
	if (vcpu->fpu.fpstate)
		fpu_free_guest_fpstate(&vcpu->fpu);
}

void hwv_host_fpu_swap(struct hwv_host_vcpu *vcpu, int to_guest)
{
	fpu_swap_kvm_fpstate(&vcpu->fpu, to_guest);
}

static int xsave_get(struct hwv_host_vcpu *vcpu, void *buffer, void __user *user)
{
	u32 bytes = hwv_host_facts()->xsave_bytes;

	fpu_copy_guest_fpstate_to_uabi(&vcpu->fpu, buffer, bytes, hwv_host_facts()->xcr0_guest, 0);
	return copy_to_user(user, buffer, bytes) ? -EFAULT : 0;
}

/* The kernel checks XSTATE_BV against what guests may have, the rest of the header, and MXCSR. */
static int xsave_set(struct hwv_host_vcpu *vcpu, void *buffer, const void __user *user)
{
	const struct hwv_host_facts *facts = hwv_host_facts();
	u32 pkru = 0;

	if (copy_from_user(buffer, user, facts->xsave_bytes))
		return -EFAULT;
	return fpu_copy_uabi_to_guest_fpstate(&vcpu->fpu, buffer, facts->xcr0_guest, &pkru);
}

int hwv_fpu_xsave(struct hwv_host_vcpu *vcpu, const struct hwv_xsave *request)
{
	u32 bytes = hwv_host_facts()->xsave_bytes;
	void __user *user = u64_to_user_ptr(request->buffer);
	void *buffer;
	int err;

	if ((request->flags & ~HWV_XSAVE_SET) || request->bytes < bytes)
		return -EINVAL;
	/* The kernel may read as far as its own layout goes. */
	buffer = kvzalloc(max(bytes, vcpu->fpu.uabi_size), GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	if (request->flags & HWV_XSAVE_SET)
		err = xsave_set(vcpu, buffer, user);
	else
		err = xsave_get(vcpu, buffer, user);
	kvfree(buffer);
	return err;
}
