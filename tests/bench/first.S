# SPDX-License-Identifier: GPL-2.0-only
# first.S - a PVH kernel that says a line and ends: what else it takes is its launcher's.
        .section .note, "a", @note
        .balign 4
        .long   4, 4, 18                # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start

        .code32
        .section .text
        .globl  _start
_start:
        mov     $text, %esi
        mov     $(text_end - text), %ecx
        mov     $0x3f8, %edx
        cld
1:      lodsb
        out     %al, %dx
        loop    1b
        xor     %eax, %eax
        out     %al, $0xf4              # the debug exit
2:      hlt
        jmp     2b
text:   .ascii  "HWV-GUEST-DONE\n"
text_end:
