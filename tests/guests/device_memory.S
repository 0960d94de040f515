# SPDX-License-Identifier: GPL-2.0-only
# A guest that reaches device memory by everything but a plain MOV, and moves strings through ports: what the kernel module
# leaves to userspace whole. Flat binary for 0x100000 in protected mode; ends by port 0xf4 with 20, or with the number of the
# first check that failed.
        .include "finish.inc"
        .code32
        .set ioapic, 0xfec00000         # register select at 0, window at 0x10
        .set apic, 0xfee00000
        .set redirection_0, 0x10

        .globl  _start
_start:
        cld
        mov     %cr4, %eax
        or      $0x600, %eax            # OSFXSR, OSXMMEXCPT
        mov     %eax, %cr4
        mov     $ioapic, %ebx

        movl    $0, (%ebx)
        addl    $1, (%ebx)              # read, modify, write
        cmpl    $1, (%ebx)
        check   e, 1
        pushl   0x10(%ebx)              # the version register
        pop     %eax
        cmp     0x10(%ebx), %eax
        check   e, 2

        mov     %ebx, %edi
        mov     $2, %eax
        mov     $1, %ecx
        rep stosl
        cmpl    $2, (%ebx)
        check   e, 3

        movl    $redirection_0, (%ebx)
        movl    $0x10031, 0x10(%ebx)    # masked
        btsl    $15, 0x10(%ebx)         # level-triggered
        check   nc, 4
        cmpl    $0x18031, 0x10(%ebx)
        check   e, 5

        movd    0x10(%ebx), %xmm0       # an SSE register loaded from a device, others kept
        mov     $0x12345678, %eax
        movd    %eax, %xmm1
        movd    0x10(%ebx), %xmm0
        movd    %xmm0, %eax
        cmp     $0x18031, %eax
        check   e, 6
        movd    %xmm1, %eax
        cmp     $0x12345678, %eax
        check   e, 7

        mov     $ioapic + 0x10, %esi    # from a device to RAM
        mov     $buffer, %edi
        movsl
        cmpl    $0x18031, buffer
        check   e, 8

        mov     $buffer, %edi           # port 0xe9 reads as 0xe9
        mov     $0xe9, %dx
        mov     $3, %ecx
        movl    $0, buffer
        rep insb
        cmpl    $0xe9e9e9, buffer
        check   e, 9
        cmp     $buffer + 3, %edi
        check   e, 10
        mov     $text, %esi
        mov     $text_end - text, %ecx
        rep outsb
        test    %ecx, %ecx
        check   e, 11

        movzbl  apic + 0x30, %eax       # a byte of the local APIC's version register
        mov     apic + 0x30, %ecx
        cmp     %cl, %al
        check   e, 12
        orl     $0x1ff, apic + 0xf0     # spurious vector and enable
        mov     apic + 0xf0, %eax
        and     $0x1ff, %eax
        cmp     $0x1ff, %eax
        check   e, 13

        finish  success

text:   .ascii  "string output arrives\n"
text_end:
        .balign 8
buffer: .fill   16
