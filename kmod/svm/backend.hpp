// SPDX-License-Identifier: GPL-2.0-only
// backend.hpp - one vCPU on AMD: the model of core/backend.hpp. enter() and what it calls are in
// switch.cpp, the rest in backend.cpp. Between exits every register of the guest is in the VMCB, in
// the array of the GPRs or here; nothing of it is left in the CPU but TSC_AUX.
#pragma once
#include "core/backend.hpp"
#include "cpu/tsc.hpp"
#include "npt/format_npt.hpp"
#include "svm/checker.hpp"
#include "svm/cpu.hpp"
#include "svm/decode.hpp"
#include "svm/maps.hpp"
#include "svm/msr.hpp"
#include "svm/vmcb.hpp"

namespace hwv::svm {

class Backend {
  public:
    using RawExit = svm::RawExit;
    using TableFormat = npt::NptFormat;

    Backend() = default;
    Backend(const Backend &) = delete;
    Backend &operator=(const Backend &) = delete;

    Status init(std::uint32_t id);
    void destroy();
    void reset();

    void load(const LoadContext &context);
    void put();
    bool reachable() const { return true; } // the VMCB is memory

    RawExit enter(Gprs &gprs);
    [[gnu::always_inline]] static constexpr Exit decode(const RawExit &raw) {
        return svm::decode(raw);
    }
    const std::uint8_t *instruction_bytes(const RawExit &raw) const;

    std::uint64_t rip() const { return vmcb_->save.rip; }
    void set_rip(std::uint64_t v) { vmcb_->save.rip = v; }
    std::uint64_t rflags() const { return vmcb_->save.rflags; }
    void set_rflags(std::uint64_t v) { vmcb_->save.rflags = v; }
    std::uint64_t cr0() const { return (cr0_ & ~guest_cr0) | (vmcb_->save.cr0 & guest_cr0); }
    void set_cr0(std::uint64_t v);
    std::uint64_t cr2() const { return vmcb_->save.cr2; }
    void set_cr2(std::uint64_t v) {
        vmcb_->save.cr2 = v;
        touch(clean::cr2);
    }
    std::uint64_t cr3() const { return vmcb_->save.cr3; }
    void set_cr3(std::uint64_t v) {
        vmcb_->save.cr3 = v;
        touch(clean::cr);
    }
    std::uint64_t cr4() const { return cr4_; }
    void set_cr4(std::uint64_t v);
    std::uint8_t tpr() const { return vmcb_->control.int_ctl & int_ctl::v_tpr; }
    void set_tpr(std::uint8_t v) { set_int_ctl(int_ctl::v_tpr, v); }
    std::uint64_t efer() const { return vmcb_->save.efer & ~efer::svme; }
    void set_efer(std::uint64_t v) {
        vmcb_->save.efer =
            v | efer::svme; // "Canonicalization and Consistency Checks": must be 1 in the guest
        touch(clean::cr);
    }
    unsigned cpl() const { return vmcb_->save.cpl; }
    Segment segment(unsigned index) const;
    std::uint16_t code_attributes() const { return vmcb_->save.cs.attributes & 0xfff; }
    void set_segment(unsigned index, const Segment &s);
    TableRegister gdtr() const { return {vmcb_->save.gdtr.base, vmcb_->save.gdtr.limit, 0}; }
    void set_gdtr(const TableRegister &t) { set_table(vmcb_->save.gdtr, t); }
    TableRegister idtr() const { return {vmcb_->save.idtr.base, vmcb_->save.idtr.limit, 0}; }
    void set_idtr(const TableRegister &t) { set_table(vmcb_->save.idtr, t); }
    std::uint64_t debug(unsigned n) const;
    void set_debug(unsigned n, std::uint64_t v);
    void grant_debug();
    std::optional<std::uint64_t> msr(std::uint32_t index) const;
    bool set_msr(std::uint32_t index, std::uint64_t v);
    void set_xcr0(std::uint64_t v);

    void inject(const Event &e);
    Event injecting() const { return event_; }
    void want_interrupt_window(bool on, std::uint8_t priority);
    void want_nmi_window(bool on);
    std::uint8_t shadow() const {
        // one bit for both kinds: taken for the stricter
        return vmcb_->control.int_state & int_state::shadow ? HWV_SHADOW_STI | HWV_SHADOW_MOV_SS
                                                            : 0;
    }
    void set_shadow(std::uint8_t v) { vmcb_->control.int_state = v ? int_state::shadow : 0; }
    bool nmi_blocked() const;
    void set_nmi_blocked(bool on);

    static Traps trappable();
    Status allocate_msr_map();
    void set_traps(const Traps &traps);
    void step_past(ExitReason reason);

    void set_table_root(std::uint64_t pa);
    void flush_translations();
    void set_tsc_ratio(cpu::TscRatio v) { tsc_ratio_ = v; }
    void set_tsc_offset(std::uint64_t v) {
        vmcb_->control.tsc_offset = v;
        touch(clean::intercepts);
    }

    const Vmcb &vmcb() const { return *vmcb_; } // for the checker and tests

  private:
    // Bits of CR0 that the guest changes without an exit; APM "CR0 selective write".
    static constexpr std::uint64_t guest_cr0 = cr0::ts | cr0::mp;

    // What an entry has to do besides VMRUN: bits of work_.
    enum Work : std::uint32_t {
        work_xcr0 = 1u << 0,   // the guest's XCR0 differs from the host's
        work_debug = 1u << 1,  // the guest's DR0-3 go into the CPU
        work_nmi = 1u << 2,    // NMIs are blocked, or a window is wanted
        work_inject = 1u << 3, // an NMI or a software interrupt is injected
        work_no_cpu = 1u << 4, // not loaded on a CPU in service
        work_ssbd = 1u << 5,   // SSBD is on in the guest, by VIRT_SPEC_CTRL
        work_step = 1u << 6,   // one instruction alone
    };

    void touch(std::uint32_t groups) { vmcb_->control.clean &= ~groups; }
    void set_int_ctl(std::uint64_t mask, std::uint64_t value) {
        const std::uint64_t now = vmcb_->control.int_ctl, next = (now & ~mask) | value;
        if (next == now) return;
        vmcb_->control.int_ctl = next;
        touch(clean::int_ctl);
    }
    void set_intercept(ExitCode code, bool on);
    void set_work(std::uint32_t bits, bool on) { work_ = on ? work_ | bits : work_ & ~bits; }
    void set_table(VmcbSegment &to, const TableRegister &t);
    void intercept_debug();
    void take_debug();
    void intercept_trapped();
    void intercept_control();
    void update_xcr0();
    void update_nmi();
    void assign_asid();
    void load_msrs();
    void put_msrs();
    bool exchanges_ratio() const {
        return Cpus::capabilities().tsc_ratio && (beside_kvm_ || tsc_ratio_ != tsc_ratio_default);
    }
    VmcbSegment *segment_of(unsigned index) const;
    std::uint64_t *switched_msr(std::uint32_t index) const;
    void reset_control();
    void reset_save();

    // switch.cpp: irqs off, nothing instrumented
    void entered();
    bool may_enter(RawExit &raw);
    void refresh_host();
    void store_host();
    void leave_to_kvm();
    static void barrier();
    bool before_entry();
    void after_exit(RawExit &raw, bool faulted);
    bool switch_debug(Gprs &gprs);
    void begin_injection();
    bool wants_step();
    void arm_step();
    void disarm_step();
    void after_step(RawExit &raw, bool iret_done);
    void after_nmi_work(RawExit &raw);

    Vmcb *vmcb_ = nullptr;
    hwv_host_page page_{};
    std::uint64_t vmcb_pa_ = 0;
    Cpu *cpu_ = nullptr; // where it is loaded
    bool beside_kvm_ = false;
    std::uint64_t host_state_pa_ = 0;
    std::uint32_t host_ldt_ = 0; // selector when the host's half was stored
    std::uint32_t work_ = work_no_cpu;
    std::uint32_t spec_ctrl_ = 0;
    std::uint64_t virt_spec_ctrl_ = 0;

    // facts, copied so that an entry reads nothing else
    std::uint64_t next_rip_mask_ = 0; // ~0 with NRIPS
    bool decode_assists_ = false, vnmi_ = false;
    std::uint64_t host_xcr0_ = 1;
    std::uint64_t address_bits_ = 0;

    Event event_{};
    Asid asid_{};
    std::uint64_t cr0_ = 0; // as the guest sees it, less guest_cr0
    std::uint64_t cr4_ = 0;
    std::uint64_t dr_[4] = {};
    std::uint64_t xcr0_ = 1;
    std::uint64_t tsc_aux_ = 0, host_tsc_aux_ = 0, host_tsc_ratio_ = tsc_ratio_default;
    cpu::TscRatio tsc_ratio_ = cpu::tsc_as_host; // in the MSR's own format
    bool debug_granted_ = false;
    bool held_by_tpr_ = false; // an interrupt: CR8's writes tell when no more
    Traps traps_{};
    ExitReason lifted_ = HWV_EXIT_NONE; // its traps rest for an instruction
    MsrMap msr_map_;                    // only with traps on MSRs

    // Blocking of NMIs where the CPU does not virtualize it (vNMI): from injection until IRET is
    // done.
    bool nmi_blocked_ = false;
    bool nmi_wanted_ = false;
    bool iret_seen_ = false;  // the CPU stood before the IRET at iret_rip_
    bool step_armed_ = false; // TF is ours, for one instruction
    bool step_tf_ = false;    // the guest's TF meanwhile
    std::uint64_t iret_rip_ = 0;
    std::uint64_t step_rip_ = 0, step_dr6_ = 0; // and where, and DR6 before it
};

} // namespace hwv::svm
