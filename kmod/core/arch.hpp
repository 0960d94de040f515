// SPDX-License-Identifier: GPL-2.0-only
// arch.hpp - the x86 instructions that C++ has no word for, one line each, the same on Intel and
// AMD. Unit tests put a machine of their own behind the same names
// (tests/unit/fakes/core/arch.hpp).
#pragma once
#include <cstdint>
#include <optional>
#include "gen/hwv_kernel_asm.h"
#include "gen/hwv_offsets.h"
#include "host.h"

// The kernel's noinstr, spelled out for C++: around the guest nothing may be instrumented, because
// RCU does not watch and, in the world switch, GS is the guest's.
#define HWV_NOINSTR                                                                                \
    [[gnu::section(".noinstr.text"), gnu::noinline, gnu::no_instrument_function,                   \
      gnu::no_stack_protector]]

namespace hwv::arch {

struct CpuidLeaf {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

inline CpuidLeaf cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    CpuidLeaf r;
    asm volatile("cpuid"
                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                 : "a"(leaf), "c"(subleaf));
    return r;
}

[[gnu::always_inline]] inline std::uint64_t rdtsc() {
    std::uint64_t low, high; // their upper halves are zero
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return high << 32 | low;
}

[[gnu::always_inline]] inline std::uint64_t rdmsr(std::uint32_t index) {
    std::uint64_t low, high; // their upper halves are zero
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return high << 32 | low;
}

[[gnu::always_inline]] inline void wrmsr(std::uint32_t index, std::uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(index), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

// Where the MSR may not exist: nullopt, false.
inline std::optional<std::uint64_t> rdmsr_safe(std::uint32_t index) {
    std::uint32_t low, high;
    asm goto("1: rdmsr\n" HWV_EXTABLE_1B_FAULT : "=a"(low), "=d"(high) : "c"(index) : : fault);
    return static_cast<std::uint64_t>(high) << 32 | low;
fault:
    return std::nullopt;
}

inline bool wrmsr_safe(std::uint32_t index, std::uint64_t value) {
    asm goto("1: wrmsr\n" HWV_EXTABLE_1B_FAULT
             :
             : "c"(index), "a"(static_cast<std::uint32_t>(value)),
               "d"(static_cast<std::uint32_t>(value >> 32))
             : "memory"
             : fault);
    return true;
fault:
    return false;
}

[[gnu::always_inline]] inline void xsetbv(std::uint32_t index, std::uint64_t value) {
    asm volatile("xsetbv"
                 :
                 : "c"(index), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

// The same object; what the compiler worked out about its parts, it works out anew. In a loop that
// is seldom gone round it would keep their addresses in memory rather than add an offset.
template <typename T>
[[gnu::always_inline]] inline T &forgotten(T &object) {
    T *p = &object;
    asm volatile("" : "+r"(p));
    return *p;
}

// A static branch of the kernel's (static_key_false()): a NOP until the key at this address is
// switched on, which the kernel does by patching a jump in.
[[gnu::always_inline]] inline bool static_branch(const char *key) {
    asm goto(HWV_STATIC_BRANCH_ASM : : "i"(key), "i"(HWV_STATIC_BRANCH_BIAS) : : l_yes);
    return false;
l_yes:
    return true;
}

// All loads before it are done before anything after it begins.
[[gnu::always_inline]] inline void load_fence() { asm volatile("lfence" : : : "memory"); }

// Where the kernel follows what interrupts do, it is told.
[[gnu::always_inline]] inline void irq_disable() {
    if constexpr (HWV_TRACE_IRQFLAGS)
        hwv_host_irq_disable();
    else
        asm volatile("cli" : : : "memory");
}

// The selector of the local descriptor table.
[[gnu::always_inline]] inline std::uint32_t sldt() {
    std::uint32_t selector;
    asm volatile("sldt %0" : "=r"(selector));
    return selector;
}

template <unsigned N>
[[gnu::always_inline]] inline std::uint64_t read_dr() {
    static_assert(N <= 3 || N == 6 || N == 7);
    std::uint64_t value;
    asm volatile("mov %%db%c1, %0" : "=r"(value) : "i"(N));
    return value;
}

template <unsigned N>
[[gnu::always_inline]] inline void write_dr(std::uint64_t value) {
    static_assert(N <= 3 || N == 6 || N == 7);
    asm volatile("mov %0, %%db%c1" : : "r"(value), "i"(N) : "memory");
}

} // namespace hwv::arch
