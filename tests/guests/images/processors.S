# SPDX-License-Identifier: GPL-2.0-only
# Real mode, at 0x8000: the boot processor starts the next one by INIT and SIPI, and halts for good with
# interrupts off. What the other one does: FAULT, a triple fault; EXIT, ends the guest with 5 at the debug-exit port; SPIN, nothing.
        .code16
        .globl  _start
_start:
        cli
        mov     $0x1b, %ecx             # IA32_APIC_BASE
        rdmsr
        or      $0xc00, %eax            # x2APIC mode
        wrmsr
        mov     $0x830, %ecx            # ICR
        mov     $1, %edx
        mov     $0x4500, %eax           # INIT
        wrmsr
        mov     $1, %edx
        mov     $0x4609, %eax           # start-up at 0x9000
        wrmsr
1:      hlt
        jmp     1b

        .org    0x1000
#if defined(FAULT)
        lidtl   nowhere
        int3
nowhere:
        .word   0
        .long   0
#elif defined(SPIN)
        sti
1:      jmp     1b
#else
        mov     $5, %al
        out     %al, $0xf4
#endif
2:      hlt
        jmp     2b
