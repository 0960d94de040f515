# SPDX-License-Identifier: GPL-2.0-only
# boot.S - a small system that a BIOS starts from a disk: it lives in real mode, asks the BIOS and the devices, and says of each
# answer whether it is right. ../bios.py makes the disk: behind this, sector n holds dwords n << 16 | i, i from 0 to 127.
    .include "macros.inc"
    .code16
    .set sectors, 16            # of ours behind the first one
    .set buffer, 0x2000         # a segment
    .globl _start
_start:
    ljmp $0, $1f
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    cld
    mov %dl, drive
    mov $0x0200 + sectors, %ax
    mov $0x7e00, %bx
    mov $2, %cx                 # cylinder 0, sector 2
    xor %dh, %dh
    int $0x13
    jnc main
    hlt
drive: .byte 0

    .org 0x1fe
    .word 0xaa55

main:
    mov $3, %ax                 # 80 x 25 characters
    int $0x10
    call uart_start
    say "hwv: real mode from a disk\n"
    call services
    call disk_by_bios
    call disk_by_ports
    call modes
    call a20
    call shadow_ram
    call text_page
    say "waiting for keys\n"
    call keyboard
    say "done\n"
    xor %ah, %ah
    int $0x16
    mov $0x5307, %ax            # APM, "Set Power State": all devices, off
    mov $1, %bx
    mov $3, %cx
    int $0x15
    say "still on\n"
1:  hlt
    jmp 1b

    .include "print.inc"
    .include "services.inc"
    .include "disk.inc"
    .include "ata.inc"
    .include "modes.inc"
    .include "unreal.inc"
    .include "a20.inc"
    .include "pam.inc"
    .include "keyboard.inc"
    .org (sectors + 1) * 512
