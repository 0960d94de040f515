/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * speculation.h - what a world switch owes the host against speculation, for enter.S: the kernel's own macros, or where these
 * call what the kernel keeps for KVM's modules (HWV_HAVE_*: see Kbuild), the same done here.
 */
#ifndef HWV_SPECULATION_H
#define HWV_SPECULATION_H

#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

/*
 * MDS, TAA, RFDS, TSA: the last before the guest; nothing may touch host data after it. Clobbers ZF. `feature`: for AMD it is
 * CLEAR_CPU_BUF_VM; for Intel kernels without CLEAR_CPU_BUF_VM_MMIO mean guests as well when they clear the buffers for user space.
 */
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO
#define HWV_INTEL_CLEAR_CPU_BUF X86_FEATURE_CLEAR_CPU_BUF_VM
#else
#define HWV_INTEL_CLEAR_CPU_BUF X86_FEATURE_CLEAR_CPU_BUF
#endif
#ifdef HWV_HAVE_X86_VERW_SEL
#define HWV_VERW_SELECTOR x86_verw_sel
#else
#define HWV_VERW_SELECTOR hwv_verw_selector
	.pushsection .rodata, "a"
hwv_verw_selector:
	.word __KERNEL_DS
	.popsection
#endif

.macro HWV_CLEAR_CPU_BUFFERS feature:req
	ALTERNATIVE "jmp .Lbuffers_cleared_\@", "", \feature
	verw HWV_VERW_SELECTOR(%rip) /* only the form with a memory operand does it */
.Lbuffers_cleared_\@:
.endm

/*
 * The return stack holds the guest's addresses: filled before the first RET. The kernel asks for it by RSB_VMEXIT; KVM for AMD
 * does it wherever the kernel uses retpolines.
 */
.macro HWV_FILL_RETURN_BUFFER_AMD reg:req
	ALTERNATIVE_2 "jmp .Lfilled_\@", \
		__stringify(__FILL_RETURN_BUFFER(\reg, RSB_CLEAR_LOOPS)), X86_FEATURE_RSB_VMEXIT, \
		__stringify(__FILL_RETURN_BUFFER(\reg, RSB_CLEAR_LOOPS)), X86_FEATURE_RETPOLINE
.Lfilled_\@:
.endm

/* Retbleed, SRSO: before the first RET after the guest. Clobbers RAX, RCX, RDX. */
#if defined(UNTRAIN_RET_VM) && (defined(HWV_HAVE_ENTRY_IBPB) || defined(HWV_HAVE_WRITE_IBPB))
#define HWV_UNTRAIN_RET UNTRAIN_RET_VM
#elif defined(HWV_HAVE_ENTRY_IBPB)
.macro HWV_UNTRAIN_RET
	UNTRAIN_RET
	ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT
.endm
#else
.macro HWV_UNTRAIN_RET
	VALIDATE_UNRET_END
	CALL_UNTRAIN_RET
	ALTERNATIVE "jmp .Luntrained_\@", "", X86_FEATURE_IBPB_ON_VMEXIT
	movl $MSR_IA32_PRED_CMD, %ecx
	movl $PRED_CMD_IBPB, %eax
	xorl %edx, %edx
	wrmsr
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_BUG_IBPB_NO_RET /* some CPUs' IBPB leaves the return stack */
.Luntrained_\@:
.endm
#endif

#endif
