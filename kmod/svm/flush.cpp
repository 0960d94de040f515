// SPDX-License-Identifier: GPL-2.0-only
#include "svm/flush.hpp"
#include "core/exit.hpp"
#include "core/guest_state.hpp"
#include "svm/arch.hpp"
#include "svm/checker.hpp"
#include "svm/cpu.hpp"

namespace hwv::svm {

Status Flusher::prepare() {
    if (!tables_.va) TRY(from_errno(hwv_host_pages_alloc(0, &tables_)));
    if (vmcb_.va) return {};
    TRY(from_errno(hwv_host_pages_alloc(0, &vmcb_)));
    auto &[c, s] = *static_cast<Vmcb *>(vmcb_.va);
    c.intercepts = required_intercepts();
    c.io_map = phys_to_hw(Cpus::maps().io_pa());
    c.msr_map = phys_to_hw(Cpus::maps().msr_pa());
    c.tlb_control = TlbControl::flush_all;
    c.int_ctl = int_ctl::v_intr_masking;
    c.nested_ctl = nested_ctl::enable;
    c.nested_cr3 = phys_to_hw(tables_.pa);
    s.cs = {0, 0x9b, 0xffff, 0};
    s.efer = efer::svme;
    s.cr0 = cr0::et;
    s.cr4 = cr4::mce;
    s.dr6 = 0xffff'0ff0;
    s.dr7 = 0x400;
    s.rflags = rflags::fixed;
    return {};
}

void Flusher::release() {
    for (hwv_host_page *page : {&vmcb_, &tables_}) {
        if (page->va) hwv_host_pages_free(page, 0);
        *page = {};
    }
}

// VMRUN switches DR6 and DR7, and #VMEXIT leaves all breakpoints off.
void Flusher::flush(std::uint32_t asid, std::uint64_t host_state_pa) const {
    auto &[c, s] = *static_cast<Vmcb *>(vmcb_.va);
    c.asid = asid;
    const std::uint64_t dr7 = arch::read_dr<7>();
    s.dr6 = arch::read_dr<6>();
    if (dr7 & 0xff) arch::write_dr<7>(0);
    std::uint64_t registers[HWV_GPRS] = {};
    const auto spec_ctrl = static_cast<std::uint32_t>(hwv_host_facts()->spec_ctrl);
    const bool faulted = hwv_svm_switch(registers, phys_to_hw(vmcb_.pa), host_state_pa, spec_ctrl);
    if (dr7 & 0xff) arch::write_dr<7>(dr7);
    if (!faulted && c.exit_code == number(ExitCode::exception + vector::machine_check))
        hwv_host_machine_check();
}

} // namespace hwv::svm
