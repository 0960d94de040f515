// SPDX-License-Identifier: GPL-2.0-only
// native.cpp - the machine behind native.hpp in the module.
#include "cpu/native.hpp"
#include "host.h"

namespace hwv::cpu::native {

std::uint64_t tsc() {
    std::uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return static_cast<std::uint64_t>(high) << 32 | low;
}

std::uint64_t now_ns() { return hwv_host_boot_ns(); }

void timer_start(hwv_host_vcpu *host, std::uint64_t ns) { hwv_host_timer_start(host, ns); }

void timer_cancel(hwv_host_vcpu *host) { hwv_host_timer_cancel(host); }

void cpuid(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t (&out)[4]) {
    asm volatile("cpuid"
                 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                 : "a"(leaf), "c"(subleaf));
}

} // namespace hwv::cpu::native
