// SPDX-License-Identifier: GPL-2.0-only
// rom.S - the firmware of the bare machine: copies the cases, which lie before it, to where hwvctl puts them.
    .code16
    .text
rom:
    .incbin "frame.bin"
    .org 0xff00
copy:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    xor %si, %si
    mov %si, %es
    mov $0x7c00, %di
    mov $0x4000, %cx
    rep movsw
    ljmp $0, $0x7c00
    .org 0xfff0
    ljmp $0xf000, $copy
    .org 0x10000
