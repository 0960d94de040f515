// SPDX-License-Identifier: GPL-2.0-only
#include "vmx/cpu.hpp"
#include <new>
#include "core/guest_state.hpp"
#include "core/host.hpp"
#include "vmx/arch.hpp"

namespace hwv::vmx {

// ---- a VMCS ------------------------------------------------------------------------------------

// "Format of the VMCS Region": it begins with the revision that the CPU asks for.
Status Vmcs::create(std::uint32_t revision) {
    TRY(from_errno(hwv_host_pages_alloc(0, &page_)));
    *static_cast<std::uint32_t *>(page_.va) = revision;
    return {};
}

void Vmcs::destroy() {
    if (!page_.va) return;
    if (const int cpu = cpu_.load(); cpu != nowhere)
        hwv_host_call(static_cast<std::uint32_t>(cpu), Cpu::evict, this);
    hwv_host_pages_free(&page_, 0);
    page_ = {};
}

// ---- life of a CPU -----------------------------------------------------------------------------

Status Cpu::prepare(std::uint32_t revision) {
    if (region_.va) return {};
    TRY(from_errno(hwv_host_pages_alloc(0, &region_)));
    *static_cast<std::uint32_t *>(region_.va) = revision; // "VMXON Region"
    return {};
}

void Cpu::release() {
    if (region_.va) hwv_host_pages_free(&region_, 0);
    region_ = {};
}

// "Enabling and Entering VMX Operation". CR4.VMXE is the sign of ownership that hypervisors share.
Status Cpu::enable(hwv_tenure tenure) {
    if (enabled()) return {};
    if (!region_.va) return Error::no_memory;
    const bool taken = read_cr4() & cr4::vmxe;
    if (tenure == HWV_TENURE_RIDE) {
        if (!taken || !vmptrst()) return Error::no_device;
    } else {
        if (taken) return Error::busy;
        TRY(from_errno(hwv_host_vmxe(1)));
        if (!vmxon(region_.pa)) {
            (void)hwv_host_vmxe(0);
            return Error::busy;
        }
        // The caches may hold what an owner before us left: "Guidelines for Use of the INVEPT
        // Instruction".
        (void)invept(InvalidateBy::all, 0);
    }
    others_ = none;
    read_msrs();
    tenure_ = tenure;
    return {};
}

// What is borrowed stays with its vCPU until put(): the VMCS below it is not hwv's.
void Cpu::read_msrs() {
    host_msrs_ = {.star = arch::rdmsr(msr::star),
                  .lstar = arch::rdmsr(msr::lstar),
                  .sfmask = arch::rdmsr(msr::sfmask),
                  .tsc_aux = Cpus::capabilities().tsc_aux ? arch::rdmsr(msr::tsc_aux) : 0};
}

void Cpu::disable() {
    if (tenure_ == HWV_TENURE_OWN) {
        clear_resident();
        (void)vmxoff();
        (void)hwv_host_vmxe(0);
    }
    tenure_ = 0;
}

// ---- the current VMCS --------------------------------------------------------------------------

// A CPU holds one VMCS of hwv's at most. irqs off.
void Cpu::clear_resident() {
    Vmcs *const vmcs = resident_;
    if (!vmcs) return;
    (void)vmclear(vmcs->page_.pa);
    vmcs->launched = false;
    resident_ = nullptr;
    vmcs->cpu_.store(Vmcs::nowhere);
}

void Cpu::evict(void *argument) {
    Cpu &here = Cpus::at(hwv_host_cpu());
    if (here.resident_ == argument) here.clear_resident();
}

bool Cpu::load(Vmcs &vmcs) {
    const int here = static_cast<int>(hwv_host_cpu()), held = vmcs.cpu_.load();
    if (held != Vmcs::nowhere && held != here)
        hwv_host_call(static_cast<std::uint32_t>(held), evict, &vmcs);
    if (holds(vmcs)) return true; // nobody but its own vCPU takes it away
    const IrqsOff guard;
    clear_resident();
    const bool borrow = tenure_ != HWV_TENURE_OWN;
    if (borrow) {
        const auto current = vmptrst();
        if (!current) return false;
        others_ = *current;
    }
    // Never loaded since it was cleared, or by nobody ever: "Software Use of Virtual-Machine
    // Control Structures" wants VMCLEAR first.
    if (!vmclear(vmcs.page_.pa) || !vmptrld(vmcs.page_.pa)) return false;
    vmcs.launched = false;
    borrowed_ = borrow;
    resident_ = &vmcs;
    vmcs.cpu_.store(here);
    return true;
}

// KVM remembers which VMCS it left current, and expects to find it. Its IPI may have cleared that
// VMCS since load(), because its vCPU went to another CPU: then it may be active there by now, and
// what VMPTRLD of it does here the manual leaves open ("Software Use of Virtual-Machine Control
// Structures"). Nothing tells hwv of the IPI.
bool Cpu::give_back() {
    borrowed_ = false;
    clear_resident();
    if (others_ != none) (void)vmptrld(others_);
    others_ = none;
    return true;
}

// ---- all CPUs ----------------------------------------------------------------------------------

Status start() {
    Cpus::capabilities_ = read_capabilities();
    if (Cpus::capabilities_.unusable != HWV_USABLE) return {};
    const std::uint32_t count = hwv_host_cpu_count();
    void *memory = hwv_host_alloc(count * sizeof(Cpu));
    if (!memory) return Error::no_memory;
    Status made = Cpus::msr_map_.create();
    if (made) Cpus::msr_map_.allow_all_but({}, Cpus::capabilities_);
    if (made && Cpus::capabilities_.apicv) made = Cpus::apic_map_.create();
    if (made && Cpus::capabilities_.apicv) {
        Cpus::apic_map_.allow_all_but({}, Cpus::capabilities_);
        open_apic(Cpus::apic_map_, true, {});
    }
    if (made && !Cpus::capabilities_.l1d_flush) made = Cpus::l1d_.create();
    if (!made) {
        Cpus::msr_map_.destroy();
        Cpus::apic_map_.destroy();
        hwv_host_free(memory);
        return made;
    }
    Cpus::cpus_ = static_cast<Cpu *>(memory);
    for (std::uint32_t i = 0; i < count; i++)
        new (&Cpus::cpus_[i]) Cpu;
    return {};
}

void stop() {
    Cpus::l1d_.destroy();
    Cpus::msr_map_.destroy();
    Cpus::apic_map_.destroy();
    hwv_host_free(Cpus::cpus_);
    Cpus::cpus_ = nullptr;
}

} // namespace hwv::vmx
