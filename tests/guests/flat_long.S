# SPDX-License-Identifier: GPL-2.0-only
# Long mode at once: an identity map of 4 GiB, a stack, segments that can be loaded again.
        .include "finish.inc"
        .code64
        .globl  _start
_start:
        mov     $0x123456789, %rax
        shr     $32, %rax
        cmp     $1, %eax
        check   e, 1
        mov     $0xc0000080, %ecx
        rdmsr
        and     $0x500, %eax            # LMA, LME
        cmp     $0x500, %eax
        check   e, 2
        mov     0xfee00030, %eax        # the far end of the map: the local APIC's version
        test    %al, %al
        check   nz, 3
        push    $0x10
        lea     1f(%rip), %rax
        push    %rax
        lretq
1:      mov     $0x18, %eax
        mov     %eax, %ss
        mov     %eax, %ds
        str     %ax
        cmp     $0x20, %ax
        check   e, 4
        finish  success
