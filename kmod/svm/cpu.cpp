// SPDX-License-Identifier: GPL-2.0-only
#include "svm/cpu.hpp"
#include <new>
#include "core/guest_state.hpp"
#include "svm/arch.hpp"

namespace hwv::svm {

Status Cpu::prepare() {
    if (!save_area_.va) TRY(from_errno(hwv_host_pages_alloc(0, &save_area_)));
    if (!host_state_.va) TRY(from_errno(hwv_host_pages_alloc(0, &host_state_)));
    host_state_hw_ = phys_to_hw(host_state_.pa);
    return flusher_.prepare();
}

void Cpu::release() {
    if (save_area_.va) hwv_host_pages_free(&save_area_, 0);
    if (host_state_.va) hwv_host_pages_free(&host_state_, 0);
    save_area_ = host_state_ = {};
    flusher_.release();
}

Status Cpu::enable(const Capabilities &c, hwv_tenure tenure) {
    if (enabled()) return {};
    if (!save_area_.va || !host_state_.va) return Error::no_memory;
    if (tenure == HWV_TENURE_OWN) {
        TRY(switch_on(c));
    } else if (!(arch::rdmsr(msr::efer) & efer::svme)) {
        return Error::no_device;
    }
    first_asid_ = c.first_asid;
    last_asid_ = c.last_asid;
    next_asid_ = last_asid_ + 1; // the TLB may hold another owner's entries: the first ASID flushes
    generation_++;
    tenure_ = tenure;
    return {};
}

// APM "Enabling SVM". EFER.SVME is the one sign of ownership that hypervisors share: set means
// taken.
Status Cpu::switch_on(const Capabilities &c) {
    const std::uint64_t efer_now = arch::rdmsr(msr::efer);
    if (efer_now & efer::svme) return Error::busy;
    if (!arch::wrmsr_safe(msr::efer, efer_now | efer::svme)) return Error::no_device;
    arch::wrmsr(msr::vm_hsave_pa, phys_to_hw(save_area_.pa));
    if (c.tsc_ratio) arch::wrmsr(msr::tsc_ratio, tsc_ratio_default);
    return {};
}

// With the global interrupt flag clear neither NMI nor INIT would reach this CPU any more, and
// clearing SVME takes STGI away.
void Cpu::disable() {
    const bool own = tenure_ == HWV_TENURE_OWN;
    tenure_ = HWV_TENURE_NONE;
    if (!own) return;
    stgi();
    arch::wrmsr_safe(msr::vm_hsave_pa, 0);
    arch::wrmsr(msr::efer, arch::rdmsr(msr::efer) & ~efer::svme);
}

// APM "Address Space Identifier (ASID)", "TLB Control".
TlbControl Cpu::assign(Asid &asid) {
    TlbControl control = TlbControl::keep;
    if (next_asid_ > last_asid_ || shared()) {
        generation_++;
        next_asid_ = first_asid_;
        control = TlbControl::flush_all;
    }
    asid = {generation_, next_asid_++};
    return control;
}

Status start() {
    Cpus::capabilities_ = read_capabilities();
    if (Cpus::capabilities_.unusable != HWV_USABLE) return {};
    const std::uint32_t count = hwv_host_cpu_count();
    void *memory = hwv_host_alloc(count * sizeof(Cpu));
    if (!memory) return Error::no_memory;
    if (Status maps = Cpus::maps_.create(Cpus::capabilities_); !maps) {
        hwv_host_free(memory);
        return maps;
    }
    Cpus::cpus_ = static_cast<Cpu *>(memory);
    for (std::uint32_t i = 0; i < count; i++)
        new (&Cpus::cpus_[i]) Cpu;
    return {};
}

void stop() {
    Cpus::maps_.destroy();
    hwv_host_free(Cpus::cpus_);
    Cpus::cpus_ = nullptr;
}

} // namespace hwv::svm
