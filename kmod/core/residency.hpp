// SPDX-License-Identifier: GPL-2.0-only
// residency.hpp - which vCPU was the last of hwv's on each CPU: another one must not find its
// branch predictions there.
#pragma once
#include "core/backend.hpp"
#include "core/vcpu.hpp"

namespace hwv::residency {

Status init(); // process context, at module load
void exit();

extern std::uint64_t *last_vcpu; // by CPU: Vm::serial and the vCPU's id

// Preemption off, on `cpu`.
inline LoadContext arrive(Vcpu &vcpu, std::uint32_t cpu) {
    const std::uint64_t self = vcpu.vm.serial * HWV_MAX_VCPUS + vcpu.id;
    const LoadContext context{
        .cpu = cpu, .other_cpu = vcpu.last_cpu != cpu, .other_vcpu = last_vcpu[cpu] != self};
    last_vcpu[cpu] = self;
    vcpu.last_cpu = cpu;
    return context;
}

} // namespace hwv::residency
