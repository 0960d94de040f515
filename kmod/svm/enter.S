/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - the world switch: into the guest and back. AMD APM vol. 2, "VMRUN Instruction", "VMSAVE and VMLOAD
 * Instructions", "Global Interrupt Flag, STGI and CLGI Instructions".
 *
 * bool hwv_svm_switch(u64 *gprs, u64 vmcb, u64 host_state, u32 spec_ctrl)
 *
 * Called with irqs off; vmcb and host_state are physical. RAX and RSP are in the VMCB. True: the guest was not entered,
 * because an SVM instruction faulted.
 *
 * From CLGI to STGI nothing interrupts: in between GS, TR and the system call MSRs may be the guest's, and an NMI would run on
 * them. The guest runs with interrupts on as far as the host is concerned (STI before VMRUN, V_INTR_MASKING), so that a host
 * interrupt makes it exit.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>
#include "gen/hwv_offsets.h"
#include "speculation.h"

#define RESULT 32 /* on the stack, above the four words that are pushed after it */

	.section .noinstr.text, "ax"
SYM_FUNC_START(hwv_svm_switch)
	pushq %rbp
	pushq %r15
	pushq %r14
	pushq %r13
	pushq %r12
	pushq %rbx
	pushq $0	/* RESULT */
	pushq %rcx	/* the guest's SPEC_CTRL */
	pushq %rdx
	pushq %rsi
	pushq %rdi
1:	clgi

	ALTERNATIVE "", "jmp .Lguest_spec_ctrl_done", X86_FEATURE_V_SPEC_CTRL
	movl %ecx, %eax
	cmpl PER_CPU_VAR(x86_spec_ctrl_current), %eax
	je .Lguest_spec_ctrl_done
	movl $MSR_IA32_SPEC_CTRL, %ecx
	xorl %edx, %edx
	wrmsr
.Lguest_spec_ctrl_done:

	movq %rsi, %rax
2:	vmload %rax
	sti	/* not right before VMRUN: the shadow of STI must not reach the guest */
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
	HWV_CLEAR_CPU_BUFFERS X86_FEATURE_CLEAR_CPU_BUF_VM
3:	vmrun %rax
.Lexit:
	cli
	popq %rax
	movq %rcx, HWV_GPR_RCX(%rax)
	movq %rdx, HWV_GPR_RDX(%rax)
	movq %rbx, HWV_GPR_RBX(%rax)
	movq %rbp, HWV_GPR_RBP(%rax)
	movq %rsi, HWV_GPR_RSI(%rax)
	movq %rdi, HWV_GPR_RDI(%rax)
	movq %r8, HWV_GPR_R8(%rax)
	movq %r9, HWV_GPR_R9(%rax)
	movq %r10, HWV_GPR_R10(%rax)
	movq %r11, HWV_GPR_R11(%rax)
	movq %r12, HWV_GPR_R12(%rax)
	movq %r13, HWV_GPR_R13(%rax)
	movq %r14, HWV_GPR_R14(%rax)
	movq %r15, HWV_GPR_R15(%rax)
	popq %rax
4:	vmsave %rax
.Lhost:
	popq %rax
	vmload %rax	/* no way out if this faults: without the host's GS there is nowhere to go */

	HWV_FILL_RETURN_BUFFER_AMD %rax

	popq %rcx
	ALTERNATIVE "", "jmp .Lhost_spec_ctrl_done", X86_FEATURE_V_SPEC_CTRL
	movl PER_CPU_VAR(x86_spec_ctrl_current), %eax
	cmpl %ecx, %eax
	je .Lhost_spec_ctrl_done
	movl $MSR_IA32_SPEC_CTRL, %ecx
	xorl %edx, %edx
	wrmsr
.Lhost_spec_ctrl_done:

	/* The guest's values must not be used speculatively. */
	.irp reg, ecx, edx, ebx, ebp, esi, edi, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
	xorl %\reg, %\reg
	.endr

	HWV_UNTRAIN_RET
	stgi
	popq %rax
.Lreturn:
	popq %rbx
	popq %r12
	popq %r13
	popq %r14
	popq %r15
	popq %rbp
	RET

	/* CLGI is the first to fault where SVM was taken away; with it done nobody can take it. */
11:	addq $RESULT, %rsp
	popq %rax
	movl $1, %eax
	jmp .Lreturn
12:	movl $1, RESULT(%rsp)
	addq $16, %rsp
	jmp .Lhost
13:	movl $1, RESULT(%rsp)
	jmp .Lexit
14:	movl $1, RESULT - 16(%rsp)
	jmp .Lhost

	_ASM_EXTABLE(1b, 11b)
	_ASM_EXTABLE(2b, 12b)
	_ASM_EXTABLE(3b, 13b)
	_ASM_EXTABLE(4b, 14b)
SYM_FUNC_END(hwv_svm_switch)
