// SPDX-License-Identifier: GPL-2.0-only
#include "core/residency.hpp"

namespace hwv::residency {
namespace {
std::uint64_t *last_vm; // by CPU: Vm::serial
}

Status init() {
    last_vm =
        static_cast<std::uint64_t *>(hwv_host_alloc(hwv_host_cpu_count() * sizeof(std::uint64_t)));
    return last_vm ? Status{} : Status{Error::no_memory};
}

void exit() {
    hwv_host_free(last_vm);
    last_vm = nullptr;
}

LoadContext arrive(Vcpu &vcpu, std::uint32_t cpu) {
    const LoadContext context{
        .cpu = cpu, .other_cpu = vcpu.last_cpu != cpu, .other_vm = last_vm[cpu] != vcpu.vm.serial};
    last_vm[cpu] = vcpu.vm.serial;
    vcpu.last_cpu = cpu;
    return context;
}

} // namespace hwv::residency
