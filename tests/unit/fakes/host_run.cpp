// SPDX-License-Identifier: GPL-2.0-only
// host.h, the vCPU's thread: preemption, entries, sleep, time, eventfds. A call in the wrong
// context is a violation.
#include <cerrno>
#include "hardware.hpp"
#include "host.hpp"

using hwv::fake::hardware;
using hwv::fake::host;

extern "C" {

void hwv_host_preempt_disable(void) { ++host().preempt_off; }
void hwv_host_preempt_enable(void) {
    if (--host().preempt_off < 0) hardware().violation("preemption on twice");
    if (!host().preempt_off && host().irqs_off) hardware().violation("sleeps with irqs off");
}

void hwv_host_vcpu_may_sleep(struct hwv_host_vcpu *) { hwv_host_preempt_enable(); }

int hwv_host_entry_begin(struct hwv_host_vcpu *) {
    if (!host().preempt_off) hardware().violation("entry with preemption on");
    host().irqs_off = true;
    ++host().begun;
    if (!host().works) return 0;
    --host().works;
    return 1;
}
void hwv_host_entry_end(struct hwv_host_vcpu *) { host().irqs_off = false; }
void hwv_host_entry_end_by(struct hwv_host_vcpu *, __u32 vector) {
    host().served.push_back(vector);
    host().irqs_off = false;
}

int hwv_host_handle_work(void) {
    if (host().preempt_off) hardware().violation("work served with preemption off");
    ++host().work_served;
    if (host().on_work) host().on_work();
    return host().work_result;
}

void hwv_host_machine_check(void) {
    if (!host().irqs_off) hardware().violation("machine check served too late");
    ++host().machine_checks;
}

void hwv_host_program_run(struct hwv_host_program *program, struct hwv_program_context *context) {
    if (!host().preempt_off || host().irqs_off)
        hardware().violation("program in the wrong context");
    host().program(program, *context);
}

int hwv_host_vcpu_block(struct hwv_host_vcpu *) {
    if (host().preempt_off) hardware().violation("sleep with preemption off");
    return host().block ? host().block() : -EINTR;
}
int hwv_host_vcpu_yield_to(struct hwv_host_vcpu *vcpu) {
    if (host().preempt_off) hardware().violation("yield with preemption off");
    return host().yield_to ? host().yield_to(vcpu) : 0;
}
void hwv_host_vcpu_wake(struct hwv_host_vcpu *) { ++host().wakes; }
void hwv_host_vcpu_stop(struct hwv_host_vcpu *, __u64, __u32) {
    if (host().preempt_off) hardware().violation("sleep with preemption off");
    if (host().stopped) host().stopped();
}
int hwv_host_vcpu_pause(struct hwv_host_vcpu *) {
    if (host().preempt_off) hardware().violation("sleep with preemption off");
    return host().pause ? host().pause() : 0;
}
void hwv_host_observer_wake(struct hwv_host_observer *) { ++host().observer_wakes; }
void hwv_host_tell_triple_fault(struct hwv_host_vcpu *, __u32, __u64) { ++host().triple_faults; }
void hwv_host_tell_hit(struct hwv_host_vm *, const struct hwv_host_hit *hit) {
    host().hits.push_back(*hit);
}
void hwv_host_tell_drop(struct hwv_host_observer *, __u32) { ++host().drops; }
void hwv_host_cpu_kick_wait(__u32) { ++host().kicks_waited; }

__u64 hwv_host_boot_ns(void) { return hardware().tsc / 2; }
__u64 hwv_host_wall_ns(void) { return hardware().tsc / 2; }
__u32 hwv_host_tsc_khz(void) { return 2'000'000; }
int hwv_host_tsc_stable(void) { return host().tsc_stable; }
__u64 hwv_host_steal_ns(void) { return 0; }

int hwv_host_ioevent(struct hwv_host_vm *, int port, __u64 address, __u32 bytes, __u64 data) {
    return host().ioevent ? host().ioevent(port, address, bytes, data) : 0;
}
void hwv_host_resample(struct hwv_host_vm *, __u8 vector) { host().resampled.push_back(vector); }

} // extern "C"
