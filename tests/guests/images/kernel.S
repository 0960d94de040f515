// SPDX-License-Identifier: GPL-2.0-only
// kernel.S - a 32-bit kernel for multiboot 1 (MULTIBOOT) or PVH: says its command line, and each module's text and command
// line, then exits with status 128 + number of modules.
#ifdef MULTIBOOT
    .section .text, "ax"
    .align 4
header:
    .long 0x1badb002, 3, -(0x1badb002 + 3)
#else
    .section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18          // name's size, data's size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long _start
    .section .text, "ax"
#endif
    .globl _start
_start:
    cld
    mov $bad, %esi
#ifdef MULTIBOOT
    cmp $0x2badb002, %eax
    jne fail
    mov (%ebx), %eax
    and $0x4c, %eax         // command line, modules, memory map
    cmp $0x4c, %eax
    jne fail
    mov 16(%ebx), %esi
    mov 20(%ebx), %edi      // modules: their number, their table
    mov 24(%ebx), %ebp
#else
    cmpl $0x336ec578, (%ebx)
    jne fail
    mov 24(%ebx), %esi
    mov 12(%ebx), %edi
    mov 16(%ebx), %ebp
#endif
    mov %edi, %ebx
    call say
each:
    dec %edi
    js done
    mov (%ebp), %esi
#ifdef MULTIBOOT
    mov 4(%ebp), %ecx
    sub %esi, %ecx
    call say_bytes
    mov 8(%ebp), %esi
    call say
    add $16, %ebp
#else
    mov 8(%ebp), %ecx
    call say_bytes
    mov 16(%ebp), %esi
    call say
    add $32, %ebp
#endif
    jmp each
done:
    mov %bl, %al
    out %al, $0xf4
fail:
    call say
    mov $127, %al
    out %al, $0xf4
    hlt

// The string at ESI, in brackets, on a line.
say:
    push %esi
    xor %ecx, %ecx
count:
    cmpb $0, (%esi, %ecx)
    je counted
    inc %ecx
    jmp count
counted:
    pop %esi
// ECX bytes at ESI.
say_bytes:
    mov $0x3f8, %dx
    mov $'[', %al
    out %al, %dx
    rep outsb
    mov $']', %al
    out %al, %dx
    mov $'\n', %al
    out %al, %dx
    ret

bad: .asciz "no such boot information"
