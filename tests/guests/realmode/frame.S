// SPDX-License-Identifier: GPL-2.0-only
// frame.S - the frame around the cases: each starts with the same registers, segments and memory, whatever it ends with is
// printed to port 0xe9 as one line. The same bytes run under hwv and, as a ROM, on the bare emulator. At 0:7C00.
    .code16
    .text
    .globl _start

    .set low_stack, 0x7800      // the frame's own
    .set memory, 0x4000         // linear: what is cleared before a case and hashed behind it
    .set memory_end, 0x7000
    .set no_vector, 0xff

// A case: its name, its code up to end_case, where it has a fault's way out too.
    .macro case name
    call prepare
    .word .Lend_\name
    .asciz "\name"
    .endm
    .macro end_case name
    jmp finish
.Lend_\name:
    .endm

_start:
    ljmp $0, $1f
1:  cli
    xor %ax, %ax
    mov %ax, %ss
    mov $low_stack, %sp
    mov $0xff, %al              // no interrupts but those that a case lets in
    out %al, $0x21
    out %al, $0xa1
    mov %cr0, %eax              // caches are on, as nobody but firmware has them off
    and $0x9fffffff, %eax
    mov %eax, %cr0
    jmp cases

// What exceptions do: each has a stub, which notes its number.
    .set stub_count, 0x22
    .set stub_bytes, 9
stubs:
    .set number, 0
    .rept stub_count
    movb $number, %cs:vector
    .byte 0xe9
    .word fault - . - 2
    .set number, number + 1
    .endr
fault:
    pop %cs:fault_ip
    pop %cs:fault_cs
    pop %cs:fault_flags
finish:
    mov %eax, %cs:d_eax
    mov %ebx, %cs:d_ebx
    mov %ecx, %cs:d_ecx
    mov %edx, %cs:d_edx
    mov %esi, %cs:d_esi
    mov %edi, %cs:d_edi
    mov %ebp, %cs:d_ebp
    mov %esp, %cs:d_esp
    mov %ds, %cs:d_ds
    mov %es, %cs:d_es
    mov %ss, %cs:d_ss
    lss %cs:frame_stack, %esp
    pushfl
    popl %cs:d_flags
    pushw $2
    popfw
    lidt %cs:real_idt
    call ordinary_segments
    xor %ax, %ax
    mov %ax, %ds
    call print
    jmp *next

    .include "prepare.inc"
    .include "print.inc"
    .include "tables.inc"
cases:
    .include "segments.inc"
    .include "strings.inc"
    .include "interrupts.inc"
    .include "control.inc"
    .include "unreal.inc"
    .include "devices.inc"
    .include "tasks.inc"
    .include "v86.inc"
    movw $the_end, %si
    call put_text
    mov $20, %al
    out %al, $0xf4
1:  hlt
    jmp 1b
the_end:
    .asciz "end\n"
