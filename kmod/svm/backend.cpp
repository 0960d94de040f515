// SPDX-License-Identifier: GPL-2.0-only
#include "svm/backend.hpp"
#include <initializer_list>
#include "svm/arch.hpp"
#include "svm/checker.hpp"

namespace hwv::svm {

static_assert(hwv::Backend<Backend>);

// ---- life --------------------------------------------------------------------------------------

Status Backend::init(std::uint32_t) {
    TRY(from_errno(hwv_host_pages_alloc(0, &page_)));
    vmcb_ = static_cast<Vmcb *>(page_.va);
    vmcb_pa_ = phys_to_hw(page_.pa);
    const Capabilities &can = Cpus::capabilities();
    next_rip_mask_ = can.nrips ? ~0ull : 0;
    decode_assists_ = can.decode_assists;
    vnmi_ = can.vnmi;
    host_xcr0_ = hwv_host_facts()->xcr0;
    address_bits_ = ((1ull << can.phys_bits) - 1) | hwv_host_facts()->sme_mask;
    reset();
    return {};
}

void Backend::destroy() {
    if (vmcb_) hwv_host_pages_free(&page_, 0);
    vmcb_ = nullptr;
    msr_map_.destroy();
}

void Backend::reset() {
    reset_control();
    reset_save();
    event_ = {};
    for (std::uint64_t &dr : dr_)
        dr = 0;
    xcr0_ = 1;
    set_msr(msr::tsc_aux, 0);
    spec_ctrl_ = 0;
    virt_spec_ctrl_ = 0;
    debug_granted_ = held_by_tpr_ = nmi_blocked_ = nmi_wanted_ = iret_seen_ = false;
    lifted_ = HWV_EXIT_NONE;
    set_work(work_debug | work_nmi | work_inject | work_ssbd | work_step, false);
    set_cr0(0x6000'0010);
    set_cr4(0);
    set_traps(traps_);
    touch(clean::all);
}

// The intercepts of every guest. See checker.cpp for those that may never be missing.
void Backend::reset_control() {
    ControlArea &c = vmcb_->control;
    c.intercepts = required_intercepts();
    c.intercepts.set(ExitCode::vintr); // V_IRQ is only ever set to learn of the window
    c.intercepts.set(ExitCode::cr_write + 4);
    c.io_map = phys_to_hw(Cpus::maps().io_pa());
    c.int_ctl = int_ctl::v_intr_masking | (vnmi_ ? int_ctl::v_nmi_enable : 0);
    c.int_state = 0;
    c.event_inj = 0;
    c.nested_ctl = nested_ctl::enable;
}

// APM "Processor Initialization State".
void Backend::reset_save() {
    SaveArea &s = vmcb_->save;
    s = {};
    for (VmcbSegment *data : {&s.es, &s.ss, &s.ds, &s.fs, &s.gs})
        *data = {0, 0x93, 0xffff, 0};
    s.cs = {0xf000, 0x9b, 0xffff, 0xffff'0000};
    s.ldtr = {0, 0x82, 0xffff, 0};
    s.tr = {0, 0x83, 0xffff, 0};
    s.gdtr.limit = s.idtr.limit = 0xffff;
    s.rip = 0xfff0;
    s.rflags = rflags::fixed;
    s.dr6 = 0xffff'0ff0;
    s.dr7 = 0x400;
    s.g_pat = 0x0007'0406'0007'0406;
    s.efer = efer::svme;
}

// ---- residency ---------------------------------------------------------------------------------

// What is restored is what was found. KVM leaves its guest's values in both until it returns to its
// user, or for good, and trusts its memory of them.
[[gnu::always_inline]] inline void Backend::load_msrs() {
    if (Cpus::capabilities().tsc_aux) {
        host_tsc_aux_ = arch::rdmsr(msr::tsc_aux);
        if (tsc_aux_ != host_tsc_aux_) arch::wrmsr(msr::tsc_aux, tsc_aux_);
    }
    if (exchanges_ratio()) {
        host_tsc_ratio_ = arch::rdmsr(msr::tsc_ratio);
        if (host_tsc_ratio_ != tsc_ratio_) arch::wrmsr(msr::tsc_ratio, tsc_ratio_);
    }
}

[[gnu::always_inline]] inline void Backend::put_msrs() {
    if (Cpus::capabilities().tsc_aux && tsc_aux_ != host_tsc_aux_)
        arch::wrmsr(msr::tsc_aux, host_tsc_aux_);
    if (exchanges_ratio() && host_tsc_ratio_ != tsc_ratio_)
        arch::wrmsr(msr::tsc_ratio, host_tsc_ratio_);
}

void Backend::load(const LoadContext &context) {
    cpu_ = &Cpus::at(context.cpu);
    host_state_pa_ = cpu_->host_state_pa();
    if (!cpu_->enabled() || !vmsave(host_state_pa_)) [[unlikely]] {
        set_work(work_no_cpu, true);
        return;
    }
    set_work(work_no_cpu, false);
    host_ldt_ = arch::sldt();
    if (context.other_cpu) {
        touch(clean::all); // what "clean" means is of the CPU that kept the fields
        asid_ = {};        // and so are ASIDs
    }
    beside_kvm_ = cpu_->shared();
    if (!cpu_->owns(asid_) || beside_kvm_) assign_asid();
    if (context.other_vcpu || beside_kvm_) barrier();
    load_msrs();
}

void Backend::put() {
    if (!(work_ & work_no_cpu)) {
        put_msrs();
        if (beside_kvm_) leave_to_kvm();
    }
    work_ |= work_no_cpu;
    cpu_ = nullptr;
    if (debug_granted_) [[unlikely]]
        take_debug();
}

// Breakpoints that are on stay real, else they would not hit.
[[gnu::noinline]] void Backend::take_debug() {
    debug_granted_ = false;
    intercept_debug();
}

// APM "Indirect Branch Prediction Barrier".
void Backend::barrier() {
    if (hwv_host_facts()->speculation & HWV_SPEC_IBPB) arch::wrmsr(msr::pred_cmd, pred_cmd::ibpb);
}

void Backend::assign_asid() {
    vmcb_->control.tlb_control = cpu_->assign(asid_);
    vmcb_->control.asid = asid_.number;
    touch(clean::asid);
}

void Backend::flush_translations() {
    if (work_ & work_no_cpu)
        asid_ = {}; // the next load() assigns another
    else if (!Cpus::capabilities().flush_by_asid)
        assign_asid();
    else if (vmcb_->control.tlb_control == TlbControl::keep)
        vmcb_->control.tlb_control = TlbControl::flush_asid;
}

void Backend::set_table_root(std::uint64_t pa) {
    vmcb_->control.nested_cr3 = phys_to_hw(pa);
    touch(clean::np);
}

const std::uint8_t *Backend::instruction_bytes(const RawExit &raw) const {
    const bool fetched = static_cast<ExitCode>(raw.code) == ExitCode::npf && raw.decode_assists;
    return fetched && vmcb_->control.insn_count ? &vmcb_->control.insn_count : nullptr;
}

// ---- control registers -------------------------------------------------------------------------

// CD and NW would make the guest run without caches: it only sees them, which takes an exit for
// each read.
void Backend::set_cr0(std::uint64_t v) {
    cr0_ = v | cr0::et;
    vmcb_->save.cr0 = cr0_ & ~(cr0::cd | cr0::nw);
    intercept_control();
    touch(clean::cr);
}

// A machine check with CR4.MCE clear shuts the CPU down, so it is always set, and the guest that
// has it clear reads by exit.
void Backend::set_cr4(std::uint64_t v) {
    cr4_ = v;
    vmcb_->save.cr4 = v | cr4::mce;
    intercept_control();
    update_xcr0();
    touch(clean::cr);
}

void Backend::set_xcr0(std::uint64_t v) {
    xcr0_ = v;
    update_xcr0();
}

// Without CR4.OSXSAVE nothing that the guest can do depends on XCR0.
void Backend::update_xcr0() { set_work(work_xcr0, (cr4_ & cr4::osxsave) && xcr0_ != host_xcr0_); }

// ---- segments ----------------------------------------------------------------------------------

VmcbSegment *Backend::segment_of(unsigned index) const {
    static constexpr VmcbSegment SaveArea::*segments[HWV_SEGMENTS] = {
        &SaveArea::es, &SaveArea::cs, &SaveArea::ss,   &SaveArea::ds,
        &SaveArea::fs, &SaveArea::gs, &SaveArea::ldtr, &SaveArea::tr};
    return &(vmcb_->save.*segments[index]);
}

Segment Backend::segment(unsigned index) const {
    const VmcbSegment &v = *segment_of(index);
    std::uint16_t attributes = v.attributes & 0xfff;
    if (!(attributes & segment::present)) attributes |= segment::unusable;
    // APM "Segment State in the VMCB": not every CPU keeps G, and the privilege is CPL, not SS.DPL.
    attributes = v.limit > 0xf'ffff ? attributes | segment::g : attributes & ~segment::g;
    if (index == HWV_SS)
        attributes = (attributes & ~(3u << segment::dpl_shift)) | vmcb_->save.cpl
                                                                      << segment::dpl_shift;
    if (index == HWV_TR) attributes |= 2; // loading made it busy
    return {v.base, v.limit, v.selector, attributes};
}

void Backend::set_segment(unsigned index, const Segment &s) {
    std::uint16_t attributes = s.attributes & 0xfff;
    if (s.attributes & segment::unusable) attributes &= ~segment::present;
    *segment_of(index) = {s.selector, attributes, s.limit, s.base};
    if (index == HWV_SS) vmcb_->save.cpl = s.attributes >> segment::dpl_shift & 3;
    touch(clean::segments);
}

void Backend::set_table(VmcbSegment &to, const TableRegister &t) {
    to.base = t.base;
    to.limit = t.limit;
    touch(clean::dt);
}

// ---- debug registers ---------------------------------------------------------------------------

std::uint64_t Backend::debug(unsigned n) const {
    return n < 4 ? dr_[n] : n == 6 ? vmcb_->save.dr6 : vmcb_->save.dr7;
}

void Backend::set_debug(unsigned n, std::uint64_t v) {
    if (n < 4)
        dr_[n] = v;
    else
        (n == 6 ? vmcb_->save.dr6 : vmcb_->save.dr7) = v;
    touch(clean::dr);
    intercept_debug();
}

void Backend::grant_debug() {
    debug_granted_ = true;
    intercept_debug();
}

// DR6 and DR7 are switched by the CPU, DR0-3 by hand: only for a guest that uses them.
void Backend::intercept_debug() {
    const bool live = debug_granted_ || (vmcb_->save.dr7 & 0xff);
    set_work(work_debug, live);
    std::uint32_t &word = vmcb_->control.intercepts.words[number(ExitCode::dr_read) / 32];
    const std::uint32_t wanted = debug_granted_ && !traps_.debug_registers() ? 0 : ~0u;
    if (word == wanted) return;
    word = wanted;
    touch(clean::intercepts);
}

// ---- MSRs --------------------------------------------------------------------------------------

std::uint64_t *Backend::switched_msr(std::uint32_t index) const {
    SaveArea &s = vmcb_->save;
    switch (index) {
    case msr::sysenter_cs: return &s.sysenter_cs;
    case msr::sysenter_esp: return &s.sysenter_esp;
    case msr::sysenter_eip: return &s.sysenter_eip;
    case msr::star: return &s.star;
    case msr::lstar: return &s.lstar;
    case msr::cstar: return &s.cstar;
    case msr::sfmask: return &s.sfmask;
    case msr::fs_base: return &s.fs.base;
    case msr::gs_base: return &s.gs.base;
    case msr::kernel_gs_base: return &s.kernel_gs_base;
    case msr::pat: return &s.g_pat;
    default: return nullptr;
    }
}

std::optional<std::uint64_t> Backend::msr(std::uint32_t index) const {
    if (const std::uint64_t *value = switched_msr(index)) return *value;
    const std::uint32_t speculation = hwv_host_facts()->speculation;
    if (index == msr::spec_ctrl && Cpus::capabilities().v_spec_ctrl) return vmcb_->save.spec_ctrl;
    if (index == msr::spec_ctrl && (speculation & HWV_SPEC_CTRL)) return spec_ctrl_;
    if (index == msr::virt_spec_ctrl && (speculation & HWV_SPEC_VIRT_SSBD)) return virt_spec_ctrl_;
    if (index == msr::tsc_aux && Cpus::capabilities().tsc_aux) return tsc_aux_;
    return std::nullopt;
}

bool Backend::set_msr(std::uint32_t index, std::uint64_t v) {
    // A barrier is an action and no state: "Indirect Branch Prediction Barrier"
    if (index == msr::pred_cmd) return arch::wrmsr_safe(index, v);
    if (std::uint64_t *value = switched_msr(index)) {
        *value = v;
        if (index == msr::pat) touch(clean::np);
        return true;
    }
    if (!msr(index)) return false;
    if (index == msr::tsc_aux) {
        tsc_aux_ = v;
        if (!(work_ & work_no_cpu)) arch::wrmsr(msr::tsc_aux, v);
    } else if (index == msr::virt_spec_ctrl) {
        virt_spec_ctrl_ = v;
        set_work(work_ssbd, v);
    } else if (Cpus::capabilities().v_spec_ctrl) {
        vmcb_->save.spec_ctrl = v;
    } else {
        spec_ctrl_ = v;
    }
    return true;
}

// ---- events ------------------------------------------------------------------------------------

// APM "Event Injection". A software interrupt of length 0 needs nothing: RIP is at its instruction,
// which runs again.
void Backend::inject(const Event &e) {
    event_ = e;
    const bool again = e.type == HWV_EVENT_SOFTWARE && !e.length;
    vmcb_->control.event_inj = again ? 0 : from_event(e);
    set_work(work_inject, (e.type == HWV_EVENT_SOFTWARE && !again) || e.type == HWV_EVENT_NMI);
}

// APM "Virtual Interrupts": a virtual interrupt that is never taken, because its intercept comes
// first. One that the TPR holds back is watched for by the guest's writes of CR8: not every
// implementation compares the priorities alike.
void Backend::want_interrupt_window(bool on, std::uint8_t priority) {
    held_by_tpr_ = on && priority <= tpr();
    set_intercept(ExitCode::cr_write + 8, held_by_tpr_ || traps_.writes_cr(8));
    std::uint64_t window = 0;
    if (on && !held_by_tpr_) {
        const bool any = priority > 15;
        window = int_ctl::v_irq |
                 (any ? int_ctl::v_ign_tpr : std::uint64_t{priority} << int_ctl::v_prio_shift);
    }
    set_int_ctl(int_ctl::v_irq | int_ctl::v_prio | int_ctl::v_ign_tpr, window);
}

void Backend::want_nmi_window(bool on) {
    nmi_wanted_ = on;
    update_nmi();
}

void Backend::set_nmi_blocked(bool on) {
    if (vnmi_)
        set_int_ctl(int_ctl::v_nmi_mask, on ? int_ctl::v_nmi_mask : 0);
    else
        nmi_blocked_ = on;
    iret_seen_ = false;
    update_nmi();
}

} // namespace hwv::svm
