// SPDX-License-Identifier: GPL-2.0-only
// backend.hpp - one vCPU on Intel: the model of core/backend.hpp. enter() and what it calls are in
// switch.cpp, the rest in backend.cpp. Between exits the guest is in the VMCS, in the array of the
// GPRs, on the virtual-APIC page (TPR) and here; from load() to put() the VMCS is the CPU's current
// one, and the CPU holds the guest's system call MSRs, KERNEL_GS_BASE and TSC_AUX.
#pragma once
#include "core/backend.hpp"
#include "cpu/tsc.hpp"
#include "vmx/arch.hpp"
#include "vmx/checker.hpp"
#include "vmx/controls.hpp"
#include "vmx/cpu.hpp"
#include "vmx/decode.hpp"

// enter.S: where VM exits arrive.
extern "C" const char hwv_vmx_exit[];

namespace hwv::vmx {

class Backend {
  public:
    using RawExit = vmx::RawExit;
    using TableFormat = npt::EptFormat;

    Backend() = default;
    Backend(const Backend &) = delete;
    Backend &operator=(const Backend &) = delete;

    Status init(std::uint32_t id);
    void destroy();
    void reset();

    void load(const LoadContext &context);
    void put();
    bool reachable() const { return loaded_; }

    RawExit enter(Gprs &gprs);
    [[gnu::always_inline]] static constexpr Exit decode(const RawExit &raw) {
        return vmx::decode(raw);
    }
    const std::uint8_t *instruction_bytes(const RawExit &) const { return nullptr; }

    std::uint64_t rip() const { return rip_; }
    void set_rip(std::uint64_t v) {
        rip_ = v;
        dirty_ |= dirty_rip;
    }
    std::uint64_t rflags() const {
        return known(known_rflags) ? rflags_ : learn(known_rflags, rflags_, field::guest_rflags);
    }
    void set_rflags(std::uint64_t v) {
        rflags_ = v;
        known_ |= known_rflags;
        dirty_ |= dirty_rflags;
    }
    std::uint64_t cr0() const {
        const std::uint64_t v =
            known(known_cr0) ? real_cr0_ : learn(known_cr0, real_cr0_, field::guest_cr0);
        return (cr0_ & ~guest_cr0) | (v & guest_cr0);
    }
    void set_cr0(std::uint64_t v);
    std::uint64_t cr2() const { return cr2_; }
    void set_cr2(std::uint64_t v) { cr2_ = v; }
    std::uint64_t cr3() const { return read(field::guest_cr3); }
    void set_cr3(std::uint64_t v) { write(field::guest_cr3, v); }
    std::uint64_t cr4() const {
        const std::uint64_t v =
            known(known_cr4) ? real_cr4_ : learn(known_cr4, real_cr4_, field::guest_cr4);
        return (cr4_ & ~guest_cr4) | (v & guest_cr4);
    }
    void set_cr4(std::uint64_t v);
    std::uint8_t tpr() const { return *task_priority() >> 4; }
    void set_tpr(std::uint8_t v);
    std::uint64_t efer() const { return efer_; }
    void set_efer(std::uint64_t v);
    unsigned cpl() const {
        return (read(field::guest_ss_access_rights) & access_rights::dpl) >>
               access_rights::dpl_shift;
    }
    Segment segment(unsigned index) const;
    std::uint16_t code_attributes() const {
        return known(known_code) ? code_attributes_ : learn_code();
    }
    void set_segment(unsigned index, const Segment &s);
    TableRegister gdtr() const;
    void set_gdtr(const TableRegister &t);
    TableRegister idtr() const;
    void set_idtr(const TableRegister &t);
    std::uint64_t debug(unsigned n) const;
    void set_debug(unsigned n, std::uint64_t v);
    void grant_debug();
    std::optional<std::uint64_t> msr(std::uint32_t index) const;
    bool set_msr(std::uint32_t index, std::uint64_t v);
    void set_xcr0(std::uint64_t v);

    void inject(const Event &e) { event_ = e; }
    Event injecting() const { return event_; }
    void want_interrupt_window(bool on, std::uint8_t priority);
    void want_nmi_window(bool on) { set_primary(primary::nmi_window_exiting, on); }
    std::uint8_t shadow() const {
        return interruptibility() & (interruptibility::sti | interruptibility::mov_ss);
    }
    void set_shadow(std::uint8_t v);
    bool nmi_blocked() const { return interruptibility() & interruptibility::nmi; }
    void set_nmi_blocked(bool on);

    static Traps trappable();
    Status allocate_msr_map() { return msr_map_ ? Status{} : msr_map_.create(); }
    void set_traps(const Traps &traps);
    void step_past(ExitReason reason);

    void set_table_root(std::uint64_t pointer); // EPTP
    void flush_translations() { set_work(work_flush, true); }
    void set_tsc_offset(std::uint64_t v);
    void set_tsc_ratio(cpu::TscRatio v) { tsc_ratio_ = v; }
    bool has_timer() const { return Cpus::capabilities().timer; }
    void set_deadline(std::uint64_t tsc);
    cpu::ApicPage *apic_page() const; // apic.cpp
    cpu::PostedRequests *posted_requests() const;
    void deliver_from_page(bool on);
    void set_apic_summary(const cpu::ApicSummary &summary);
    // "PDPTE Registers": in PAE paging the CPU takes the four from the VMCS at entry.
    void set_page_directory_pointers(const std::uint64_t (&entries)[4]);

  private:
    // Bits of control registers that the guest changes without an exit.
    static constexpr std::uint64_t guest_cr0 = cr0::ts | cr0::mp | cr0::em | cr0::wp | cr0::am;
    static constexpr std::uint64_t guest_cr4 =
        cr4::tsd | cr4::de | cr4::pge | cr4::osfxsr | cr4::osxmmexcpt;

    // What an entry has to do besides the switch: bits of work_.
    enum Work : std::uint32_t {
        work_xcr0 = 1u << 0,   // the guest's XCR0 differs from the host's
        work_debug = 1u << 1,  // the guest's DR0-3 and DR6 go into the CPU
        work_flush = 1u << 2,  // translations are stale
        work_l1d = 1u << 3,    // L1TF: the data cache may have to be flushed
        work_timer = 1u << 4,  // the preemption timer counts to deadline_
        work_no_cpu = 1u << 5, // not loaded, or on a CPU that is not in service
    };
    enum Known : std::uint32_t { // read from the VMCS since the exit
        known_rflags = 1u << 0,
        known_cr0 = 1u << 1,
        known_cr4 = 1u << 2,
        known_code = 1u << 3,
        known_interruptibility = 1u << 4,
    };
    enum Dirty : std::uint32_t { dirty_rip = 1u << 0, dirty_rflags = 1u << 1 };

    bool known(Known what) const { return known_ & what; }
    template <typename T, std::uint16_t E>
    T learn(Known what, T &where, Field<T, E> f) const {
        known_ |= what;
        return where = read(f);
    }
    std::uint16_t learn_code() const {
        known_ |= known_code;
        return code_attributes_ = to_attributes(read(field::guest_cs_access_rights));
    }
    std::uint32_t interruptibility() const {
        return known(known_interruptibility) ? interruptibility_
                                             : learn(known_interruptibility, interruptibility_,
                                                     field::guest_interruptibility);
    }
    void set_interruptibility(std::uint32_t mask, std::uint32_t value);
    void set_pending_step();
    void set_work(std::uint32_t bits, bool on) { work_ = on ? work_ | bits : work_ & ~bits; }
    void set_primary(std::uint32_t bits, bool on);
    void set_secondary(std::uint32_t bits, bool on);
    void write_traps();
    void write_msr_map();
    void set_threshold(std::uint8_t v);
    void reset_delivery();
    std::uint8_t *task_priority() const {
        return static_cast<std::uint8_t *>(apic_page_.va) + 0x80;
    }
    void intercept_debug();
    void update_xcr0();
    std::uint64_t *held_msr(std::uint32_t index);
    void write_all();
    void reset_control();
    void reset_state();
    void reset_segments();
    void write_host();
    void write_host_cpu();
    void hold_msrs();
    static void exchange_msrs(const HeldMsrs &from, const HeldMsrs &to);
    void keep_swapped_gs();
    void release_msrs();
    static void barrier();

    // switch.cpp: irqs off, nothing instrumented
    bool before_entry(RawExit &raw);
    void write_dirty();
    void write_event();
    void write_host_state();
    void rest_counters();
    void rest_pebs();
    void restore_tracing();
    void flush_l1d();
    void write_timer();
    int switch_debug(Gprs &gprs);
    void after_work();
    void exited(RawExit &raw, Gprs &gprs);
    void read_details(RawExit &raw, std::uint8_t needed);
    void failed(RawExit &raw, int how);
    Rule check_entry() const;

    Vmcs vmcs_{};
    hwv_host_page apic_page_{}, posted_page_{};
    Cpu *cpu_ = nullptr; // where it is loaded
    std::uint32_t work_ = work_no_cpu, dirty_ = 0, spec_ctrl_ = 0;
    mutable std::uint32_t known_ = 0;
    Event event_{};
    std::uint64_t rip_ = 0, rsp_ = 0;
    mutable std::uint64_t rflags_ = 0, real_cr0_ = 0, real_cr4_ = 0;
    mutable std::uint32_t interruptibility_ = 0;
    mutable std::uint16_t code_attributes_ = 0;
    std::uint64_t cr0_ = 0, cr4_ = 0; // as the guest sees them, less guest_cr0 and guest_cr4
    std::uint64_t cr2_ = 0, efer_ = 0;
    std::uint64_t dr_[4] = {}, dr6_ = 0;
    std::uint64_t xcr0_ = 1, host_xcr0_ = 1;
    HeldMsrs guest_msrs_{};
    std::uint64_t host_kernel_gs_base_ = 0; // the thread's
    std::uint64_t cstar_ = 0; // SYSCALL from compatibility mode is #UD on Intel: only remembered
    bool loaded_ = false;     // from load() to put(): the VMCS is current
    bool debug_granted_ = false;
    bool fresh_ = true;     // the VMCS has not been written yet
    bool entered_ = false;  // since load()
    bool counters_ = false; // the host's performance counters rest while the guest runs
    bool l1d_stale_ = true; // the host's data may have come to the L1 data cache
    std::uint32_t id_ = 0;
    std::uint64_t table_root_ = 0, tsc_offset_ = 0; // until the VMCS has been written
    cpu::TscRatio tsc_ratio_ = cpu::tsc_as_host;
    std::uint64_t deadline_ = 0; // of the host's TSC
    std::uint32_t primary_ = 0, secondary_ = 0, entry_controls_ = 0;
    Traps traps_{};
    ExitReason lifted_ = HWV_EXIT_NONE; // its traps rest for an instruction
    MsrMap msr_map_;                    // only with traps on MSRs
    std::uint8_t threshold_ = 0;
    bool from_page_ = false; // interrupts are delivered from the virtual-APIC page
    std::uint64_t eoi_exits_[4] = {};

    // what the VMCS says of the host
    std::uint64_t host_rsp_ = 0, host_cr3_ = 0, host_cr4_ = 0, host_fs_base_ = 0;
    std::uint64_t host_debugctl_ = 0, host_perf_ = 0, host_pebs_ = 0;
    hwv_host_segments host_segments_{};
    TablePointer host_gdt_{};
};

} // namespace hwv::vmx
