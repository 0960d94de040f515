// SPDX-License-Identifier: GPL-2.0-only
// msr_access.hpp - one MSR, read or written by the guest or by the user: the generic ones in cpu/,
// the rest by the backend.
#pragma once
#include "core/vcpu_of.hpp"

namespace hwv {

template <Backend B>
cpu::MsrResult VcpuOf<B>::read_msr(std::uint32_t index, std::uint64_t &value, bool by_host) {
    const cpu::MsrResult r = msrs.read(index, value, msr_context(index, by_host));
    if (r != cpu::MsrResult::backend) return r;
    if (index == cpu::msr::efer) {
        value = backend.efer();
        return cpu::MsrResult::done;
    }
    const std::optional<std::uint64_t> mine = backend.msr(index);
    if (!mine) return r;
    value = *mine;
    return cpu::MsrResult::done;
}

template <Backend B>
cpu::MsrResult VcpuOf<B>::write_msr(std::uint32_t index, std::uint64_t value, bool by_host) {
    const cpu::MsrRule rule = cpu::check_switched(index, value);
    if (rule == cpu::MsrRule::fault) return cpu::MsrResult::fault;
    if (rule == cpu::MsrRule::valid && backend.set_msr(index, value)) return cpu::MsrResult::done;
    cpu::MsrEffect asked{};
    const cpu::MsrResult r = msrs.write(index, value, msr_context(index, by_host), asked);
    if (r == cpu::MsrResult::done) apply_msr_effect(asked);
    if (r != cpu::MsrResult::backend) return r;
    if (index == cpu::msr::efer) {
        backend.set_efer(value);
        backend.flush_translations(); // NXE changes what the tables mean
        return cpu::MsrResult::done;
    }
    return backend.set_msr(index, value) ? cpu::MsrResult::done : r;
}

template <Backend B>
void VcpuOf<B>::apply_msr_effect(const cpu::MsrEffect &asked) {
    using Kind = cpu::MsrEffect::Kind;
    switch (asked.kind) {
    case Kind::apic: effect = asked.apic; return;
    case Kind::tsc:
        backend.set_tsc_offset(msrs.tsc_offset());
        apic.set_tsc(vm.tsc_khz(), msrs.tsc_offset(), vm.tsc_ratio());
        put_back(request::clock);
        return;
    case Kind::system_time: put_back(request::clock); return;
    case Kind::wall_clock: put_back(request::wall_clock); return;
    case Kind::steal_time: put_back(request::steal); return;
    case Kind::pv_eoi:
    case Kind::none: return;
    }
}

// An EOI may have to be told: to the resample eventfds, and to the user where he asked for that
// vector.
template <Backend B>
Outcome VcpuOf<B>::after_apic_write(const Exit &exit) {
    using Kind = cpu::ApicEffect::Kind;
    const cpu::ApicEffect done = effect;
    effect = {};
    if (done.kind == Kind::ipi) (void)vm.deliver(done.message, id);
    if (done.kind != Kind::eoi || !done.level) return Outcome::resume_next;
    hwv_host_resample(vm.host(), done.vector);
    if (!vm.eoi_exits(done.vector)) return Outcome::resume_next;
    leave(HWV_EXIT_EOI, exit).eoi_vector = done.vector;
    return Outcome::to_user_next;
}

template <Backend B>
void VcpuOf<B>::set_tpr(std::uint8_t tpr) {
    backend.set_tpr(tpr);
    apic.set_cr8(tpr);
    check_events = true;
}

template <Backend B>
Status VcpuOf<B>::host_msr(hwv_msr_entry &entry, bool set) {
    PreemptGuard guard;
    if (!backend.reachable()) return Error::no_device;
    std::uint64_t value = entry.value;
    const cpu::MsrResult r =
        set ? write_msr(entry.index, value, true) : read_msr(entry.index, value, true);
    effect = {};
    entry.value = value;
    return r == cpu::MsrResult::done ? Status{} : Status{Error::invalid};
}

template <Backend B>
Status VcpuOf<B>::host_apic_register(hwv_apic_reg &request) {
    if (!vm.has_apic()) return Error::invalid;
    PreemptGuard guard;
    if (!backend.reachable()) return Error::no_device; // a task priority may reach the backend
    if (!(request.flags & HWV_APIC_REG_SET)) {
        request.value = apic.read(request.offset);
        return {};
    }
    effect = apic.write(request.offset, request.value);
    if (effect.kind == cpu::ApicEffect::Kind::ipi) (void)vm.deliver(effect.message, id);
    if (effect.kind == cpu::ApicEffect::Kind::eoi && effect.level)
        hwv_host_resample(vm.host(), effect.vector);
    effect = {};
    sync_tpr();
    check_events = true;
    return {};
}

} // namespace hwv
