// SPDX-License-Identifier: GPL-2.0-only
// residency.hpp - which VM was the last of hwv's on each CPU: another one must not find its branch
// history there.
#pragma once
#include "core/backend.hpp"
#include "core/vcpu.hpp"

namespace hwv::residency {

Status init(); // process context, at module load
void exit();

extern std::uint64_t *last_vm; // by CPU: Vm::serial

// Preemption off, on `cpu`.
inline LoadContext arrive(Vcpu &vcpu, std::uint32_t cpu) {
    const LoadContext context{
        .cpu = cpu, .other_cpu = vcpu.last_cpu != cpu, .other_vm = last_vm[cpu] != vcpu.vm.serial};
    last_vm[cpu] = vcpu.vm.serial;
    vcpu.last_cpu = cpu;
    return context;
}

} // namespace hwv::residency
