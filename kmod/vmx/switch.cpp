// SPDX-License-Identifier: GPL-2.0-only
// switch.cpp - one entry: what is done around the world switch, irqs off. From guest_enter to
// guest_exit nothing may be instrumented, because RCU does not watch. The common entry costs a test
// of work_; all else is behind it.
#include "core/breakpoints.hpp"
#include "vmx/arch.hpp"
#include "vmx/backend.hpp"
#include "vmx/entry_state.hpp"

// enter.S. 0: the guest ran, or failed to be loaded; 1: VMfail; 2: the instruction faulted.
extern "C" int hwv_vmx_switch(std::uint64_t *gprs, bool launched, std::uint32_t spec_ctrl,
                              std::uint64_t *host_rsp);
// The NMI that ended the guest, to the host's handler; NMIs are blocked until it returns.
extern "C" void hwv_vmx_nmi();
static_assert(decltype(hwv::vmx::field::host_rsp)::encoding == 0x6c14); // enter.S writes it

namespace hwv::vmx {

namespace {

constexpr std::uint64_t dr6_idle = 0xffff'0ff0, dr7_enabled = 0xff;
constexpr int vmfail = 1; // of hwv_vmx_switch()
#ifdef HWV_DEBUG
constexpr bool checked = true;
#else
constexpr bool checked = false;
#endif

// What the CPU says of a guest state that it refuses, and hwv of controls.
constexpr std::uint32_t refused_state =
    exit_reason::entry_failure | number(ExitCode::invalid_guest_state);

constexpr bool is_nmi(std::uint32_t interruption) {
    constexpr std::uint32_t wanted = event::valid | event::nmi << event::type_shift;
    return (interruption & (event::valid | event::type)) == wanted;
}

} // namespace

HWV_NOINSTR RawExit Backend::enter(Gprs &gprs) {
    RawExit raw; // what a reason does not need may be anything: zeroing it would cost as much again
    if (work_ & work_no_cpu) [[unlikely]] { // what VMCS is current, if any, is not this vCPU's
        raw = {.rip = rip_, .not_entered = 1};
        return raw;
    }
    raw.rule = raw.not_entered = 0;
    if (gprs[HWV_RSP] != rsp_) write(field::guest_rsp, rsp_ = gprs[HWV_RSP]);
    write_dirty();
    write_host_state();
    if (work_ && !before_entry(raw)) [[unlikely]]
        return raw;
    if (read_cr2() != cr2_) write_cr2(cr2_);

    const bool debug = (arch::read_dr<7>() & dr7_enabled) || (work_ & work_debug);
    hwv_host_guest_enter();
    const int how =
        debug ? switch_debug(gprs) : hwv_vmx_switch(gprs, vmcs_.launched, spec_ctrl_, &host_rsp_);
    cr2_ = read_cr2();
    raw.reason = read(field::exit_reason);
    if (raw.reason == number(ExitCode::exception_or_nmi) && !how) {
        raw.interruption = read(field::exit_interruption);
        if (is_nmi(raw.interruption)) hwv_vmx_nmi();
    }
    hwv_host_guest_exit();

    if (host_debugctl_ | host_pebs_) [[unlikely]]
        restore_tracing();
    if (work_) [[unlikely]]
        after_work();
    if (how || (raw.reason & exit_reason::entry_failure)) [[unlikely]]
        failed(raw, how);
    else
        exited(raw, gprs);
    return raw;
}

// ---- the checker -------------------------------------------------------------------------------

Rule Backend::check_entry() const {
    const auto field = [](auto f, unsigned index) { return read_at(f, index); };
    return check(read_entry_state(field, *task_priority()), Cpus::capabilities().facts);
}

// ---- before ------------------------------------------------------------------------------------

[[gnu::always_inline]] inline void Backend::write_dirty() {
    if (dirty_ & dirty_rip) write(field::guest_rip, rip_);
    if (dirty_ & dirty_rflags) {
        write(field::guest_rflags, rflags_);
        if (shadow()) set_pending_step();
    }
    dirty_ = 0;
    if (event_) write_event();
}

// A valid NMI in the field needs NMIs unblocked: one that is delivered again had blocked them.
void Backend::write_event() {
    const Injection in = from_event(event_, cr0() & cr0::pe);
    if (!in.interruption) return;
    write(field::entry_interruption, in.interruption);
    if (in.interruption & event::has_error_code) write(field::entry_error_code, in.error_code);
    if (is_software(in.interruption)) write(field::entry_instruction_length, in.length);
    if (event_.type == HWV_EVENT_NMI) set_nmi_blocked(false);
}

// What changes in the host under a loaded vCPU: another address space's number, features switched
// by the kernel, perf's settings.
[[gnu::always_inline]] inline void Backend::write_host_state() {
    const std::uint64_t cr3 = read_cr3(), cr4 = read_cr4();
    if (cr3 != host_cr3_) [[unlikely]]
        write(field::host_cr3, host_cr3_ = cr3);
    if (cr4 != host_cr4_) [[unlikely]]
        write(field::host_cr4, host_cr4_ = cr4);
    host_debugctl_ = arch::rdmsr(msr::debugctl);
    if (counters_) rest_counters();
}

bool Backend::before_entry(RawExit &raw) {
    if (checked && (raw.rule = static_cast<std::uint32_t>(check_entry()))) {
        write(field::entry_interruption, 0);
        raw = {.reason = refused_state, .rip = rip_, .rule = raw.rule};
        return false;
    }
    if (work_ & work_flush) {
        const bool one = Cpus::capabilities().invept_context;
        (void)invept(one ? InvalidateBy::context : InvalidateBy::all, table_root_);
        set_work(work_flush, false);
    }
    if (work_ & work_xcr0) arch::xsetbv(0, xcr0_);
    if (work_ & work_l1d) flush_l1d();
    if (work_ & work_timer) write_timer();
    return true;
}

// The controls load 0 into the guest's PERF_GLOBAL_CTRL and the host's value back. PEBS would write
// its records at the host's addresses in the guest's memory: it rests too.
[[gnu::always_inline]] inline void Backend::rest_counters() {
    const std::uint64_t counting = arch::rdmsr(msr::perf_global_ctrl);
    if (counting != host_perf_) [[unlikely]]
        write(field::host_perf_global_ctrl, host_perf_ = counting);
    if (counting) [[unlikely]]
        rest_pebs();
}

void Backend::rest_pebs() {
    host_pebs_ = Cpus::capabilities().pebs ? arch::rdmsr(msr::pebs_enable) : 0;
    if (host_pebs_) arch::wrmsr(msr::pebs_enable, 0);
}

// L1TF: only where the kernel says so, and as often. What a guest may not read comes into the cache
// while the thread is in user space or serves a fault, and by interrupts of the host.
void Backend::flush_l1d() {
    const bool wanted = hwv_host_l1d_flush(l1d_stale_);
    l1d_stale_ = false;
    if (!wanted) return;
    if (Cpus::capabilities().l1d_flush)
        arch::wrmsr(msr::flush_cmd, flush_cmd::l1d);
    else
        Cpus::l1d().replace();
}

// "VMX-Preemption Timer": it counts down from the field's value at each entry, and at 0 the guest
// exits before its first instruction. One more than fits, so as not to be too early.
void Backend::write_timer() {
    const std::uint64_t now = arch::rdtsc();
    const std::uint64_t left =
        now < deadline_ ? ((deadline_ - now) >> Cpus::capabilities().timer_shift) + 1 : 0;
    write(field::preemption_timer, left < timer_off ? static_cast<std::uint32_t>(left) : timer_off);
}

// ---- after -------------------------------------------------------------------------------------

void Backend::after_work() {
    if (work_ & work_xcr0) arch::xsetbv(0, host_xcr0_);
}

// VM exits clear DEBUGCTL.
void Backend::restore_tracing() {
    if (host_debugctl_) arch::wrmsr(msr::debugctl, host_debugctl_);
    if (host_pebs_) arch::wrmsr(msr::pebs_enable, host_pebs_);
    host_pebs_ = 0;
}

[[gnu::always_inline]] inline void Backend::exited(RawExit &raw, Gprs &gprs) {
    vmcs_.launched = entered_ = true;
    event_.type = HWV_EVENT_NONE;
    known_ = 0;
    rip_ = raw.rip = read(field::guest_rip);
    rsp_ = gprs[HWV_RSP] = read(field::guest_rsp);
    raw.qualification = raw.guest_physical = 0;
    raw.vectoring = 0;
    const std::uint8_t needed = reason_entry(raw.reason).needs;
    if (needed & needs::length) raw.length = read(field::exit_instruction_length);
    if (needed & ~needs::length) read_details(raw, needed);
}

void Backend::read_details(RawExit &raw, std::uint8_t needed) {
    if (needed & needs::qualification) raw.qualification = read(field::qualification);
    if (needed & needs::guest_physical) raw.guest_physical = read(field::guest_physical);
    if (needed & needs::interruption) {
        raw.interruption = read(field::exit_interruption);
        raw.interruption_error = read(field::exit_interruption_error);
    }
    if ((needed & needs::instruction_info) && is_string_io(raw.qualification))
        raw.instruction_info = read(field::exit_instruction_info);
    if (!(needed & needs::vectoring)) return;
    l1d_stale_ = true;
    raw.vectoring = read(field::vectoring);
    if (raw.vectoring & event::valid) [[unlikely]] {
        raw.vectoring_error = read(field::vectoring_error);
        raw.entry_length = read(field::exit_instruction_length);
    }
    if (iret_unblocked_nmis(raw)) [[unlikely]]
        set_nmi_blocked(true);
}

// The guest did not run. Its state is what it was; the VMCS still holds the event. Controls and the
// host's state the CPU refuses with an error number instead of an exit reason.
void Backend::failed(RawExit &raw, int how) {
    const std::uint32_t error = how == vmfail ? read(field::instruction_error) : 0;
    const bool refused = !how || error;
    const Rule found = refused ? check_entry() : Rule::none;
    const bool unknown = error && found == Rule::none;
    const Rule rule = unknown ? Rule::instruction_error + error : found;
    raw = {.reason = error ? refused_state
                     : how ? 0
                           : raw.reason,
           .qualification = how ? 0 : read(field::qualification),
           .rip = rip_,
           .rule = static_cast<std::uint32_t>(rule),
           .not_entered = !refused};
    if (how) hwv_host_log("VM entry failed: instruction error %llu, rule %llu", error, raw.rule);
    write(field::entry_interruption, 0);
    host_rsp_ = 0;   // write it again, whatever the VMCS took of it
    entered_ = true; // a failure may have loaded some of the host's state
}

// ---- debug registers: the guest's live in the CPU only from now until after the exit ----

HWV_NOINSTR int Backend::switch_debug(Gprs &gprs) {
    const bool guest_uses = work_ & work_debug;
    const auto run = [&]() __attribute__((always_inline)) {
        if (guest_uses) arch::write_dr<6>(dr6_);
        const int how = hwv_vmx_switch(gprs, vmcs_.launched, spec_ctrl_, &host_rsp_);
        if (!guest_uses) return how;
        dr6_ = arch::read_dr<6>();
        arch::write_dr<6>(dr6_idle);
        return how;
    };
    return with_breakpoints(guest_uses, dr_, run);
}

} // namespace hwv::vmx
