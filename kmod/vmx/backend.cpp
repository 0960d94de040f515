// SPDX-License-Identifier: GPL-2.0-only
#include "vmx/backend.hpp"

namespace hwv::vmx {

static_assert(hwv::Backend<Backend>);

// ---- life --------------------------------------------------------------------------------------

Status Backend::init(std::uint32_t id) {
    TRY(vmcs_.create(Cpus::capabilities().revision));
    TRY(from_errno(hwv_host_pages_alloc(0, &apic_page_)));
    if (Cpus::capabilities().posted) TRY(from_errno(hwv_host_pages_alloc(0, &posted_page_)));
    id_ = id;
    host_xcr0_ = hwv_host_facts()->xcr0;
    set_work(work_l1d, hwv_host_facts()->speculation & HWV_SPEC_L1D_FLUSH);
    counters_ = Cpus::capabilities().perf_global_ctrl;
    reset();
    return {};
}

void Backend::destroy() {
    vmcs_.destroy();
    msr_map_.destroy();
    for (hwv_host_page *page : {&apic_page_, &posted_page_}) {
        if (page->va) hwv_host_pages_free(page, 0);
        *page = {};
    }
}

// Before the first load() there is no VMCS to write to.
void Backend::reset() {
    event_ = {};
    for (std::uint64_t &dr : dr_)
        dr = 0;
    dr6_ = 0xffff'0ff0;
    xcr0_ = 1;
    cr2_ = rsp_ = 0;
    spec_ctrl_ = 0;
    for (std::uint32_t index :
         {msr::star, msr::lstar, msr::sfmask, msr::kernel_gs_base, msr::tsc_aux})
        (void)set_msr(index, 0);
    cstar_ = 0;
    set_work(work_timer, false);
    debug_granted_ = false;
    lifted_ = HWV_EXIT_NONE;
    *task_priority() = 0;
    fresh_ = true;
    if (loaded_) write_all();
}

void Backend::write_all() {
    fresh_ = false;
    known_ = 0;
    reset_control();
    reset_state();
    reset_segments();
    write_host();
    set_table_root(table_root_);
    set_tsc_offset(tsc_offset_);
}

// "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields".
void Backend::reset_control() {
    const Capabilities &can = Cpus::capabilities();
    primary_ = can.primary_controls();
    entry_controls_ = can.entry_controls();
    threshold_ = 0;
    write(field::pin_controls, can.pin_controls());
    write(field::primary_controls, primary_);
    const bool scaled = tsc_ratio_ != cpu::tsc_as_host;
    secondary_ = can.secondary_controls() | (scaled ? secondary::use_tsc_scaling : 0);
    write(field::secondary_controls, secondary_);
    if (scaled) write(field::tsc_multiplier, tsc_ratio_ << 16); // 48 bits are a fraction
    write(field::exit_controls, can.exit_controls());
    write(field::entry_controls, entry_controls_);
    write(field::pf_error_mask, 0);
    write(field::pf_error_match, 0);
    write(field::cr3_target_count, 0);
    write(field::exit_msr_store_count, 0);
    write(field::exit_msr_load_count, 0);
    write(field::entry_msr_load_count, 0);
    write(field::entry_interruption, 0);
    write(field::tpr_threshold, 0);
    write(field::virtual_apic, apic_page_.pa);
    if (can.posted) {
        write(field::posted_vector, static_cast<std::uint16_t>(hwv_host_facts()->posted_vector));
        write(field::posted_descriptor, posted_page_.pa);
    }
    if (can.apicv) reset_delivery();
    write(field::vmcs_link, ~0ull);
    if (can.timer) write(field::preemption_timer, timer_off);
    if (can.vpid) write(field::vpid, static_cast<std::uint16_t>(id_ + 1));
    if (can.facts.secondary.has(secondary::pause_loop_exiting)) {
        write(field::ple_gap, 128); // as KVM's defaults, in TSC ticks
        write(field::ple_window, 4096);
    }
    if (can.facts.secondary.has(secondary::encls_exiting)) write(field::encls_exit_bitmap, ~0ull);
    if (can.facts.secondary.has(secondary::enclv_exiting)) write(field::enclv_exit_bitmap, ~0ull);
}

// "Processor State After Power-up, Reset, or INIT".
void Backend::reset_state() {
    set_efer(0);
    set_cr0(0x6000'0010);
    set_cr4(0);
    set_cr3(0);
    set_rip(0xfff0);
    set_rflags(rflags::fixed);
    write(field::guest_rsp, rsp_);
    write(field::guest_dr7, 0x400);
    write(field::guest_debugctl, 0);
    write(field::guest_pat, 0x0007'0406'0007'0406);
    if (Cpus::capabilities().perf_global_ctrl) write(field::guest_perf_global_ctrl, 0);
    write(field::guest_sysenter_cs, 0);
    write(field::guest_sysenter_esp, 0);
    write(field::guest_sysenter_eip, 0);
    write(field::guest_interruptibility, 0);
    write(field::guest_activity, activity::active);
    write(field::guest_pending_debug, 0);
    set_page_directory_pointers({});
    write_traps();
}

void Backend::reset_segments() {
    for (unsigned i : {HWV_ES, HWV_SS, HWV_DS, HWV_FS, HWV_GS})
        set_segment(i, {0, 0xffff, 0, 0x93});
    set_segment(HWV_CS, {0xffff'0000, 0xffff, 0xf000, 0x9b});
    set_segment(HWV_LDTR, {0, 0xffff, 0, 0x82});
    set_segment(HWV_TR, {0, 0xffff, 0, 0x8b});
    set_gdtr({0, 0xffff, 0});
    set_idtr({0, 0xffff, 0});
}

// ---- memory and time ---------------------------------------------------------------------------

void Backend::set_table_root(std::uint64_t pointer) {
    table_root_ = pointer;
    if (fresh_) return;
    write(field::ept_pointer, pointer);
    flush_translations();
}

void Backend::set_tsc_offset(std::uint64_t v) {
    tsc_offset_ = v;
    if (!fresh_) write(field::tsc_offset, v);
}

// The timer is left on: at its largest value something of the host's ends the guest before it does.
void Backend::set_deadline(std::uint64_t tsc) {
    deadline_ = tsc;
    set_work(work_timer, tsc != 0);
    if (!tsc) write(field::preemption_timer, timer_off);
}

void Backend::set_page_directory_pointers(const std::uint64_t (&entries)[4]) {
    for (unsigned i = 0; i < 4; i++)
        write_at(field::guest_pdpte_0, i, entries[i]);
}

// ---- control registers -------------------------------------------------------------------------

// "Restrictions on VMX Operation": CR0.NE must be set; PE and PG need not be in an unrestricted
// guest. CD and NW would make the guest run without caches. It reads the shadow.
void Backend::set_cr0(std::uint64_t v) {
    constexpr std::uint64_t unrestricted = cr0::pe | cr0::pg;
    const CheckerFacts &fixed = Cpus::capabilities().facts;
    cr0_ = v | cr0::et;
    real_cr0_ =
        ((cr0_ & ~(cr0::cd | cr0::nw)) | (fixed.cr0_fixed0 & ~unrestricted)) & fixed.cr0_fixed1;
    known_ |= known_cr0;
    write(field::guest_cr0, real_cr0_);
    write(field::cr0_shadow, cr0_);
}

// VMXE must be set. A machine check with CR4.MCE clear shuts the CPU down, so it is always set.
void Backend::set_cr4(std::uint64_t v) {
    cr4_ = v;
    const CheckerFacts &fixed = Cpus::capabilities().facts;
    real_cr4_ = ((v | cr4::mce) & fixed.cr4_fixed1) | fixed.cr4_fixed0;
    known_ |= known_cr4;
    write(field::guest_cr4, real_cr4_);
    write(field::cr4_shadow, v);
    update_xcr0();
}

// "Checks on Guest Control Registers, Debug Registers, and MSRs": EFER.LMA and the control agree.
void Backend::set_efer(std::uint64_t v) {
    efer_ = v;
    write(field::guest_efer, v);
    const std::uint32_t controls = v & efer::lma
                                       ? entry_controls_ | entry_control::ia32e_mode_guest
                                       : entry_controls_ & ~entry_control::ia32e_mode_guest;
    if (controls != entry_controls_) write(field::entry_controls, entry_controls_ = controls);
}

void Backend::set_xcr0(std::uint64_t v) {
    xcr0_ = v;
    update_xcr0();
}

// Without CR4.OSXSAVE nothing that the guest can do depends on XCR0.
void Backend::update_xcr0() { set_work(work_xcr0, (cr4_ & cr4::osxsave) && xcr0_ != host_xcr0_); }

// ---- segments ----------------------------------------------------------------------------------

Segment Backend::segment(unsigned index) const {
    std::uint16_t attributes = to_attributes(read_at(field::guest_es_access_rights, index));
    if (attributes & segment::unusable) attributes &= ~segment::present;
    return {read_at(field::guest_es_base, index), read_at(field::guest_es_limit, index),
            read_at(field::guest_es_selector, index), attributes};
}

// "Checks on Guest Segment Registers": a loaded code or data segment has been accessed, a loaded
// task's is busy, and G says in what unit the limit was.
void Backend::set_segment(unsigned index, const Segment &s) {
    std::uint16_t attributes = s.attributes & 0x1fff;
    if (!(attributes & segment::present)) attributes |= segment::unusable;
    if (attributes & segment::s) attributes |= 1;
    if (index == HWV_TR) attributes |= 2;
    if (s.limit > 0xf'ffff)
        attributes |= segment::g;
    else if ((s.limit & 0xfff) != 0xfff)
        attributes &= ~segment::g;
    write_at(field::guest_es_selector, index, s.selector);
    write_at(field::guest_es_base, index, s.base);
    write_at(field::guest_es_limit, index, s.limit);
    write_at(field::guest_es_access_rights, index, to_access_rights(attributes));
    known_ &= ~known_code;
}

TableRegister Backend::gdtr() const {
    return {read(field::guest_gdtr_base), static_cast<std::uint16_t>(read(field::guest_gdtr_limit)),
            0};
}
TableRegister Backend::idtr() const {
    return {read(field::guest_idtr_base), static_cast<std::uint16_t>(read(field::guest_idtr_limit)),
            0};
}
void Backend::set_gdtr(const TableRegister &t) {
    write(field::guest_gdtr_base, t.base);
    write(field::guest_gdtr_limit, t.limit);
}
void Backend::set_idtr(const TableRegister &t) {
    write(field::guest_idtr_base, t.base);
    write(field::guest_idtr_limit, t.limit);
}

// ---- debug registers ---------------------------------------------------------------------------

std::uint64_t Backend::debug(unsigned n) const {
    return n < 4 ? dr_[n] : n == 6 ? dr6_ : read(field::guest_dr7);
}

void Backend::set_debug(unsigned n, std::uint64_t v) {
    if (n < 4)
        dr_[n] = v;
    else if (n == 6)
        dr6_ = v;
    else
        write(field::guest_dr7, v);
    intercept_debug();
}

void Backend::grant_debug() {
    debug_granted_ = true;
    intercept_debug();
}

// DR7 is switched by the CPU, DR0-3 and DR6 by hand: only for a guest that uses them.
void Backend::intercept_debug() {
    set_work(work_debug, debug_granted_ || (read(field::guest_dr7) & 0xff));
    set_primary(primary::mov_dr_exiting, !debug_granted_ || traps_.debug_registers());
}

// ---- MSRs --------------------------------------------------------------------------------------

std::uint64_t *Backend::held_msr(std::uint32_t index) {
    switch (index) {
    case msr::star: return &guest_msrs_.star;
    case msr::lstar: return &guest_msrs_.lstar;
    case msr::sfmask: return &guest_msrs_.sfmask;
    case msr::kernel_gs_base: return &guest_msrs_.kernel_gs_base;
    case msr::tsc_aux: return Cpus::capabilities().tsc_aux ? &guest_msrs_.tsc_aux : nullptr;
    default: return nullptr;
    }
}

std::optional<std::uint64_t> Backend::msr(std::uint32_t index) const {
    switch (index) {
    case msr::sysenter_cs: return read(field::guest_sysenter_cs);
    case msr::sysenter_esp: return read(field::guest_sysenter_esp);
    case msr::sysenter_eip: return read(field::guest_sysenter_eip);
    case msr::fs_base: return read(field::guest_fs_base);
    case msr::gs_base: return read(field::guest_gs_base);
    case msr::pat: return read(field::guest_pat);
    case msr::star: return guest_msrs_.star;
    case msr::lstar: return guest_msrs_.lstar;
    case msr::cstar: return cstar_;
    case msr::sfmask: return guest_msrs_.sfmask;
    case msr::kernel_gs_base: return loaded_ ? arch::rdmsr(index) : guest_msrs_.kernel_gs_base;
    case msr::tsc_aux:
        if (Cpus::capabilities().tsc_aux) return guest_msrs_.tsc_aux;
        break;
    case msr::spec_ctrl:
        if (hwv_host_facts()->speculation & HWV_SPEC_CTRL) return spec_ctrl_;
        break;
    default: break;
    }
    return std::nullopt;
}

bool Backend::set_msr(std::uint32_t index, std::uint64_t v) {
    if (std::uint64_t *held = held_msr(index)) {
        *held = v;
        if (loaded_) arch::wrmsr(index, v);
        return true;
    }
    switch (index) {
    case msr::sysenter_cs: write(field::guest_sysenter_cs, static_cast<std::uint32_t>(v)); break;
    case msr::sysenter_esp: write(field::guest_sysenter_esp, v); break;
    case msr::sysenter_eip: write(field::guest_sysenter_eip, v); break;
    case msr::fs_base: write(field::guest_fs_base, v); break;
    case msr::gs_base: write(field::guest_gs_base, v); break;
    case msr::pat: write(field::guest_pat, v); break;
    case msr::cstar: cstar_ = v; break;
    case msr::spec_ctrl:
        if (!(hwv_host_facts()->speculation & HWV_SPEC_CTRL)) return false;
        spec_ctrl_ = static_cast<std::uint32_t>(v);
        break;
    // Barriers are actions and no state.
    case msr::pred_cmd:
    case msr::flush_cmd: return arch::wrmsr_safe(index, v);
    default: return false;
    }
    return true;
}

// ---- events ------------------------------------------------------------------------------------

void Backend::set_primary(std::uint32_t bits, bool on) {
    const std::uint32_t next = on ? primary_ | bits : primary_ & ~bits;
    if (next != primary_) write(field::primary_controls, primary_ = next);
}

void Backend::set_secondary(std::uint32_t bits, bool on) {
    const std::uint32_t next = on ? secondary_ | bits : secondary_ & ~bits;
    if (next != secondary_) write(field::secondary_controls, secondary_ = next);
}

void Backend::set_threshold(std::uint8_t v) {
    if (v != threshold_) write(field::tpr_threshold, std::uint32_t{threshold_ = v});
}

// An open window does not look at the task priority. A vector that the priority holds back is
// watched for by the threshold: "TPR Virtualization".
void Backend::want_interrupt_window(bool on, std::uint8_t priority) {
    const bool held = on && priority <= tpr();
    set_primary(primary::interrupt_window_exiting, on && !held);
    set_threshold(held ? priority : 0);
}

// "VM-Execution Control Fields": the threshold may not be above the priority when a guest is
// entered.
void Backend::set_tpr(std::uint8_t v) {
    if (v != tpr()) *task_priority() = static_cast<std::uint8_t>(v << 4); // or keep the sub-class
    if (threshold_ > v) set_threshold(v);
}

void Backend::set_interruptibility(std::uint32_t mask, std::uint32_t value) {
    const std::uint32_t next = (interruptibility() & ~mask) | value;
    if (next != interruptibility_) write(field::guest_interruptibility, interruptibility_ = next);
}

void Backend::set_shadow(std::uint8_t v) {
    set_interruptibility(interruptibility::sti | interruptibility::mov_ss, v);
    if (v)
        set_pending_step();
    else
        write(field::guest_pending_debug, 0);
}

// "Checks on Guest Non-Register State": in a shadow, a single step is pending where TF asks for it.
void Backend::set_pending_step() {
    const std::uint64_t others = read(field::guest_pending_debug) & ~pending_debug::single_step;
    const bool step = rflags() & rflags::tf;
    write(field::guest_pending_debug, others | (step ? pending_debug::single_step : 0));
}

void Backend::set_nmi_blocked(bool on) {
    set_interruptibility(interruptibility::nmi, on ? interruptibility::nmi : 0);
}

} // namespace hwv::vmx
