// SPDX-License-Identifier: GPL-2.0-only
// timer.cpp - the local APIC's timer (Intel SDM volume 3, "APIC Timer").
#include "conformance/apic_case.hpp"

namespace conformance {
namespace {

// ---- timer: a count is a nanosecond, where the divide configuration is 1 ----

#define DIVIDE_BY_1 "movl $0xb, 0x3e0(%rbx)\n"

GUEST64(one_shot, ENABLE DIVIDE_BY_1 "movl $0x41, 0x320(%rbx)\n movl $200000, 0x380(%rbx)\n"
                                     "sti\nhlt\ncli\n mov 0x390(%rbx), %eax\n mov %eax, (%rsi)\n"
                                     "mov 0x380(%rbx), %eax\n mov %eax, 4(%rsi)")
GUEST64(masked, ENABLE DIVIDE_BY_1 "movl $0x10041, 0x320(%rbx)\n movl $1000, 0x380(%rbx)\n"
                                   "1: mov 0x390(%rbx), %eax\n test %eax, %eax\n jnz 1b\n" WINDOW
                                   "mov 0x220(%rbx), %eax\n mov %eax, (%rsi)")
GUEST64(stopped, ENABLE DIVIDE_BY_1 "movl $0x41, 0x320(%rbx)\n movl $-1, 0x380(%rbx)\n"
                                    "movl $0, 0x380(%rbx)\n mov 0x390(%rbx), %eax\n"
                                    "mov %eax, (%rsi)\n" WINDOW)
// The handler counts in RDI; at the fifth tick the guest stops the timer, with interrupts off.
GUEST64(periodic, ENABLE DIVIDE_BY_1
        "movl $0x20041, 0x320(%rbx)\n movl $3000000, 0x380(%rbx)\n lea 5(%rdi), %rcx\n"
        "1: sti\nhlt\ncli\n cmp %rcx, %rdi\n jb 1b\n movl $0x10041, 0x320(%rbx)\n"
        "mov 0x380(%rbx), %eax\n mov %eax, (%rsi)")
// The divide configuration has three bits. 50000 counts of 128 ns last longer than half a
// million cycles, unless the CPU is slower than 80 MHz.
GUEST64(divide,
        ENABLE "movl $0xffffffff, 0x3e0(%rbx)\n mov 0x3e0(%rbx), %eax\n mov %eax, (%rsi)\n"
               "movl $0xa, 0x3e0(%rbx)\n mov 0x3e0(%rbx), %eax\n mov %eax, 4(%rsi)\n"
               "movl $0x41, 0x320(%rbx)\n rdtsc\n shl $32, %rdx\n or %rax, %rdx\n"
               "mov %rdx, %r8\n movl $50000, 0x380(%rbx)\n xor %eax, %eax\n sti\nhlt\ncli\n rdtsc\n"
               "shl $32, %rdx\n or %rax, %rdx\n sub %r8, %rdx\n xor %eax, %eax\n"
               "cmp $500000, %rdx\n seta %al\n mov %eax, 8(%rsi)\n"
               "xor %edx, %edx\n xor %r8d, %r8d")
GUEST64(deadline, ENABLE "movl $0x40041, 0x320(%rbx)\n mfence\n rdtsc\n shl $32, %rdx\n"
                         "or %rdx, %rax\n add $3000000, %rax\n mov %rax, %rdx\n shr $32, %rdx\n"
                         "mov $0x6e0, %ecx\n wrmsr\n sti\nhlt\ncli\n rdmsr\n or %edx, %eax\n"
                         "mov %eax, (%rsi)\n mov 0x390(%rbx), %eax\n mov %eax, 4(%rsi)")
// The same in a guest that does not wait, but runs on until its handler has been there. Where in
// the loop it was interrupted (RIP, RFLAGS on the stack) is nobody's to say: it forgets that.
#define RUN_UNTIL(handled)                                                                         \
    "lea " #handled "(%rdi), %rcx\n sti\n1: cmp %rcx, %rdi\n jb 1b\n cli\n"                        \
    "movq $0, -40(%rsp)\n movq $0, -24(%rsp)\n"
GUEST64(one_shot_running,
        ENABLE DIVIDE_BY_1 "movl $0x41, 0x320(%rbx)\n movl $200000, 0x380(%rbx)\n" RUN_UNTIL(
            1) "mov 0x390(%rbx), %eax\n mov %eax, (%rsi)")
GUEST64(periodic_running,
        ENABLE DIVIDE_BY_1 "movl $0x20041, 0x320(%rbx)\n movl $3000000, 0x380(%rbx)\n" RUN_UNTIL(
            5) "movl $0x10041, 0x320(%rbx)\n")
GUEST64(deadline_running,
        ENABLE "movl $0x40041, 0x320(%rbx)\n mfence\n rdtsc\n shl $32, %rdx\n"
               "or %rdx, %rax\n add $300000, %rax\n mov %rax, %r8\n"
               "mov %rax, %rdx\n shr $32, %rdx\n mov $0x6e0, %ecx\n wrmsr\n" RUN_UNTIL(
                   1) "rdtsc\n shl $32, %rdx\n or %rdx, %rax\n sub %r8, %rax\n sar $63, %rax\n"
                      "mov %eax, (%rsi)\n xor %r8d, %r8d\n xor %eax, %eax\n xor %edx, %edx")
GUEST64(deadline_off, ENABLE "movl $0x41, 0x320(%rbx)\n mov $0x6e0, %ecx\n mov $1, %eax\n"
                             "xor %edx, %edx\n wrmsr\n rdmsr\n mov %eax, (%rsi)\n" WINDOW)

const Topic timer{
    "apic/timer", [] {
        const char *no_deadline = "KVM has it only for a user that asks";
        add_test({"timer-one-shot", one_shot, {0x41}, {0, 200000}});
        add_test({"timer-masked", masked, {}, {0}});
        add_test({"timer-stopped-by-zero", stopped, {}, {0}});
        add_test({"timer-periodic", periodic, {0x41, 0x41, 0x41, 0x41, 0x41}, {3000000}});
        add_test({"timer-one-shot-running", one_shot_running, {0x41}, {0}});
        add_test({"timer-periodic-running", periodic_running, {0x41, 0x41, 0x41, 0x41, 0x41}});
        add_test({"timer-divide", divide, {0x41}, {0xb, 0xa, 1}});
        add_test({.name = "tsc-deadline",
                  .text = deadline,
                  .log = {0x41},
                  .words = {0, 0},
                  .kvm_differs = no_deadline});
        add_test({.name = "tsc-deadline-running",
                  .text = deadline_running,
                  .log = {0x41},
                  .words = {0}, // not early
                  .kvm_differs = no_deadline});
        add_test({.name = "tsc-deadline-in-other-mode",
                  .text = deadline_off,
                  .words = {0},
                  .kvm_differs = no_deadline});
    }};

} // namespace
} // namespace conformance
