// SPDX-License-Identifier: GPL-2.0-only
#include "core/vm.hpp"
#include "core/arch.hpp"
#include "core/vcpu.hpp"
#include "cpu/ipi.hpp"
#include "cpu/nospec.hpp"

namespace hwv {

Vm::Vm(hwv_host_vm *host, const hwv_create_vm &request)
    : serial{next_serial()},
      host_{host},
      flags_{request.flags},
      tsc_khz_{request.tsc_khz ? request.tsc_khz : hwv_host_tsc_khz()},
      tsc_ratio_{cpu::tsc_ratio(tsc_khz_, hwv_host_tsc_khz())},
      moment_tsc_{arch::rdtsc()},
      moment_boot_ns_{hwv_host_boot_ns()},
      start_ns_{moment_boot_ns_} {
    hwv_host_lock_init(&traps_lock_);
}

Status Vm::add(Vcpu &vcpu, unsigned id) {
    if (id >= HWV_MAX_VCPUS) return Error::invalid;
    Vcpu *expected = nullptr;
    if (!vcpus_[id].compare_exchange_strong(expected, &vcpu, std::memory_order_acq_rel))
        return Error::exists;
    for (unsigned end = vcpu_end_.load();
         end < id + 1 && !vcpu_end_.compare_exchange_weak(end, id + 1);) {}
    const LockGuard guard{traps_lock_}; // set_traps() changes them first, and looks for vCPUs then
    if (traps_set_) vcpu.put_back(request::traps | request::instrument);
    return {};
}

void Vm::flush_translations() {
    each_vcpu([](Vcpu &v) { v.flush_and_wait(); });
}

// The local APICs of the VM, as messages find them.
struct Vm::Bus {
    Vm &vm;
    Vcpu *caller = nullptr; // of a hypercall
    unsigned size() const { return vm.vcpu_end_.load(std::memory_order_acquire); }
    cpu::LocalApic *apic(unsigned id) const { // below size(); guests choose it
        Vcpu *v = vm.vcpu(static_cast<unsigned>(cpu::nospec(id, HWV_MAX_VCPUS)));
        return v ? &v->apic : nullptr;
    }
    void notify(const cpu::LocalApic &apic) const {
        if (Vcpu *v = vm.vcpu(apic.id())) v->arrived();
    }
    std::atomic<std::uint32_t> &turn() const { return vm.turn_; }
    void yield_to(unsigned id) const { caller->wants_to_yield(id); }
};

unsigned Vm::deliver(const cpu::InterruptMessage &message, unsigned source) {
    Bus bus{*this};
    return cpu::deliver(bus, message, source);
}

cpu::HypercallAnswer Vm::hypercall(cpu::HypercallRequest call, Vcpu &from) {
    Bus bus{*this, &from};
    return cpu::serve_hypercall(bus, call);
}

// Whoever spins in PAUSE does not say for whom: the others have their turns.
void Vm::yield(Vcpu &from) {
    const unsigned wanted = from.yield_to, end = vcpu_end_.load(std::memory_order_acquire);
    const auto yielded = [&](unsigned id) {
        const Vcpu *v = vcpu(static_cast<unsigned>(cpu::nospec(id, HWV_MAX_VCPUS)));
        return v && v != &from && hwv_host_vcpu_yield_to(v->host);
    };
    if (wanted != Vcpu::anybody) {
        (void)yielded(wanted);
        return;
    }
    const unsigned last = favoured_.load(std::memory_order_relaxed);
    for (unsigned step = 1; step <= end; ++step) {
        const unsigned id = (last + step) % end;
        if (!yielded(id)) continue;
        favoured_.store(id, std::memory_order_relaxed);
        return;
    }
}

int Vm::msi(std::uint64_t address, std::uint32_t data) {
    cpu::InterruptMessage message;
    if (!has_apic() || !cpu::decode_msi(address, data, message)) return to_errno(Error::invalid);
    return static_cast<int>(deliver(message, cpu::no_source));
}

std::uint64_t Vm::next_serial() {
    static constinit std::atomic<std::uint64_t> serials{0};
    return serials.fetch_add(1, std::memory_order_relaxed) + 1;
}

Vm::Moment Vm::moment_here() const {
    hwv_host_preempt_disable();
    const Moment now{arch::rdtsc(), clock_ns()};
    hwv_host_preempt_enable();
    return now;
}

void Vm::set_traps(const Traps &traps) {
    {
        const LockGuard guard{traps_lock_};
        traps_ = traps;
        traps_set_ = true;
    }
    each_vcpu([](Vcpu &v) { v.ask_and_wait(request::traps | request::instrument); });
}

instrument::Policy *Vm::set_policy(unsigned slot, instrument::Policy *policy) {
    instrument::Policy *old = policies.set(slot, policy);
    set_observers_traps();
    return old;
}

void Vm::set_programs(const hwv_program_table *table, const Traps &traps) {
    programs_.store(table, std::memory_order_release);
    program_traps_ = traps;
    set_observers_traps();
}

void Vm::set_observers_traps() {
    Traps all = policies.traps();
    all.add(program_traps_);
    set_traps(all);
}

Traps Vm::traps() {
    const LockGuard guard{traps_lock_};
    return traps_;
}

void Vm::set_clock_ns(std::uint64_t ns) {
    start_ns_.store(hwv_host_boot_ns() - ns, std::memory_order_relaxed);
    each_vcpu([](Vcpu &v) { v.ask(request::clock); });
}

} // namespace hwv
