// SPDX-License-Identifier: GPL-2.0-only
// init.S - an init that says that it runs, and powers off: what came before it is the kernel's boot alone.
    .equ SYS_write, 1
    .equ SYS_reboot, 169
    .equ LINUX_REBOOT_MAGIC1, 0xfee1dead
    .equ LINUX_REBOOT_MAGIC2, 672274793
    .equ LINUX_REBOOT_CMD_POWER_OFF, 0x4321fedc

    .section .note.GNU-stack, "", @progbits
    .text
    .globl _start
_start:
    mov $SYS_write, %eax
    mov $1, %edi
    lea text(%rip), %rsi
    mov $(text_end - text), %edx
    syscall
    mov $SYS_reboot, %eax
    mov $LINUX_REBOOT_MAGIC1, %edi
    mov $LINUX_REBOOT_MAGIC2, %esi
    mov $LINUX_REBOOT_CMD_POWER_OFF, %edx
    syscall
    ud2

text:
    .ascii "HWV-GUEST-DONE init\n"
text_end:
