// SPDX-License-Identifier: GPL-2.0-only
#include "core/vcpu.hpp"
#include "core/arch.hpp"
#include "core/defaults.hpp"

namespace hwv {

Vcpu::Vcpu(Vm &vm_of, Memory &memory_of, std::uint32_t number, hwv_host_vcpu *host_of,
           hwv_run *page)
    : vm{vm_of},
      id{number},
      serial{vm_of.serial * HWV_MAX_VCPUS + number},
      host{host_of},
      run{page},
      apic{number, host_of},
      memory{memory_of} {
    hwv_host_lock_init(&stop_lock_);
    mp_state = number == 0 ? HWV_MP_RUNNING : HWV_MP_WAIT_SIPI;
    apic.set_features({.present = vm.has_apic()});
    msrs.set_tsc_ratio(vm.tsc_ratio());
    msrs.set_tsc_offset(
        0 - msrs.guest_tsc(
                vm.moment().tsc)); // the guest's TSC starts with the VM, the same on all vCPUs
    msrs.reset(defaults::msr_facts());
    apic.set_tsc(vm.tsc_khz(), msrs.tsc_offset(), vm.tsc_ratio());
    apic.reset();
}

// Either the vCPU sees the request before it enters, or it is seen in the guest here: both sides
// store first and look then.
void Vcpu::ask(std::uint32_t what) {
    requests_.fetch_or(what, std::memory_order_seq_cst);
    hwv_host_vcpu_wake(host);
    if (in_guest_.load(std::memory_order_seq_cst))
        hwv_host_cpu_kick(cpu.load(std::memory_order_relaxed));
}

// For what only waits in IRR a CPU that takes it from there is notified; when the guest has left it
// meanwhile, the next entry finds it. The arrival was a locked instruction, which orders it before
// the look.
void Vcpu::arrived() {
    if (apic.posts() && in_guest_.load(std::memory_order_seq_cst))
        hwv_host_cpu_post(cpu.load(std::memory_order_relaxed));
    else
        ask(request::event);
}

void Vcpu::flush_and_wait() { wait_out(request::flush); }

void Vcpu::ask_and_wait(std::uint32_t what) {
    wait_out(what);
    hwv_host_vcpu_wake(host);
}

void Vcpu::wait_out(std::uint32_t what) {
    requests_.fetch_or(what, std::memory_order_seq_cst);
    if (in_guest_.load(std::memory_order_seq_cst))
        hwv_host_cpu_kick_wait(cpu.load(std::memory_order_relaxed));
}

// A ring that its observer closes is gone once no CPU has been here with preemption off.
bool Vcpu::has_room() const {
    const PreemptGuard guard;
    return !recorder.full();
}

bool Vcpu::runnable() const {
    if (asked()) return true;
    if (wants_room) return has_room();
    const std::uint8_t state = mp_state.load(std::memory_order_relaxed);
    if (state == HWV_MP_HALTED) return apic.wakes(halted_takes_interrupts, halted_takes_nmis);
    return state == HWV_MP_RUNNING ||
           (apic.events() & (cpu::apic_event::init | cpu::apic_event::start_up));
}

Status Vcpu::interrupt(const hwv_interrupt &request) {
    using Mode = cpu::DeliveryMode;
    const auto vector = static_cast<std::uint8_t>(request.vector);
    if (request.vector > 0xff) return Error::invalid;
    switch (request.kind) {
    case HWV_INTERRUPT_EXTINT:
        if (!apic.offer_extint(vector)) return Error::exists;
        break;
    case HWV_INTERRUPT_EXTINT_CANCEL: (void)apic.cancel_extint(); return {};
    case HWV_INTERRUPT_NMI: (void)apic.accept({.mode = Mode::nmi}); break;
    case HWV_INTERRUPT_INIT: (void)apic.accept({.mode = Mode::init}); break;
    case HWV_INTERRUPT_SIPI: (void)apic.accept({.mode = Mode::start_up, .vector = vector}); break;
    default: return Error::invalid;
    }
    ask(request::event);
    return {};
}

void Vcpu::begin_stop(const hwv_stop &what, std::uint64_t observer) {
    const LockGuard guard{stop_lock_};
    stop_.begin(what, observer);
}

instrument::Verdict Vcpu::end_stop() {
    const LockGuard guard{stop_lock_};
    return stop_.end();
}

bool Vcpu::stopped(std::uint64_t observer, hwv_stop &what) {
    const LockGuard guard{stop_lock_};
    return stop_.get(observer, what);
}

Status Vcpu::go_on(std::uint64_t observer, const hwv_stop_reply &reply) {
    {
        const LockGuard guard{stop_lock_};
        instrument::Verdict verdict;
        if (!stop_.is(observer, reply.id)) return Error::stale;
        if (!instrument::verdict_of(reply, stop_.reason(), verdict)) return Error::invalid;
        stop_.reply(verdict);
    }
    hwv_host_vcpu_wake(host);
    return {};
}

void Vcpu::let_go(std::uint64_t observer) {
    {
        const LockGuard guard{stop_lock_};
        stop_.let_go(observer);
    }
    hwv_host_vcpu_wake(host);
}

// The vCPU believes its CPUID: which bits of CR4, EFER and XCR0 may be set follows from it, less
// what the host lacks.
Status Vcpu::set_cpuid(const hwv_cpuid_entry *entries, std::uint32_t count) {
    if (started) return Error::busy;
    TRY(cpuid.set(entries, count, id));
    adopt_cpuid();
    return {};
}

Status Vcpu::give_default_cpuid() {
    TRY(defaults::give_cpuid(cpuid, id));
    adopt_cpuid();
    return {};
}

void Vcpu::adopt_cpuid() {
    namespace feature = cpu::feature;
    const struct hwv_host_facts &facts = *hwv_host_facts();
    limits.cr4 = cpuid.cr4_allowed() & defaults::cr4();
    limits.xcr0 = cpuid.xcr0_allowed() & facts.xcr0_guest;
    limits.phys_bits = static_cast<std::uint8_t>(
        cpuid.phys_bits() < facts.phys_bits ? cpuid.phys_bits() : facts.phys_bits);
    limits.efer = (cpuid.has(feature::syscall) ? efer::sce : 0) |
                  (cpuid.has(feature::lm) ? efer::lme | efer::lma : 0) |
                  (cpuid.has(feature::nx) ? efer::nxe : 0) |
                  (cpuid.has(feature::fxsr_opt) ? efer::ffxsr : 0);
    apic.set_features({.present = vm.has_apic(),
                       .x2apic = cpuid.has(feature::x2apic),
                       .tsc_deadline = cpuid.has(feature::tsc_deadline),
                       .phys_bits = limits.phys_bits});
}

Status Vcpu::count() {
    if (!hwv_host_facts()->statistics) return {};
    auto *page = static_cast<hwv_vcpu_stats *>(hwv_host_shared_alloc(HWV_STATS_BYTES));
    if (!page) return Error::no_memory;
    statistics.use(page);
    return {};
}

std::uint64_t Vcpu::guest_tsc() const { return msrs.guest_tsc(arch::rdtsc()); }

} // namespace hwv
