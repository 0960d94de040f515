# SPDX-License-Identifier: GPL-2.0-only
# A PVH kernel that checks its start information, and finds the ACPI tables.
        .include "finish.inc"

        .section .note, "a", @note
        .balign 4
        .long   4, 4, 18                # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start

        .code32
        .section .text
        .globl  _start
_start:
        cmpl    $0x336ec578, (%ebx)
        check   e, 1
        cmpl    $1, 4(%ebx)
        check   e, 2
        cmpl    $1, 12(%ebx)            # one module
        check   e, 3
        mov     16(%ebx), %esi
        mov     (%esi), %edi
        cmpl    $0x73726966, (%edi)     # "firs"
        check   e, 4
        cmpl    $5, 8(%esi)
        check   e, 5
        mov     24(%ebx), %esi
        cmpl    $0x656e6f, (%esi)       # "one"
        check   e, 6
        cmpl    $4, 48(%ebx)            # memory map
        check   ae, 7
        mov     32(%ebx), %esi
        cmpl    $0x20445352, (%esi)     # "RSD "
        check   e, 8
        mov     24(%esi), %esi          # XSDT
        cmpl    $0x54445358, (%esi)
        check   e, 9
        mov     4(%esi), %ecx           # its bytes add up to 0
        xor     %eax, %eax
1:      add     (%esi), %al
        inc     %esi
        loop    1b
        test    %al, %al
        check   e, 10
        str     %ax
        test    %ax, %ax
        check   nz, 11
        mov     %cr4, %eax
        test    %eax, %eax
        check   z, 12
        finish  success
