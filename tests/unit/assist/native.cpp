// SPDX-License-Identifier: GPL-2.0-only
#include "native.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <sys/mman.h>

#include "fixture.hpp"

extern "C" {
void hwv_test_native(assist_test::NativeState *state, const void *code);
extern const char hwv_test_native_return[];
}

// Swaps all general registers but RIP for those of the state, and back. RSP is the state's too
// while the instruction runs, so nothing here may use the stack between the two.
asm(R"(
    .text
    .globl hwv_test_native
hwv_test_native:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, hwv_test_stack(%rip)
    mov %rdi, hwv_test_state(%rip)
    mov %rsi, hwv_test_code(%rip)
    push 128(%rdi)
    popf
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
    mov 32(%rdi), %rsp
    mov 40(%rdi), %rbp
    mov 48(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov 56(%rdi), %rdi
    jmp *hwv_test_code(%rip)
    .globl hwv_test_native_return
hwv_test_native_return:
    mov %rdi, hwv_test_rdi(%rip)
    mov hwv_test_state(%rip), %rdi
    mov %rsp, 32(%rdi)
    mov hwv_test_stack(%rip), %rsp
    pushf
    pop 128(%rdi)
    cld
    mov %rax, 0(%rdi)
    mov %rcx, 8(%rdi)
    mov %rdx, 16(%rdi)
    mov %rbx, 24(%rdi)
    mov %rbp, 40(%rdi)
    mov %rsi, 48(%rdi)
    mov %r8, 64(%rdi)
    mov %r9, 72(%rdi)
    mov %r10, 80(%rdi)
    mov %r11, 88(%rdi)
    mov %r12, 96(%rdi)
    mov %r13, 104(%rdi)
    mov %r14, 112(%rdi)
    mov %r15, 120(%rdi)
    mov hwv_test_rdi(%rip), %rax
    mov %rax, 56(%rdi)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .local hwv_test_stack, hwv_test_state, hwv_test_code, hwv_test_rdi
    .comm hwv_test_stack, 8, 8
    .comm hwv_test_state, 8, 8
    .comm hwv_test_code, 8, 8
    .comm hwv_test_rdi, 8, 8
)");

namespace assist_test {
namespace {

void *map(void *where, std::size_t size, int protection) {
    const int fixed = where == nullptr ? 0 : MAP_FIXED_NOREPLACE;
    void *at = mmap(where, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("cannot map memory for native instructions");
    return at;
}

} // namespace

std::span<std::byte> native_window() {
    static void *const at = map(reinterpret_cast<void *>(FakeMemory::device),
                                FakeMemory::device_bytes, PROT_READ | PROT_WRITE);
    return {static_cast<std::byte *>(at), FakeMemory::device_bytes};
}

void run_native(NativeState &state, std::span<const std::byte> instruction) {
    static auto *const page =
        static_cast<std::byte *>(map(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    // jmp *0(%rip), with the address behind it
    constexpr std::array jump{std::byte{0xff}, std::byte{0x25}, std::byte{},
                              std::byte{},     std::byte{},     std::byte{}};
    auto *at = std::copy(instruction.begin(), instruction.end(), page);
    at = std::copy(jump.begin(), jump.end(), at);
    const void *back = hwv_test_native_return;
    std::memcpy(at, &back, sizeof back);
    hwv_test_native(&state, page);
}

} // namespace assist_test
