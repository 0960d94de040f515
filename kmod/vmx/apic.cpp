// SPDX-License-Identifier: GPL-2.0-only
// apic.cpp - a local APIC that the CPU works on while the guest runs: Intel SDM vol. 3, "APIC
// Virtualization and Virtual Interrupts". In x2APIC mode alone; the page of xAPIC mode stays with
// nested page faults. What arrives from outside meets the page at an entry, or is posted for a
// guest that runs.
#include <initializer_list>
#include "vmx/backend.hpp"

namespace hwv::vmx {

// "Virtualizing MSR-Based APIC Accesses": all reads come from the page, so that the timer's count
// stays out; of writes the CPU knows three, and any other would go to the host's APIC.
void open_apic(MsrMap &map, bool open, const Traps &traps) {
    namespace reg = cpu::apic_reg;
    const auto pass = [&](std::uint32_t offset, bool read, bool write) {
        const std::uint32_t index = 0x800 + (offset >> 4);
        map.allow(index, open && read && !traps.reads_msr(index),
                  open && write && !traps.writes_msr(index));
    };
    for (std::uint32_t offset : {reg::id, reg::version, reg::ppr, reg::ldr, reg::svr, reg::esr,
                                 reg::icr, reg::initial_count, reg::divide})
        pass(offset, true, false);
    for (std::uint32_t offset = reg::isr; offset < reg::esr; offset += 0x10)
        pass(offset, true, false);
    for (std::uint32_t offset = reg::lvt_first; offset <= reg::lvt_last; offset += 0x10)
        pass(offset, true, false);
    pass(reg::tpr, true, true);
    pass(reg::eoi, false, true);
    pass(reg::self_ipi, false, true);
}

cpu::ApicPage *Backend::apic_page() const {
    return Cpus::capabilities().apicv ? static_cast<cpu::ApicPage *>(apic_page_.va) : nullptr;
}

cpu::PostedRequests *Backend::posted_requests() const {
    return static_cast<cpu::PostedRequests *>(posted_page_.va);
}

void Backend::reset_delivery() {
    from_page_ = false;
    write(field::guest_interrupt_status, 0);
    for (unsigned i = 0; i < 4; i++)
        write_at(field::eoi_exit_0, i, eoi_exits_[i] = 0);
}

// A vCPU with traps on MSRs has a map of its own.
void Backend::write_msr_map() {
    const bool own = traps_.msr_ranges && msr_map_;
    if (own) open_apic(msr_map_, from_page_, traps_);
    const MsrMap &shared = from_page_ ? Cpus::apic_map() : Cpus::msr_map();
    write(field::msr_bitmap, (own ? msr_map_ : shared).pa());
}

// The controls and the map go together: the map alone would open the host's APIC.
void Backend::deliver_from_page(bool on) {
    if (on == from_page_) return;
    from_page_ = on;
    set_secondary(apic_controls, on);
    const Capabilities &can = Cpus::capabilities();
    if (can.posted)
        write(field::pin_controls, can.pin_controls() | (on ? pin::posted_interrupts : 0));
    write_msr_map();
}

// "Guest Non-Register State": the highest vectors requested and in service (RVI, SVI); the entry
// computes the priority from them and delivers.
void Backend::set_apic_summary(const cpu::ApicSummary &s) {
    write(field::guest_interrupt_status,
          static_cast<std::uint16_t>(s.in_service << 8 | s.requested));
    for (unsigned i = 0; i < 4; i++)
        if (s.eoi_exits[i] != eoi_exits_[i])
            write_at(field::eoi_exit_0, i, eoi_exits_[i] = s.eoi_exits[i]);
}

} // namespace hwv::vmx
