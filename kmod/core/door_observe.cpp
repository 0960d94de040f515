// SPDX-License-Identifier: GPL-2.0-only
// door_observe.cpp - door 2, what observers ask for.
#include "core.h"
#include "core/vendor.hpp"

using namespace hwv;
using instrument::Policy;
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

__u32 hwv_core_vcpu_mp_state(hwv_core_vcpu *vcpu) { return vcpu_of(vcpu).mp_state.load(); }

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

int hwv_core_ring_create(void *shared, hwv_host_observer *observer, __u64 age,
                         const hwv_ring_open *request, hwv_core_ring **out) {
    if (!Ring::valid(*request)) return to_errno(Error::invalid);
    Ring *ring = host_new<Ring>(static_cast<hwv_ring *>(shared), observer, age, *request);
    *out = ring;
    return ring ? 0 : to_errno(Error::no_memory);
}

void hwv_core_ring_destroy(hwv_core_ring *ring) { host_delete(static_cast<Ring *>(ring)); }

void hwv_core_vcpu_set_ring(hwv_core_vcpu *vcpu, __u32 slot, hwv_core_ring *ring) {
    vcpu_of(vcpu).recorder.set(slot, static_cast<Ring *>(ring));
    vcpu_of(vcpu).ask(request::instrument);
}

// ---- rules ----

int hwv_core_policy_create(const hwv_policy *request, const hwv_rule *rules, __u64 age,
                           hwv_core_policy **out, __u32 *bad_rule, __u32 *bad_field) {
    if (request->count > HWV_MAX_RULES) return to_errno(Error::too_big);
    Policy *policy = host_new<Policy>(age, request->stop_timeout_ms);
    if (!policy) return to_errno(Error::no_memory);
    instrument::RuleFault fault;
    if (policy->set(rules, request->count, chosen_vendor().trappable(), fault)) {
        *out = policy;
        return 0;
    }
    host_delete(policy);
    *bad_rule = fault.rule;
    *bad_field = fault.field;
    return to_errno(fault.unsupported ? Error::not_supported : Error::invalid);
}

void hwv_core_policy_destroy(hwv_core_policy *policy) {
    if (policy) host_delete(static_cast<Policy *>(policy));
}

__u32 hwv_core_policy_read(const hwv_core_policy *policy, hwv_rule *rules,
                           hwv_rule_counts *counts) {
    const Policy &p = *static_cast<const Policy *>(policy);
    for (unsigned i = 0; i < p.count(); ++i) {
        rules[i] = p.rule(i);
        counts[i] = p.counts(i);
    }
    return p.count();
}

hwv_core_policy *hwv_core_vm_set_policy(hwv_core_vm *vm, __u32 slot, hwv_core_policy *policy) {
    return vm_of(vm).set_policy(slot, static_cast<Policy *>(policy));
}

// ---- exit programs ----

int hwv_core_can_make(__u64 reasons) {
    Traps traps;
    if (!reasons || reasons & 1ull << HWV_EXIT_NONE || reasons >> HWV_EXIT_CPU_REASONS)
        return to_errno(Error::invalid);
    return instrument::traps_for(reasons, chosen_vendor().trappable(), traps)
               ? 0
               : to_errno(Error::not_supported);
}

void hwv_core_vm_set_programs(hwv_core_vm *vm, const hwv_program_table *table) {
    std::uint64_t reasons = 0;
    for (unsigned i = 0; table && i < table->count; ++i)
        reasons |= table->entries[i].reasons;
    Traps traps;
    (void)instrument::traps_for(reasons, chosen_vendor().trappable(), traps);
    vm_of(vm).set_programs(table, traps);
}

// ---- stops ----

int hwv_core_vcpu_stop_ends(hwv_core_vcpu *vcpu) { return vcpu_of(vcpu).stop_ends(); }

int hwv_core_vcpu_stopped(hwv_core_vcpu *vcpu, __u64 age, hwv_stop *out) {
    return vcpu_of(vcpu).stopped(age, *out);
}

int hwv_core_vcpu_go_on(hwv_core_vcpu *vcpu, __u64 age, const hwv_stop_reply *reply) {
    return to_errno(vcpu_of(vcpu).go_on(age, *reply));
}

void hwv_core_vcpu_let_go(hwv_core_vcpu *vcpu, __u64 age) { vcpu_of(vcpu).let_go(age); }

} // extern "C"
