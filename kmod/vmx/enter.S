/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - the world switch: into the guest and back. Intel SDM vol. 3, "VM Entries", "VM Exits", "VMX Instruction
 * Reference".
 *
 * int hwv_vmx_switch(u64 *gprs, bool launched, u32 spec_ctrl, u64 *host_rsp)
 *
 * Called with irqs off and the VMCS current. RSP is in the VMCS; *host_rsp is what the VMCS has as the host's. 0: the guest
 * was entered, or failed to be loaded (the exit reason tells); 1: VMfail; 2: the instruction faulted. A host interrupt ends the
 * guest and stays pending; NMIs go through hwv_vmx_nmi().
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>
#include <asm/unwind_hints.h>
#include "gen/hwv_offsets.h"
#include "speculation.h"

#define HOST_RSP_FIELD 0x6c14

	.section .noinstr.text, "ax"
SYM_FUNC_START(hwv_vmx_switch)
	pushq %rbp
	pushq %r15
	pushq %r14
	pushq %r13
	pushq %r12
	pushq %rbx
	pushq %rdx	/* the guest's SPEC_CTRL */
	pushq %rdi

	cmpq %rsp, (%rcx)
	je .Lhost_rsp_done
	movq %rsp, (%rcx)
	movl $HOST_RSP_FIELD, %eax
1:	vmwrite %rsp, %rax
.Lhost_rsp_done:

	movl %edx, %eax
	cmpl PER_CPU_VAR(x86_spec_ctrl_current), %eax
	je .Lguest_spec_ctrl_done
	movl $MSR_IA32_SPEC_CTRL, %ecx
	xorl %edx, %edx
	wrmsr
.Lguest_spec_ctrl_done:

	btl $0, %esi	/* CF: launched. Nothing below changes it */
	movq HWV_GPR_RAX(%rdi), %rax
	movq HWV_GPR_RCX(%rdi), %rcx
	movq HWV_GPR_RDX(%rdi), %rdx
	movq HWV_GPR_RBX(%rdi), %rbx
	movq HWV_GPR_RBP(%rdi), %rbp
	movq HWV_GPR_RSI(%rdi), %rsi
	movq HWV_GPR_R8(%rdi), %r8
	movq HWV_GPR_R9(%rdi), %r9
	movq HWV_GPR_R10(%rdi), %r10
	movq HWV_GPR_R11(%rdi), %r11
	movq HWV_GPR_R12(%rdi), %r12
	movq HWV_GPR_R13(%rdi), %r13
	movq HWV_GPR_R14(%rdi), %r14
	movq HWV_GPR_R15(%rdi), %r15
	movq HWV_GPR_RDI(%rdi), %rdi
	HWV_CLEAR_CPU_BUFFERS HWV_INTEL_CLEAR_CPU_BUF	/* leaves CF */
	jnc .Llaunch
	UNWIND_HINT_SAVE
2:	vmresume
	jmp .Lvmfail
.Llaunch:
3:	vmlaunch
.Lvmfail:
	popq %rdi
	movl $1, %ebx
	jmp .Lback

SYM_INNER_LABEL(hwv_vmx_exit, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	xchgq %rdi, (%rsp)
	movq %rax, HWV_GPR_RAX(%rdi)
	popq HWV_GPR_RDI(%rdi)
	movq %rcx, HWV_GPR_RCX(%rdi)
	movq %rdx, HWV_GPR_RDX(%rdi)
	movq %rbx, HWV_GPR_RBX(%rdi)
	movq %rbp, HWV_GPR_RBP(%rdi)
	movq %rsi, HWV_GPR_RSI(%rdi)
	movq %r8, HWV_GPR_R8(%rdi)
	movq %r9, HWV_GPR_R9(%rdi)
	movq %r10, HWV_GPR_R10(%rdi)
	movq %r11, HWV_GPR_R11(%rdi)
	movq %r12, HWV_GPR_R12(%rdi)
	movq %r13, HWV_GPR_R13(%rdi)
	movq %r14, HWV_GPR_R14(%rdi)
	movq %r15, HWV_GPR_R15(%rdi)
	xorl %ebx, %ebx	/* what is returned */

.Lback:
	/* The guest's values must not be used speculatively. */
	.irp reg, eax, ecx, edx, ebp, esi, edi, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
	xorl %\reg, %\reg
	.endr

	/* The return stack holds the guest's addresses: refill it before the first RET. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE

	popq %rcx	/* the guest's SPEC_CTRL */
	movl PER_CPU_VAR(x86_spec_ctrl_current), %eax
	/* IBRS has to be written after every transition from a less privileged mode, whatever it was. */
	ALTERNATIVE "", "jmp .Lhost_spec_ctrl", X86_FEATURE_KERNEL_IBRS
	cmpl %ecx, %eax
	je .Lhost_spec_ctrl_done
.Lhost_spec_ctrl:
	movl $MSR_IA32_SPEC_CTRL, %ecx
	xorl %edx, %edx
	wrmsr
.Lhost_spec_ctrl_done:
	lfence	/* no branch below is predicted with the guest's value */

	/* BHI: the guest's branch history. */
#ifdef HWV_HAVE_CLEAR_BHB_LOOP
	CLEAR_BRANCH_HISTORY_VMEXIT
#elif defined(X86_FEATURE_CLEAR_BHB_VMEXIT)
	ALTERNATIVE "jmp .Lhistory_done", "", X86_FEATURE_CLEAR_BHB_VMEXIT
	call hwv_vmx_clear_branch_history
.Lhistory_done:
#endif
	movl %ebx, %eax

	popq %rbx
	popq %r12
	popq %r13
	popq %r14
	popq %r15
	popq %rbp
	RET

	/* VMX was switched off under us. Where the guest's registers are loaded already, only the stack is ours. */
11:	popq %rdi
	movl $2, %ebx
	jmp .Lback

	_ASM_EXTABLE(1b, 11b)
	_ASM_EXTABLE(2b, 11b)
	_ASM_EXTABLE(3b, 11b)
SYM_FUNC_END(hwv_vmx_switch)
