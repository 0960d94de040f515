# SPDX-License-Identifier: GPL-2.0-only
# A multiboot 2 kernel that checks what it is given: registers, command line, memory, two modules, memory map, ACPI tables. It has
# a multiboot 1 header, too, and another entry for that, so that it is seen which of the two it was taken for.
        .include "finish.inc"
        .set as_multiboot, 21
        .set with_screen, 22

        .code32
        .section .text
        .balign 8
header: .long   0xe85250d6, 0, end - header, -(0xe85250d6 + (end - header))
        .short  1, 0                    # wanted: basic memory, memory map, modules
        .long   20, 4, 6, 3
        .balign 8
        .short  5, 1                    # a screen, if there is one
        .long   20, 640, 480, 32
        .balign 8
        .short  3, 0                    # the entry
        .long   12, begin
        .balign 8
        .short  0, 0
        .long   8
end:
        .balign 4
        .long   0x1badb002, 3, -(0x1badb002 + 3)

        .globl  _start
_start: finish  as_multiboot

        # The tag of the wanted type: its content's address in ESI; fails as the number says.
        .macro  find type, number
        mov     $\type, %eax
        call    find_tag
        check   e, \number
        .endm
find_tag:
        lea     8(%ebx), %esi
1:      cmp     %eax, (%esi)
        je      2f
        cmpl    $0, (%esi)
        je      3f
        mov     4(%esi), %ecx
        lea     7(%esi, %ecx), %esi
        and     $-8, %esi
        jmp     1b
2:      add     $8, %esi
        cmp     %eax, %eax
        ret
3:      test    %esp, %esp
        ret

begin:  cmp     $0x36d76289, %eax
        check   e, 1
        mov     %cr0, %eax
        and     $0x80000001, %eax       # protection on, paging off
        cmp     $1, %eax
        check   e, 2
        test    $7, %bl
        check   z, 3

        find    1, 4
1:      lodsb                           # "FILE one two"
        test    %al, %al
        check   nz, 5
        cmp     $' ', %al
        jne     1b
        cmpl    $0x20656e6f, (%esi)     # "one "
        check   e, 6

        find    4, 7
        cmpl    $639, (%esi)            # KiB below 1 MiB
        check   e, 8
        cmpl    $31 * 1024, 4(%esi)     # KiB above, of 32 MiB
        check   e, 9

        find    3, 10
        mov     (%esi), %edi            # the first module's bytes and length
        cmpl    $0x73726966, (%edi)     # "firs"
        check   e, 11
        mov     4(%esi), %eax
        sub     %edi, %eax
        cmp     $5, %eax
        check   e, 12
        cmpl    $3, 16(%esi)            # then comes the second, aligned
        check   e, 13
        cmpl    $0x6f636573, 32(%esi)   # "seco"
        check   e, 14

        find    6, 15                   # usable memory in the map adds up to the two figures above
        mov     -4(%esi), %ecx
        lea     -8(%esi, %ecx), %ecx
        add     $8, %esi
        xor     %edx, %edx
2:      cmpl    $1, 16(%esi)
        jne     3f
        add     8(%esi), %edx
3:      add     $24, %esi
        cmp     %ecx, %esi
        jb      2b
        cmp     $(639 + 31 * 1024) * 1024, %edx
        check   e, 16

        find    15, 17
        cmpl    $0x20445352, (%esi)     # "RSD "
        check   e, 18
        mov     24(%esi), %esi
        cmpl    $0x54445358, (%esi)     # XSDT
        check   e, 19

        mov     $8, %eax
        call    find_tag
        jne     5f
        cmpl    $640, 12(%esi)
        check   e, 23
        cmpl    $480, 16(%esi)
        check   e, 24
        cmpl    $0x0120, 20(%esi)       # 32 bits, red, green and blue
        check   e, 25
        cmpl    $0x08080810, 24(%esi)   # red's position and size, green's
        check   e, 26
        cmpw    $0x0800, 28(%esi)       # blue's
        check   e, 27
        mov     (%esi), %edi
        mov     8(%esi), %eax           # the last line's last pixel
        mull    16(%esi)
        movl    $0x00ffaa55, -4(%edi, %eax)
        cmpl    $0x00ffaa55, -4(%edi, %eax)
        check   e, 28
        finish  with_screen
5:      finish  success
