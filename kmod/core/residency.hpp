// SPDX-License-Identifier: GPL-2.0-only
// residency.hpp - which vCPU was the last of hwv's on each CPU: another one must not find its
// branch predictions there.
#pragma once
#include "core/backend.hpp"
#include "core/vcpu.hpp"

namespace hwv::residency {

Status init(); // process context, at module load
void exit();

extern std::uint64_t *last_vcpu; // by CPU: Vcpu::serial

// Preemption off, on `cpu`.
inline LoadContext arrive(Vcpu &vcpu, std::uint32_t cpu) {
    const LoadContext context{.cpu = cpu,
                              .other_cpu = vcpu.cpu.load(std::memory_order_relaxed) != cpu,
                              .other_vcpu = last_vcpu[cpu] != vcpu.serial};
    last_vcpu[cpu] = vcpu.serial;
    vcpu.cpu.store(cpu, std::memory_order_relaxed);
    return context;
}

} // namespace hwv::residency
