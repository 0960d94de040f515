// SPDX-License-Identifier: GPL-2.0-only
// end.S - 64-bit guests that end, or do not, in the way that is asked for.
    .text
    .globl _start
_start:
#if defined(TRIPLE)
    mov $0x1234567, %rbx
    ud2                     // there is no IDT
#elif defined(SPIN)
    sti                     // Bochs lets no host interrupt end a guest that is entered with IF clear
    jmp _start
#elif defined(HALT)
    cli
    hlt
    jmp _start
#elif defined(PANIC)
    mov $0x505, %dx
    mov $1, %al
    out %al, %dx
#elif defined(RESET)
    mov $0xcf9, %dx
    mov $0x0e, %al
    out %al, %dx
#elif defined(KEYBOARD_RESET)
    mov $0xfe, %al
    out %al, $0x64
#elif defined(POWEROFF)
    mov $0x604, %dx         // PM1a control: SLP_TYP of S5, SLP_EN
    mov $0x2000, %ax
    out %ax, %dx
#elif defined(ECHO)
    // What comes in on COM1 goes out again, a line feed behind a '!'; 'q' powers off with status 128 + 7.
wait:
    mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz wait
    mov $0x3f8, %dx
    in %dx, %al
    cmp $'q', %al
    je quit
    out %al, %dx
    cmp $'!', %al
    jne wait
    mov $'\n', %al
    out %al, %dx
    jmp wait
quit:
    mov $7, %al
    out %al, $0xf4
#elif defined(EXITS)
    // Exactly EXITS CPUIDs of leaf 1 and twice as many OUTs to port 0x80, says so, and waits for somebody from outside to
    // change R15: that is its exit status. Loops in the open until then.
    mov $0x1122334455667788, %r12
    xor %r15, %r15
    mov $EXITS, %esi
leaf:
    mov $1, %eax
    cpuid
    out %al, $0x80
    out %al, $0x80
    dec %esi
    jnz leaf
    mov $0x3f8, %dx
    mov $'R', %al
    out %al, %dx
    sti                     // as under SPIN
rest:
    test %r15, %r15
    jz rest
    mov %r15, %rax
    out %al, $0xf4
text:
    .ascii "a text to be found"
#elif defined(ASK)
    // Asks CPUID leaf 0x40000000 until EBX is ASK: then EAX is its exit status. Says first that it does.
    mov $0x3f8, %dx
    mov $'R', %al
    out %al, %dx
    sti
ask:
    mov $0x40000000, %eax
    cpuid
    cmp $ASK, %ebx
    jne ask
    out %al, $0xf4
#elif defined(TOUCH)
    // Writes to each page from 16 MiB up to RDI = TOUCH MiB; then says so and halts.
    mov $0x1000000, %rdi
touch:
    mov %rdi, (%rdi)
    add $4096, %rdi
    cmp $(TOUCH << 20), %rdi
    jb touch
    mov $0x3f8, %dx
    mov $'T', %al
    out %al, %dx
    mov $'\n', %al
    out %al, %dx
    cli
    hlt
#endif
    hlt
    jmp _start
