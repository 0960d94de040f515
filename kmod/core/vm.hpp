// SPDX-License-Identifier: GPL-2.0-only
// vm.hpp - one virtual machine: memory, vCPUs, clock. What depends on the vendor's table format is
// in VmOf.
#pragma once
#include <atomic>
#include "core/memory.hpp"
#include "core/paged_memory.hpp"
#include "core/traps.hpp"
#include "cpu/hypercall.hpp"
#include "cpu/ipi.hpp"
#include "cpu/tsc.hpp"
#include "hwv.h"
#include "instrument/policies.hpp"

struct hwv_core_vm {};    // the C door's name of hwv::Vm
struct hwv_program_table; // core.h
struct hwv_program_slot;

namespace hwv {

class Vcpu;

class Vm : public hwv_core_vm {
  public:
    Vm(hwv_host_vm *host, const hwv_create_vm &request);
    Vm(const Vm &) = delete;
    Vm &operator=(const Vm &) = delete;

    const std::uint64_t serial; // tells VMs apart for ever; 0 is none

    hwv_host_vm *host() const { return host_; }
    bool has(std::uint64_t flag) const { return flags_ & flag; }
    bool has_apic() const { return !has(HWV_VM_NO_APIC); }

    Vcpu *vcpu(unsigned id) const { return vcpus_[id].load(std::memory_order_acquire); }
    Status add(Vcpu &vcpu, unsigned id);
    void remove(unsigned id) { vcpus_[id].store(nullptr, std::memory_order_release); }
    template <typename Visit>
    void each_vcpu(Visit visit) const {
        const unsigned end = vcpu_end_.load(std::memory_order_acquire);
        for (unsigned i = 0; i < end; ++i)
            if (Vcpu *v = vcpu(i)) visit(*v);
    }

    // Process or atomic context, irqs on. Returns when no CPU uses an old translation of this VM
    // any more.
    void flush_translations();

    // Message-signalled interrupt; any context. vCPUs that accepted, or -EINVAL.
    int msi(std::uint64_t address, std::uint32_t data);
    // From the vCPU `source`'s ICR, or from outside (cpu::no_source). vCPUs that accepted.
    unsigned deliver(const cpu::InterruptMessage &message, unsigned source);
    cpu::HypercallAnswer hypercall(cpu::HypercallRequest call, Vcpu &from);
    // The CPU of `from`, which asked for it, to one that it waits for: process context, loaded.
    void yield(Vcpu &from);
    bool has_several_vcpus() const { return vcpu_end_.load(std::memory_order_relaxed) > 1; }

    // How many ioeventfds there are: without any, no exit asks for one.
    std::uint32_t ioevents() const { return ioevents_.load(std::memory_order_relaxed); }
    void set_ioevents(std::uint32_t count) { ioevents_.store(count, std::memory_order_relaxed); }

    bool eoi_exits(std::uint8_t vector) const {
        return eoi_exits_[vector / 64].load(std::memory_order_relaxed) >> (vector % 64) & 1;
    }
    void set_eoi_exits(const hwv_eoi_exits &request) {
        for (unsigned i = 0; i < 4; ++i)
            eoi_exits_[i].store(request.vectors[i], std::memory_order_relaxed);
    }

    // What observers' rules say of exits. Process context, one caller at a time: returns the policy
    // that was there when no vCPU is in the guest unaware of the new one. Asking the old one is
    // over at the end of an RCU grace period.
    instrument::Policy *set_policy(unsigned slot, instrument::Policy *policy);
    instrument::Policies policies;
    // The same of exit programs, and the exits that they need.
    void set_programs(const hwv_program_table *table, const Traps &traps);
    const hwv_program_table *programs() const { return programs_.load(std::memory_order_acquire); }
    std::uint64_t next_stop() { return stops_.fetch_add(1, std::memory_order_relaxed) + 1; }
    // The exits that they need: each vCPU takes them before it enters again.
    void set_traps(const Traps &traps);
    void set_observers_traps();
    Traps traps();

    // Of the guest's time stamp counters.
    std::uint32_t tsc_khz() const { return tsc_khz_; }
    cpu::TscRatio tsc_ratio() const { return tsc_ratio_; }

    // Guest time in nanoseconds since the VM's start, as kvmclock shows it.
    std::uint64_t clock_ns() const {
        return hwv_host_boot_ns() - start_ns_.load(std::memory_order_relaxed);
    }
    void set_clock_ns(std::uint64_t ns);
    // A reading of the host's TSC and of the guest's time that belong together.
    struct Moment {
        std::uint64_t tsc, ns;
    };
    Moment moment() const {
        return {moment_tsc_, moment_boot_ns_ - start_ns_.load(std::memory_order_relaxed)};
    }
    Moment moment_here() const; // of this CPU, now

  protected:
    ~Vm() = default;

  private:
    static std::uint64_t next_serial();

    hwv_host_vm *host_;
    std::uint64_t flags_;
    std::uint32_t tsc_khz_;
    cpu::TscRatio tsc_ratio_;
    std::uint64_t moment_tsc_, moment_boot_ns_;
    std::atomic<std::uint64_t> start_ns_;
    std::atomic<Vcpu *> vcpus_[HWV_MAX_VCPUS] = {};
    std::atomic<unsigned> vcpu_end_{0};
    std::atomic<std::uint64_t> eoi_exits_[4] = {};
    std::atomic<std::uint32_t> ioevents_{0};
    std::atomic<std::uint32_t> turn_{0};     // of lowest-priority delivery
    std::atomic<std::uint32_t> favoured_{0}; // who was yielded to last
    std::atomic<const hwv_program_table *> programs_{nullptr};
    Traps program_traps_{};
    hwv_host_lock traps_lock_{};
    Traps traps_{};
    bool traps_set_ = false; // ever
    std::atomic<std::uint64_t> stops_{0};
    struct Bus;
};

template <npt::Format Format>
class VmOf final : public Vm {
  public:
    VmOf(hwv_host_vm *host, const hwv_create_vm &request, const npt::TableShape<Format> &shape)
        : Vm{host, request}, memory{*this, shape} {}
    PagedMemory<Format> memory;
};

} // namespace hwv
