// SPDX-License-Identifier: GPL-2.0-only
// door.cpp - door 2: the C functions of core.h. Checks what the structures say and hands on.
#include "core.h"
#include "core/defaults.hpp"
#include "core/residency.hpp"
#include "core/vendor.hpp"

namespace hwv {
namespace {

const Vendor *vendor;
hwv_vendor vendor_name = HWV_VENDOR_NONE;
hwv_unusable why_unusable = HWV_UNUSABLE_NO_VIRT;

Vm &vm_of(hwv_core_vm *vm) { return *static_cast<Vm *>(vm); }
Vcpu &vcpu_of(hwv_core_vcpu *vcpu) { return *static_cast<Vcpu *>(vcpu); }

template <typename T, unsigned N>
bool zero(const T (&words)[N]) {
    for (const T &w : words)
        if (w) return false;
    return true;
}

Status check_tsc(std::uint32_t khz) {
    if (!khz || khz == hwv_host_tsc_khz()) return {};
    if (!(vendor->features() & HWV_FEATURE_TSC_SCALING)) return Error::no_device;
    const cpu::TscRatio ratio = cpu::tsc_ratio(khz, hwv_host_tsc_khz());
    return khz >= 1'000 && ratio <= cpu::tsc_fastest ? Status{} : Status{Error::invalid};
}

} // namespace

const Vendor &chosen_vendor() { return *vendor; }

} // namespace hwv

using namespace hwv;

extern "C" {

int hwv_core_init(void) {
    Status s = find_vendor(vendor, vendor_name);
    if (s) s = defaults::init();
    if (s) s = residency::init();
    if (!s) hwv_core_exit();
    if (vendor) why_unusable = vendor->unusable();
    return to_errno(s);
}

void hwv_core_exit(void) {
    residency::exit();
    defaults::exit();
    release_vendor();
}

int hwv_core_supported_cpuid(hwv_cpuid_entry *out, __u32 *count) {
    std::uint32_t n = *count;
    const Status s = defaults::cpuid(out, n);
    *count = n;
    return to_errno(s);
}

void hwv_core_info(hwv_info *out) {
    const struct hwv_host_facts &facts = *hwv_host_facts();
    out->abi_version = HWV_ABI_VERSION;
    out->vendor = vendor_name;
    out->features = vendor ? vendor->features() : 0;
    out->unusable = why_unusable;
    out->phys_bits = facts.phys_bits;
    out->tsc_khz = hwv_host_tsc_khz();
    out->max_vcpus = HWV_MAX_VCPUS;
    out->max_slots = HWV_MAX_SLOTS;
    out->xsave_bytes = facts.xsave_bytes;
    out->xcr0_mask = facts.xcr0_guest;
}

int hwv_core_cpu_prepare(__u32 cpu) {
    return vendor ? to_errno(vendor->cpu_prepare(cpu)) : to_errno(Error::no_device);
}
void hwv_core_cpu_release(__u32 cpu) {
    if (vendor) vendor->cpu_release(cpu);
}
int hwv_core_cpu_enable(hwv_tenure tenure) {
    return vendor ? to_errno(vendor->cpu_enable(tenure)) : to_errno(Error::no_device);
}
void hwv_core_cpu_disable(void) {
    if (vendor) vendor->cpu_disable();
}

int hwv_core_vm_create(hwv_host_vm *host, const hwv_create_vm *request, hwv_core_vm **out) {
    constexpr std::uint64_t known = HWV_VM_HLT_TO_USER | HWV_VM_MSR_TO_USER |
                                    HWV_VM_HYPERCALL_TO_USER | HWV_VM_NO_APIC | HWV_VM_RIDE;
    if ((request->flags & ~known) || !zero(request->reserved)) return to_errno(Error::invalid);
    if (!vendor || why_unusable) return to_errno(Error::no_device);
    if (const Status s = check_tsc(request->tsc_khz); !s) return to_errno(s);
    Vm *vm = nullptr;
    const Status s = vendor->vm_create(host, *request, vm);
    *out = vm;
    return to_errno(s);
}

void hwv_core_vm_destroy(hwv_core_vm *vm) { vendor->vm_destroy(vm_of(vm)); }

int hwv_core_vm_set_memory(hwv_core_vm *vm, const hwv_memory *request) {
    return to_errno(vendor->set_memory(vm_of(vm), *request));
}

int hwv_core_vm_dirty_log(hwv_core_vm *vm, const hwv_dirty_log *request, __u64 *words) {
    return to_errno(vendor->harvest(vm_of(vm), *request, reinterpret_cast<std::uint64_t *>(words)));
}

int hwv_core_vm_msi(hwv_core_vm *vm, __u64 address, __u32 data) {
    return vm_of(vm).msi(address, data);
}

void hwv_core_vm_ioevents(hwv_core_vm *vm, __u32 count) { vm_of(vm).set_ioevents(count); }

int hwv_core_vm_eoi_exits(hwv_core_vm *vm, const hwv_eoi_exits *request) {
    vm_of(vm).set_eoi_exits(*request);
    return 0;
}

int hwv_core_vm_clock(hwv_core_vm *vm, hwv_clock *request) {
    if ((request->flags & ~HWV_CLOCK_SET) || request->reserved) return to_errno(Error::invalid);
    if (request->flags & HWV_CLOCK_SET)
        vm_of(vm).set_clock_ns(request->ns);
    else
        request->ns = vm_of(vm).clock_ns();
    return 0;
}

void hwv_core_vm_unmap_hva(hwv_core_vm *vm, __u64 start, __u64 end, int may_sleep) {
    vendor->unmap_hva(vm_of(vm), start, end, may_sleep != 0);
}
int hwv_core_vm_age_hva(hwv_core_vm *vm, __u64 start, __u64 end, int clear) {
    return vendor->age_hva(vm_of(vm), start, end, clear != 0);
}

int hwv_core_vcpu_create(hwv_core_vm *vm, __u32 id, hwv_host_vcpu *host, hwv_run *run,
                         hwv_core_vcpu **out) {
    if (id >= HWV_MAX_VCPUS) return to_errno(Error::invalid);
    Vcpu *vcpu = nullptr;
    const Status s = vendor->vcpu_create(vm_of(vm), id, host, run, vcpu);
    *out = vcpu;
    return to_errno(s);
}

void hwv_core_vcpu_destroy(hwv_core_vcpu *vcpu) { vendor->vcpu_destroy(vcpu_of(vcpu)); }
int hwv_core_vcpu_run(hwv_core_vcpu *vcpu, __u32 cpu, const __u32 *thread_flags) {
    return vendor->run(vcpu_of(vcpu), cpu, thread_flags);
}
int hwv_core_vcpu_sync(hwv_core_vcpu *vcpu) { return vendor->sync(vcpu_of(vcpu)); }
void hwv_core_vcpu_load(hwv_core_vcpu *vcpu, __u32 cpu) { vendor->load(vcpu_of(vcpu), cpu); }
void hwv_core_vcpu_put(hwv_core_vcpu *vcpu, int owner) { vendor->put(vcpu_of(vcpu), owner); }

int hwv_core_vcpu_set_cpuid(hwv_core_vcpu *vcpu, const hwv_cpuid_entry *entries, __u32 count) {
    return to_errno(vcpu_of(vcpu).set_cpuid(entries, count));
}

int hwv_core_vcpu_msr(hwv_core_vcpu *vcpu, hwv_msr_entry *entry, int set) {
    if (entry->reserved) return to_errno(Error::invalid);
    return to_errno(vendor->msr(vcpu_of(vcpu), *entry, set != 0));
}

int hwv_core_vcpu_apic_reg(hwv_core_vcpu *vcpu, hwv_apic_reg *request) {
    if ((request->flags & ~HWV_APIC_REG_SET) || request->reserved || request->offset > 0xff0 ||
        (request->offset & 0xf))
        return to_errno(Error::invalid);
    return to_errno(vendor->apic_register(vcpu_of(vcpu), *request));
}

int hwv_core_vcpu_interrupt(hwv_core_vcpu *vcpu, const hwv_interrupt *request) {
    return to_errno(vcpu_of(vcpu).interrupt(*request));
}

void hwv_core_vcpu_kick(hwv_core_vcpu *vcpu) { vcpu_of(vcpu).ask(request::kick); }

void hwv_core_vcpu_timer(hwv_core_vcpu *vcpu) {
    vcpu_of(vcpu).apic.on_timer();
    vcpu_of(vcpu).ask(request::event);
}

int hwv_core_vcpu_runnable(hwv_core_vcpu *vcpu) { return vcpu_of(vcpu).runnable(); }

void *hwv_core_vcpu_stats(hwv_core_vcpu *vcpu) { return vcpu_of(vcpu).statistics.page(); }

} // extern "C"
