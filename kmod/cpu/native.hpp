// SPDX-License-Identifier: GPL-2.0-only
// native.hpp - what cpu/ asks of the machine itself. Everything else comes through host.h. Unit
// tests link their own.
#pragma once
#include <cstdint>

struct hwv_host_vcpu;

namespace hwv::cpu::native {

// The host's time stamp counter.
std::uint64_t tsc();

// Nanoseconds on the monotonic clock that the one-shot timer below counts in.
std::uint64_t now_ns();

// The vCPU's one-shot timer: (re)starts it `ns` from now; stops it and waits for a callback under
// way. Owner's thread, irqs on.
void timer_start(hwv_host_vcpu *host, std::uint64_t ns);
void timer_cancel(hwv_host_vcpu *host);

// CPUID of the CPU that runs this: EAX, EBX, ECX, EDX.
void cpuid(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t (&out)[4]);

} // namespace hwv::cpu::native
