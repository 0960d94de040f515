// SPDX-License-Identifier: GPL-2.0-only
// switch.cpp - one entry: what is done around the world switch, irqs off. From guest_enter to
// guest_exit nothing may be instrumented, because RCU does not watch. The common entry costs a test
// of work_; all else is behind it.
#include "core/breakpoints.hpp"
#include "svm/arch.hpp"
#include "svm/backend.hpp"
#include "svm/checker.hpp"
#include "svm/flush.hpp"

namespace hwv::svm {

namespace {

constexpr std::uint64_t dr6_idle = 0xffff'0ff0, dr6_single_step = 1u << 14, dr7_enabled = 0xff;
#ifdef HWV_DEBUG
constexpr std::uint32_t checked = 0; // always
#else
constexpr std::uint32_t checked =
    clean::cr | clean::dr; // PAT and nCR3 are checked where they are set
#endif

// Not every implementation writes the upper half.
constexpr bool is_invalid(const RawExit &raw) {
    return static_cast<std::uint32_t>(raw.code) == number(ExitCode::invalid);
}

} // namespace

// The CPU took what was queued for this entry, and knows the VMCB as it is now.
[[gnu::always_inline]] inline void Backend::entered() {
    vmcb_->control.tlb_control = TlbControl::keep;
    vmcb_->control.event_inj = 0;
    vmcb_->control.clean = clean::all;
    event_.type = HWV_EVENT_NONE;
}

HWV_NOINSTR RawExit Backend::enter(Gprs &gprs) {
    ControlArea &c = vmcb_->control;
    SaveArea &s = vmcb_->save;
    RawExit raw; // every field is written below: zeroing it first would cost as much again
    raw.rule = 0;
    raw.decode_assists = decode_assists_;
    raw.own_event = false;
    raw.software_length = 0;
    s.rax = gprs[HWV_RAX];
    s.rsp = gprs[HWV_RSP];
    if (!may_enter(raw)) [[unlikely]]
        return raw;

    const bool debug = (arch::read_dr<7>() & dr7_enabled) || (work_ & work_debug);
    refresh_host();
    hwv_host_guest_enter();
    const bool faulted =
        debug ? switch_debug(gprs) : hwv_svm_switch(gprs, vmcb_pa_, host_state_pa_, spec_ctrl_);
    hwv_host_guest_exit();

    gprs[HWV_RAX] = s.rax;
    gprs[HWV_RSP] = s.rsp;
    if (s.dr6 != dr6_idle) [[unlikely]]
        arch::write_dr<6>(dr6_idle); // VMRUN switches it in, #VMEXIT leaves it
    raw.code = c.exit_code;
    raw.info1 = c.exit_info1;
    raw.info2 = c.exit_info2;
    raw.int_info = c.exit_int_info;
    raw.rip = s.rip;
    raw.next_rip = c.next_rip & next_rip_mask_;
    const bool rare = work_ || (raw.int_info & event::valid) || is_invalid(raw);
    if (rare || faulted) [[unlikely]]
        after_exit(raw, faulted);
    else
        entered();
    return raw;
}

[[gnu::always_inline]] inline bool Backend::may_enter(RawExit &raw) {
    const bool changed = !checked || (vmcb_->control.clean & checked) != checked;
    if (changed && !(work_ & work_no_cpu)) [[unlikely]]
        raw.rule = static_cast<std::uint32_t>(svm::check(*vmcb_, address_bits_));
    if (raw.rule || (work_ && !before_entry())) [[unlikely]] {
        raw = {.code = number(raw.rule ? ExitCode::invalid : ExitCode::not_entered),
               .rip = vmcb_->save.rip,
               .rule = raw.rule};
        return false;
    }
    return true;
}

// Another thread of the process may have changed the LDT by an IPI since the host's half was
// stored.
[[gnu::always_inline]] inline void Backend::refresh_host() {
    if (arch::sldt() | host_ldt_) [[unlikely]]
        store_host();
}

void Backend::store_host() {
    vmsave(host_state_pa_);
    host_ldt_ = arch::sldt();
}

// KVM believes that nobody but its own guests ran here since it looked last: it flushes an ASID's
// translations, and branch predictions, only where it changes the guest itself.
void Backend::leave_to_kvm() {
    refresh_host();
    cpu_->flush();
    barrier();
}

bool Backend::before_entry() {
    if (work_ & work_no_cpu) return false;
    if (work_ & work_inject) begin_injection();
    if ((work_ & (work_nmi | work_step)) && wants_step()) arm_step();
    if (work_ & work_xcr0) arch::xsetbv(0, xcr0_);
    if (work_ & work_ssbd) hwv_host_virt_spec_ctrl(virt_spec_ctrl_, 1);
    return true;
}

void Backend::after_exit(RawExit &raw, bool faulted) {
    if (work_ & work_xcr0) arch::xsetbv(0, host_xcr0_);
    if (work_ & work_ssbd) hwv_host_virt_spec_ctrl(virt_spec_ctrl_, 0);
    if (faulted || is_invalid(raw)) {
        if (step_armed_) disarm_step();
        vmcb_->control.clean = 0;
        raw = {.code = number(faulted ? ExitCode::not_entered : ExitCode::invalid),
               .rip = vmcb_->save.rip,
               .rule = static_cast<std::uint32_t>(svm::check(*vmcb_, address_bits_))};
        return;
    }
    // not by EVENTINJ, which some implementations clear
    const bool injected = event_ && (event_.type != HWV_EVENT_SOFTWARE || event_.length);
    raw.own_event = injected && raw.int_info == from_event(event_);
    if (raw.own_event && event_.type == HWV_EVENT_SOFTWARE) {
        raw.software_length = event_.length;
        if (!next_rip_mask_)
            raw.rip = vmcb_->save.rip -= event_.length; // undelivered: as before the injection
    }
    set_work(work_inject, false);
    entered();
    if (work_ & (work_nmi | work_step)) after_nmi_work(raw);
}

// ---- debug registers: the guest's DR0-3 live here only from now until after the exit ----

HWV_NOINSTR bool Backend::switch_debug(Gprs &gprs) {
    const auto run = [&]() __attribute__((always_inline)) {
        return hwv_svm_switch(gprs, vmcb_pa_, host_state_pa_, spec_ctrl_);
    };
    return with_breakpoints(work_ & work_debug, dr_, run);
}

// ---- injection of NMIs and software interrupts
// ---------------------------------------------------------------------

// APM "Event Injection": the return address of a software interrupt is the next RIP, or without
// NRIPS simply RIP.
void Backend::begin_injection() {
    if (event_.type == HWV_EVENT_NMI) {
        nmi_blocked_ = !vnmi_; // with vNMI the CPU sets its own mask
        iret_seen_ = false;
        update_nmi();
    } else if (next_rip_mask_) {
        vmcb_->control.next_rip = vmcb_->save.rip + event_.length;
    } else {
        vmcb_->save.rip += event_.length;
    }
}

// ---- NMI blocking, and single steps
// -------------------------------------------------------------------------------------------------
// IRET ends it, and its intercept comes before it is executed. To learn of its end when an NMI
// waits, the guest steps over it with TF set, and over an interrupt shadow likewise; the #DB is
// turned into a second report of the window. An IRET that itself faults leaves TF in the image that
// the fault handler returns to: one #DB more than there should be. An instruction whose trap rests
// is stepped over the same way; its faults exit.

bool Backend::wants_step() {
    // Behind another event: our own interrupt ends the guest as soon as that one is delivered.
    if (nmi_wanted_ && event_ && event_.type != HWV_EVENT_NMI && !nmi_blocked())
        hwv_host_cpu_kick(hwv_host_cpu());
    const bool before_iret = iret_seen_ && vmcb_->save.rip == iret_rip_;
    const bool in_shadow = !nmi_blocked() && (vmcb_->control.int_state & int_state::shadow);
    return !(vmcb_->control.event_inj & event::valid) &&
           ((work_ & work_step) || (nmi_wanted_ && (before_iret || in_shadow)));
}

void Backend::arm_step() {
    step_armed_ = true;
    step_rip_ = vmcb_->save.rip;
    step_tf_ = vmcb_->save.rflags & rflags::tf;
    step_dr6_ = vmcb_->save.dr6;
    vmcb_->save.rflags |= rflags::tf;
}

void Backend::disarm_step() {
    step_armed_ = false;
    if (!step_tf_) vmcb_->save.rflags &= ~rflags::tf;
}

// Not every implementation tells a single step by DR6 (Bochs's): past an instruction it can be
// nothing else.
void Backend::after_step(RawExit &raw, bool iret_done) {
    SaveArea &s = vmcb_->save;
    const bool lifted = work_ & work_step;
    if (iret_done)
        step_armed_ = false; // IRET loaded the guest's own TF
    else
        disarm_step();
    const bool ours = raw.code == number(ExitCode::exception + vector::debug) && !step_tf_ &&
                      (lifted ? s.rip != step_rip_ : (s.dr6 & dr6_single_step) != 0);
    if (!ours) return;
    touch(clean::dr);
    if ((s.dr6 ^ step_dr6_) & 0xf) { // a breakpoint of the guest's, too
        s.dr6 = (s.dr6 & ~dr6_single_step) | (step_dr6_ & dr6_single_step);
        return;
    }
    s.dr6 = step_dr6_;
    raw = {.code = number(lifted ? ExitCode::stepped : ExitCode::iret), .rip = s.rip};
}

void Backend::after_nmi_work(RawExit &raw) {
    SaveArea &s = vmcb_->save;
    const bool iret_done = iret_seen_ && s.rip != iret_rip_;
    if (step_armed_) {
        after_step(raw, iret_done);
    } else if (raw.code == number(ExitCode::iret)) {
        iret_seen_ = true;
        iret_rip_ = s.rip;
    }
    if (iret_done) nmi_blocked_ = iret_seen_ = false;
    update_nmi();
}

// IRET is intercepted as long as its coming must be known: always while blocked, with vNMI only for
// a window.
void Backend::update_nmi() {
    const bool blocked = nmi_blocked();
    set_intercept(ExitCode::iret, blocked && !iret_seen_ && (nmi_wanted_ || !vnmi_));
    set_work(work_nmi, blocked || nmi_wanted_);
}

bool Backend::nmi_blocked() const {
    if (vnmi_) return vmcb_->control.int_ctl & int_ctl::v_nmi_mask;
    return nmi_blocked_ && !(iret_seen_ && vmcb_->save.rip != iret_rip_);
}

void Backend::set_intercept(ExitCode code, bool on) {
    Intercepts &i = vmcb_->control.intercepts;
    if (i.has(code) == on) return;
    i.set(code, on);
    touch(clean::intercepts);
}

} // namespace hwv::svm
