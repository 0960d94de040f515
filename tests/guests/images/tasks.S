// SPDX-License-Identifier: GPL-2.0-only
// tasks.S - a 32-bit guest that calls another task and is come back to, then divides by zero through a task gate. It exits
// with status 128 + 3 when the other task ran twice and nothing of its own is lost.
    .code32
    .text
    .globl _start
_start:
    lgdt gdt_pointer
    lidt idt_pointer
    ljmp $0x08, $1f
1:  mov $0x10, %eax
    .irp segment, ds, es, fs, gs, ss
    mov %eax, %\segment
    .endr
    mov $stack_of_first, %esp
    mov $0x18, %eax
    ltr %ax
    mov $1, %ebx
    xor %ecx, %ecx
    lcall $0x20, $0
    div %ecx                // its task comes back behind it
    inc %ebx
    add ran, %bl
    lea -1(%ebx), %eax
    out %al, $0xf4
    hlt

other:
    incb ran
    iret
    incb ran
    addl $2, first + 0x20   // EIP
    iret

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
    .macro tss at
    .word 0x67, \at - _start
    .byte 0x20, 0x89, 0, 0  // the image is at 2 MiB
    .endm
    tss first
    tss second
idt:
    .word 0, 0x20, 0x8500, 0
gdt_pointer:
    .word idt - gdt - 1
    .long gdt
idt_pointer:
    .word 7
    .long idt
first:
    .fill 0x68, 1, 0
second:
    .fill 0x20, 1, 0
    .long other, 2, 0, 0, 0, 0, stack_of_second, 0, 0, 0
    .long 0x10, 0x08, 0x10, 0x10, 0x10, 0x10, 0, 0
ran:
    .byte 0
    .fill 63, 1, 0
stack_of_first:
    .fill 64, 1, 0
stack_of_second:
