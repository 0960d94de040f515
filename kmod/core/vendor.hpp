// SPDX-License-Identifier: GPL-2.0-only
// vendor.hpp - the vendor, chosen once per ioctl: a table of the calls that differ. Nothing here is
// on the exit path.
#pragma once
#include "core/run_loop.hpp"

namespace hwv {

struct Vendor {
    // the CPU
    hwv_unusable (*unusable)();
    std::uint64_t (*features)(); // HWV_FEATURE_*
    Traps (*trappable)();
    Status (*cpu_prepare)(std::uint32_t cpu);
    void (*cpu_release)(std::uint32_t cpu);
    Status (*cpu_enable)(hwv_tenure tenure);
    void (*cpu_disable)();
    // VMs
    Status (*vm_create)(hwv_host_vm *host, const hwv_create_vm &request, Vm *&out);
    void (*vm_destroy)(Vm &vm);
    Status (*set_memory)(Vm &vm, const hwv_memory &request);
    Status (*harvest)(Vm &vm, const hwv_dirty_log &request, std::uint64_t *words);
    void (*unmap_hva)(Vm &vm, std::uint64_t start, std::uint64_t end, bool may_sleep);
    bool (*age_hva)(Vm &vm, std::uint64_t start, std::uint64_t end, bool clear);
    Status (*find_memory)(Vm &vm, std::uint64_t gpa, std::uint64_t &hva, std::uint64_t &bytes);
    // vCPUs
    Status (*vcpu_create)(Vm &vm, std::uint32_t id, hwv_host_vcpu *host, hwv_run *run, Vcpu *&out);
    void (*vcpu_destroy)(Vcpu &vcpu);
    int (*run)(Vcpu &vcpu, std::uint32_t cpu, const std::uint32_t *thread_flags);
    int (*sync)(Vcpu &vcpu);
    void (*load)(Vcpu &vcpu, std::uint32_t cpu);
    void (*put)(Vcpu &vcpu, bool owner);
    Status (*msr)(Vcpu &vcpu, hwv_msr_entry &entry, bool set);
    Status (*apic_register)(Vcpu &vcpu, hwv_apic_reg &request);
    Status (*registers)(Vcpu &vcpu, hwv_regs &regs, std::uint32_t groups, bool set);
};

// The table of a backend; `Cpu` is its per-CPU half: unusable, features, table, prepare, release,
// enable, disable.
template <Backend B, typename Cpu>
class VendorOf {
    using Machine = VmOf<typename B::TableFormat>;
    using Processor = VcpuOf<B>;
    static Machine &machine(Vm &vm) { return static_cast<Machine &>(vm); }
    static Processor &processor(Vcpu &vcpu) { return static_cast<Processor &>(vcpu); }

    static Status vm_create(hwv_host_vm *host, const hwv_create_vm &request, Vm *&out) {
        auto *vm = host_new<Machine>(host, request, Cpu::table());
        if (!vm) return Error::no_memory;
        if (const Status s = vm->memory.init(); !s) {
            host_delete(vm);
            return s;
        }
        out = vm;
        return {};
    }
    static Status vcpu_create(Vm &vm, std::uint32_t id, hwv_host_vcpu *host, hwv_run *run,
                              Vcpu *&out) {
        auto *v = host_new<Processor>(machine(vm), id, host, run);
        if (!v) return Error::no_memory;
        Status s = v->init();
        if (s) s = vm.add(*v, id);
        if (!s)
            host_delete(v);
        else
            out = v;
        return s;
    }
    static void vcpu_destroy(Vcpu &vcpu) {
        vcpu.apic.stop();
        vcpu.vm.remove(vcpu.id);
        vcpu.recorder.finish(arch::rdtsc());
        host_delete(&processor(vcpu));
    }

  public:
    static constexpr Vendor table{
        .unusable = Cpu::unusable,
        .features = Cpu::features,
        .trappable = B::trappable,
        .cpu_prepare = Cpu::prepare,
        .cpu_release = Cpu::release,
        .cpu_enable = Cpu::enable,
        .cpu_disable = Cpu::disable,
        .vm_create = vm_create,
        .vm_destroy = [](Vm &vm) { host_delete(&machine(vm)); },
        .set_memory =
            [](Vm &vm, const hwv_memory &request) {
                return machine(vm).memory.set_memory(request);
            },
        .harvest = [](Vm &vm, const hwv_dirty_log &request,
                      std::uint64_t *words) { return machine(vm).memory.harvest(request, words); },
        .unmap_hva = [](Vm &vm, std::uint64_t start, std::uint64_t end,
                        bool may_sleep) { machine(vm).memory.unmap_hva(start, end, may_sleep); },
        .age_hva = [](Vm &vm, std::uint64_t start, std::uint64_t end,
                      bool clear) { return machine(vm).memory.age_hva(start, end, clear); },
        .find_memory =
            [](Vm &vm, std::uint64_t gpa, std::uint64_t &hva, std::uint64_t &bytes) {
                return machine(vm).memory.locate(gpa, hva, bytes);
            },
        .vcpu_create = vcpu_create,
        .vcpu_destroy = vcpu_destroy,
        .run =
            [](Vcpu &v, std::uint32_t cpu, const std::uint32_t *thread_flags) {
                return processor(v).run_guest(cpu, thread_flags);
            },
        .sync = [](Vcpu &v) { return processor(v).sync(); },
        .load = [](Vcpu &v, std::uint32_t cpu) { processor(v).load(cpu); },
        .put = [](Vcpu &v, bool owner) { processor(v).put(owner); },
        .msr = [](Vcpu &v, hwv_msr_entry &entry,
                  bool set) { return processor(v).host_msr(entry, set); },
        .apic_register =
            [](Vcpu &v, hwv_apic_reg &request) { return processor(v).host_apic_register(request); },
        .registers = [](Vcpu &v, hwv_regs &regs, std::uint32_t groups,
                        bool set) { return processor(v).observe_registers(regs, groups, set); },
    };
};

// Null where no backend fits this CPU. Defined by the one file that knows both vendors. Process
// context; to be followed by release_vendor(), also where it fails.
Status find_vendor(const Vendor *&vendor, hwv_vendor &name);
void release_vendor();

// The one that hwv_core_init() found; there is one wherever there is a VM.
const Vendor &chosen_vendor();

} // namespace hwv
