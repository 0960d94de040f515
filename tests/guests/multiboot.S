# SPDX-License-Identifier: GPL-2.0-only
# A multiboot kernel that checks what it is given: registers, memory, command line, two modules, memory map.
        .include "finish.inc"
        .set info_memory_and_map, 0x41
        .set info_modules, 0x8

        .code32
        .section .text
        .balign 4
        .long   0x1badb002, 3, -(0x1badb002 + 3)

        .globl  _start
_start:
        cmp     $0x2badb002, %eax
        check   e, 1
        mov     %cr0, %eax
        and     $0x80000001, %eax       # protection on, paging off
        cmp     $1, %eax
        check   e, 2
        mov     (%ebx), %eax
        and     $info_memory_and_map | info_modules, %eax
        cmp     $info_memory_and_map | info_modules, %eax
        check   e, 3
        cmpl    $639, 4(%ebx)           # KiB below 1 MiB
        check   e, 4
        cmpl    $31 * 1024, 8(%ebx)     # KiB above, of 32 MiB
        check   e, 5

        mov     16(%ebx), %esi          # "FILE one two"
1:      lodsb
        test    %al, %al
        check   nz, 6
        cmp     $' ', %al
        jne     1b
        cmpl    $0x20656e6f, (%esi)     # "one "
        check   e, 7

        cmpl    $2, 20(%ebx)
        check   e, 8
        mov     24(%ebx), %esi
        mov     (%esi), %edi            # the first module's bytes and length
        cmpl    $0x73726966, (%edi)     # "firs"
        check   e, 9
        mov     4(%esi), %eax
        sub     %edi, %eax
        cmp     $5, %eax
        check   e, 10
        mov     16(%esi), %edi
        cmpl    $0x6f636573, (%edi)     # "seco"
        check   e, 11

        mov     48(%ebx), %esi          # usable memory in the map adds up to the two figures above
        mov     44(%ebx), %ecx
        add     %esi, %ecx
        xor     %edx, %edx
2:      cmpl    $1, 20(%esi)
        jne     3f
        add     12(%esi), %edx
3:      add     (%esi), %esi
        add     $4, %esi
        cmp     %ecx, %esi
        jb      2b
        cmp     $(639 + 31 * 1024) * 1024, %edx
        check   e, 12

        mov     $0x18, %eax             # the descriptor tables are as good as the segments loaded
        mov     %eax, %ds
        ljmp    $0x10, $4f
4:      finish  success
