// SPDX-License-Identifier: GPL-2.0-only
// door_observe.cpp - door 2, what observers ask for.
#include "core.h"
#include "core/vendor.hpp"

using namespace hwv;
using instrument::Ring;

namespace {
Vm &vm_of(hwv_core_vm *vm) { return *static_cast<Vm *>(vm); }
Vcpu &vcpu_of(hwv_core_vcpu *vcpu) { return *static_cast<Vcpu *>(vcpu); }
} // namespace

extern "C" {

__u64 hwv_core_vm_serial(hwv_core_vm *vm) { return vm_of(vm).serial; }

void hwv_core_vcpu_pause(hwv_core_vcpu *vcpu) { vcpu_of(vcpu).ask(request::pause); }

int hwv_core_vcpu_asked(hwv_core_vcpu *vcpu) { return vcpu_of(vcpu).asked(~request::pause); }

void hwv_core_vcpu_kill(hwv_core_vcpu *vcpu) { vcpu_of(vcpu).ask(request::kill); }

int hwv_core_vcpu_registers(hwv_core_vcpu *vcpu, hwv_regs *regs, __u32 groups, int set) {
    if (groups & ~HWV_REGS_ALL) return to_errno(Error::invalid);
    return to_errno(chosen_vendor().registers(vcpu_of(vcpu), *regs, groups, set != 0));
}

int hwv_core_vm_find_memory(hwv_core_vm *vm, __u64 gpa, __u64 *hva, __u64 *bytes) {
    std::uint64_t at = 0, length = 0;
    const Status s = chosen_vendor().find_memory(vm_of(vm), gpa, at, length);
    *hva = at;
    *bytes = length;
    return to_errno(s);
}

int hwv_core_ring_create(void *shared, hwv_host_observer *observer, const hwv_ring_open *request,
                         hwv_core_ring **out) {
    if (!Ring::valid(*request)) return to_errno(Error::invalid);
    Ring *ring = host_new<Ring>(static_cast<hwv_ring *>(shared), observer, *request);
    *out = ring;
    return ring ? 0 : to_errno(Error::no_memory);
}

void hwv_core_ring_destroy(hwv_core_ring *ring) { host_delete(static_cast<Ring *>(ring)); }

void hwv_core_vcpu_set_ring(hwv_core_vcpu *vcpu, __u32 slot, hwv_core_ring *ring) {
    vcpu_of(vcpu).recorder.set(slot, static_cast<Ring *>(ring));
    vcpu_of(vcpu).ask(request::instrument);
}

} // extern "C"
