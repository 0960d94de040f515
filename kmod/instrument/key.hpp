// SPDX-License-Identifier: GPL-2.0-only
// key.hpp - what an exit is about, in two words: its key, by which exits of one reason are told
// apart, and the datum beside it. Pure; as hwv_exit.h and hwv_trace.h define them.
#pragma once
#include <cstdint>
#include "core/exit.hpp"

namespace hwv::instrument {

using Registers = std::uint64_t[HWV_GPRS];

constexpr std::uint64_t low(std::uint64_t v) { return v & 0xffff'ffff; }
constexpr std::uint64_t leaf(const Registers &r) { return low(r[HWV_RAX]); }
constexpr std::uint64_t msr(const Registers &r) { return low(r[HWV_RCX]); }
constexpr std::uint64_t hypercall(const Registers &r) { return low(r[HWV_RAX]); }
constexpr std::uint64_t edx_eax(const Registers &r) { return r[HWV_RDX] << 32 | low(r[HWV_RAX]); }

// Reasons whose exits have a key.
constexpr bool has_key(ExitReason reason) {
    constexpr std::uint64_t mask =
        1ull << HWV_EXIT_IO | 1ull << HWV_EXIT_MSR_READ | 1ull << HWV_EXIT_MSR_WRITE |
        1ull << HWV_EXIT_CPUID | 1ull << HWV_EXIT_HYPERCALL | 1ull << HWV_EXIT_PAGE_FAULT |
        1ull << HWV_EXIT_EXCEPTION | 1ull << HWV_EXIT_CR_READ | 1ull << HWV_EXIT_CR_WRITE |
        1ull << HWV_EXIT_DR_ACCESS | 1ull << HWV_EXIT_INVLPG | 1ull << HWV_EXIT_TASK_SWITCH;
    return mask >> reason & 1;
}

constexpr std::uint64_t key_of(const Exit &exit, const Registers &r) {
    switch (exit.reason) {
    case HWV_EXIT_IO: return exit.io.port;
    case HWV_EXIT_PAGE_FAULT: return exit.fault.gpa & ~0xfffull;
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE: return msr(r);
    case HWV_EXIT_CPUID: return leaf(r);
    case HWV_EXIT_HYPERCALL: return hypercall(r);
    case HWV_EXIT_EXCEPTION: return exit.exception.vector;
    case HWV_EXIT_CR_READ:
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS: return exit.reg.number; // also where its operand is not decoded
    case HWV_EXIT_INVLPG: return exit.linear;
    case HWV_EXIT_TASK_SWITCH: return exit.task.selector;
    default: return 0;
    }
}

constexpr std::uint64_t fault_bits(const FaultAccess &f) {
    return f.write * unsigned{HWV_FAULT_WRITE} | f.fetch * unsigned{HWV_FAULT_FETCH} |
           f.present * unsigned{HWV_FAULT_PRESENT} | f.in_table_walk * unsigned{HWV_FAULT_WALK};
}

// As far as the exit tells before it is served; what is read, the handler adds.
constexpr std::uint64_t data_of(const Exit &exit, const Registers &r) {
    switch (exit.reason) {
    case HWV_EXIT_IO:
        return exit.io.write ? r[HWV_RAX] & (~0ull >> (64 - 8 * exit.io.size))
                             : std::uint64_t{exit.io.size} << 32;
    case HWV_EXIT_PAGE_FAULT: return fault_bits(exit.fault);
    case HWV_EXIT_MSR_WRITE: return edx_eax(r);
    case HWV_EXIT_CPUID: return low(r[HWV_RCX]);
    case HWV_EXIT_HYPERCALL: return r[HWV_RBX];
    case HWV_EXIT_EXCEPTION: return exit.exception.error_code;
    case HWV_EXIT_CR_WRITE:
    case HWV_EXIT_DR_ACCESS: return exit.reg.decoded && exit.reg.write ? r[exit.reg.gpr & 15] : 0;
    default: return 0;
    }
}

} // namespace hwv::instrument
