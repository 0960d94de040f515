/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * interrupts.S - an NMI or an interrupt ended the guest, was taken by the exit and is the host's: Intel SDM vol. 3, "VM-Exit Handling",
 * "Blocking of NMIs", "Acknowledge interrupt on exit".
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

/* The frame that the CPU would have pushed, but for the address that CALL adds; the handler's IRET takes it. */
.macro push_frame
	pushq %rbp
	movq %rsp, %rbp
	andq $-16, %rsp
	pushq $__KERNEL_DS
	pushq %rbp
	pushfq
	pushq $__KERNEL_CS
.endm

.macro return_behind_frame
	movq %rbp, %rsp
	popq %rbp
	RET
.endm

	.section .noinstr.text, "ax"
/* void hwv_vmx_nmi(void): into the kernel's entry, whose IRET unblocks NMIs. Irqs off. */
SYM_FUNC_START(hwv_vmx_nmi)
	push_frame
#if defined(HWV_HAVE_ASM_EXC_NMI_NOIST)
	call asm_exc_nmi_noist
#elif defined(HWV_HAVE_ASM_EXC_NMI_KVM_VMX)
	call asm_exc_nmi_kvm_vmx
#else
	addq $32, %rsp
	int $2
#endif
	return_behind_frame
SYM_FUNC_END(hwv_vmx_nmi)

	.text
/* void hwv_vmx_interrupt(unsigned long handler): the same for an interrupt, by its gate's address. */
SYM_FUNC_START(hwv_vmx_interrupt)
	push_frame
	CALL_NOSPEC rdi
	return_behind_frame
SYM_FUNC_END(hwv_vmx_interrupt)
