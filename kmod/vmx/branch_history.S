/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * branch_history.S - for kernels that keep their own function to KVM's modules. Intel, "Branch History Injection and Intra-mode
 * Branch Target Injection", "Software BHB-clearing sequence": so many taken branches, calls and returns among them, that none
 * of the guest's is left in the history. The numbers are those for the longest history.
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>

#ifndef HWV_HAVE_CLEAR_BHB_LOOP

#define ROUNDS 12
#define BRANCHES 7

	.section .noinstr.text, "ax"
	.balign 64
SYM_FUNC_START_LOCAL_NOALIGN(round)
	movl $BRANCHES, %eax
.Lnext:
	jmp .Ltaken
	int3
.Ltaken:
	subl $1, %eax
	jnz .Lnext
	subl $1, %ecx
	jz .Llast
	call round	/* one deeper each time: as many returns as calls */
.Llast:
	RET
SYM_FUNC_END(round)

/* Clobbers RAX, RCX. */
	.balign 64
SYM_FUNC_START(hwv_vmx_clear_branch_history)
	movl $ROUNDS, %ecx
	call round
	lfence
	RET
SYM_FUNC_END(hwv_vmx_clear_branch_history)

#endif
