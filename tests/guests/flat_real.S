# SPDX-License-Identifier: GPL-2.0-only
# A boot sector's start: real mode, CS 0, the stack usable, 16-bit addresses.
        .include "finish.inc"
        .code16
        .globl  _start
_start:
        mov     %cs, %ax
        test    %ax, %ax
        check   z, 1
        smsw    %ax
        test    $1, %al
        check   z, 2
        call    1f
1:      pop     %bx
        cmp     $1b, %bx
        check   e, 3
        mov     $0xb800, %ax
        mov     %ax, %es
        movw    $0x1234, %es:0x10
        cmpw    $0x1234, %es:0x10
        check   e, 4
        finish  success
