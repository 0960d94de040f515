// SPDX-License-Identifier: GPL-2.0-only
// storm.S - 64-bit guest that waits for a byte at COM1, then makes exits whose numbers are known, and ends with status 128 + 5: COUNT CPUIDs of
// leaf 0x1234, COUNT bytes 0..COUNT-1 to port 0x80, COUNT readings of APIC_BASE, two marks around all that.
    .text
    .globl _start
    .macro mark text
    mov $0x68777600, %eax
    mov $\text, %rbx
#ifdef AMD
    vmmcall
#else
    vmcall
#endif
    .endm

_start:
    mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz _start
    mark 0x6e69676562       // "begin"
    mov $COUNT, %edi
cpuid:
    mov $0x1234, %eax
    xor %ecx, %ecx
    cpuid
    dec %edi
    jnz cpuid
    xor %edi, %edi
write:
    mov %edi, %eax
    out %al, $0x80
    inc %edi
    cmp $COUNT, %edi
    jne write
msr:
    mov $0x1b, %ecx
    rdmsr
    dec %edi
    jnz msr
    mark 0x646e65           // "end"
    mov $5, %al
    out %al, $0xf4
    hlt
    jmp _start
