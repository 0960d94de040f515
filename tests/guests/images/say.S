// SPDX-License-Identifier: GPL-2.0-only
// say.S - a guest of BITS bits that says where it is on COM1 and on the debug console, and exits with status 128 + BITS.
#if BITS == 16
    .code16
#elif BITS == 64
    .code64
#endif
    .text
    .globl _start
_start:
    cld
#if BITS == 64
    lea text(%rip), %rsi
#elif BITS == 16
    mov $text, %si
    push %cs
    pop %ds
#else
    mov $text, %esi
#endif
    call say            // the stack works
    mov $BITS, %al
    out %al, $0xf4
    hlt

say:
    lodsb
    test %al, %al
    jz done
    mov $0x3f8, %dx
    out %al, %dx
    out %al, $0xe9
    jmp say
done:
    ret

#if BITS == 16
text: .asciz "guest of 16 bits\n"
#elif BITS == 32
text: .asciz "guest of 32 bits\n"
#else
text: .asciz "guest of 64 bits\n"
#endif
