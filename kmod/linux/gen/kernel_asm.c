// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preprocessed only: hands the kernel's own side-table assembler text to C++ as gen/hwv_kernel_asm.h (see Kbuild).
 *
 * HWV_EXTABLE_1B_FAULT       in an asm goto: a fault of the instruction at label 1 jumps to the C++ label `fault`
 * HWV_STATIC_BRANCH_ASM      static_key_false(): operands "i"(address of the key), "i"(HWV_STATIC_BRANCH_BIAS), label l_yes
 */
#include <linux/jump_label.h>
#include <asm/asm.h>
HWV_EMIT_HWV_EXTABLE_1B_FAULT _ASM_EXTABLE(1b, %l[fault])
#ifdef ARCH_STATIC_BRANCH_ASM			/* v6.15 and later */
HWV_EMIT_HWV_STATIC_BRANCH_ASM ARCH_STATIC_BRANCH_ASM("%c0 + %c1", "%l[l_yes]")
HWV_EMIT_HWV_STATIC_BRANCH_BIAS 0
#elif defined(CONFIG_HAVE_JUMP_LABEL_HACK)
HWV_EMIT_HWV_STATIC_BRANCH_ASM "1:" "jmp %l[l_yes] # objtool NOPs this \n\t" JUMP_TABLE_ENTRY
HWV_EMIT_HWV_STATIC_BRANCH_BIAS 2
#else
HWV_EMIT_HWV_STATIC_BRANCH_ASM "1:" ".byte " __stringify(BYTES_NOP5) "\n\t" JUMP_TABLE_ENTRY
HWV_EMIT_HWV_STATIC_BRANCH_BIAS 0
#endif
