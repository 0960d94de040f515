// SPDX-License-Identifier: GPL-2.0-only
// apic.hpp - one vCPU's local APIC, and with it everything that can interrupt the vCPU from
// outside. Manual: Intel SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)".
//
// Contexts: "any" means any CPU, hard irq included. All else is the owner: the thread that holds
// the vCPU's mutex.
#pragma once
#include <atomic>
#include <cstdint>
#include "cpu/apic_page.hpp"
#include "cpu/apic_timer.hpp"
#include "cpu/ipi.hpp"

namespace hwv::cpu {

// What a register write asks of the caller.
struct ApicEffect {
    enum class Kind : std::uint8_t { none, ipi, eoi };
    Kind kind = Kind::none;
    std::uint8_t vector = 0;    // eoi: ended now
    bool level = false;         // eoi: was level-triggered
    InterruptMessage message{}; // ipi: deliver(bus, message, apic.id())
};

// Bits of events(): what waits for the owner.
namespace apic_event {
inline constexpr std::uint32_t interrupt =
                                   1u << 0, // IRR may hold something deliverable: ask pending()
    timer = 1u << 1,                        // sync() has work
    nmi = 1u << 2, init = 1u << 3, start_up = 1u << 4, extint = 1u << 5, unhalt = 1u << 6,
                               counting = 1u << 7, // timer_due() may have changed
    page = 1u << 8; // the registers are here, and the CPU may work on them: lendable(), lend()
}

class LocalApic {
  public:
    LocalApic(std::uint32_t id, hwv_host_vcpu *host);
    LocalApic(const LocalApic &) = delete;
    LocalApic &operator=(const LocalApic &) = delete;

    // What this guest may use. present = false: no local APIC at all (HWV_VM_NO_APIC); NMI, INIT,
    // SIPI and ExtINT still work.
    struct Features {
        bool present = true;
        bool x2apic = true;
        bool tsc_deadline = true;
        std::uint8_t phys_bits = 48;
    };
    void set_features(const Features &features) { features_ = features; }
    void set_tsc(std::uint32_t khz, std::uint64_t offset, TscRatio ratio = tsc_as_host);
    void reset();                  // power-on: APIC_BASE too
    void init();                   // INIT: APIC_BASE and the APIC id stay
    void stop() { timer_.stop(); } // end of life: no timer callback comes after it

    // ---- identity and mode (any) ----
    std::uint32_t id() const { return id_; }
    bool present() const { return base_.load(std::memory_order_relaxed) & base_enable; }
    bool x2apic() const { return base_.load(std::memory_order_relaxed) & base_extended; }
    Address address() const;
    bool arbitrable() const { return present() && software_enabled(); }

    // ---- arrivals (any) ----
    Acceptance accept(const InterruptMessage &message);
    Acceptance accept(std::uint8_t vector, bool level);
    bool offer_extint(std::uint8_t vector);     // false: one is pending
    bool cancel_extint();                       // false: none was
    void unhalt() { post(apic_event::unhalt); } // KVM_HC_KICK_CPU: ends a HLT whatever IF says
    Acceptance lint(unsigned pin);              // a pulse on LINT0, LINT1
    void on_timer() { post(apic_event::timer); }

    // ---- what waits (any) ----
    std::uint32_t events() const { return events_.load(std::memory_order_acquire); }
    // Would it end a HLT? `interrupts`: IF is set; `nmis`: none in service.
    // A look, that may say yes too often: for waking the owner, who then asks ends_halt().
    bool wakes(bool interrupts, bool nmis) const;

    // ---- before an entry ----
    void sync() {
        if (events() & (apic_event::timer | apic_event::nmi | apic_event::extint)) [[unlikely]]
            settle();
    }
    // Highest vector that the guest's priorities let through, or 0. A load and a test when there is
    // nothing.
    std::uint8_t pending() { return events() & apic_event::interrupt ? find_pending() : 0; }
    // After pending(): what only TPR holds back, or 0. The guest lowering CR8 must be noticed then.
    std::uint8_t held_by_tpr() const { return held_by_tpr_; }
    // The halted guest goes on, exactly: a timer that was early or masked, or a vector that TPR
    // holds back, is no reason. Takes what KVM_HC_KICK_CPU left.
    bool ends_halt(bool interrupts, bool nmis);
    void acknowledge(std::uint8_t vector); // it was injected: from IRR to ISR

    // Each takes one; false: none waits.
    bool take_nmi();
    bool take_init() { return take(apic_event::init); }
    bool take_start_up(std::uint8_t &vector);
    bool take_unhalt() { return take(apic_event::unhalt); }
    // ExtINT: through LVT0, or directly where the APIC is disabled or absent.
    bool extint_ready() const { return extint_pending() && passes_extint(); }
    bool extint_pending() const { return extint_.load(std::memory_order_relaxed); }
    bool take_extint(std::uint8_t &vector);
    std::uint8_t nmis() const { return nmis_.load(std::memory_order_relaxed); }
    void set_nmis(std::uint8_t count);

    // ---- a timer of the CPU's, that counts while the guest runs ----
    void use_cpu_timer() { note_due(timer_.count_by_cpu(cpu_timer_ = true)); }
    std::uint64_t timer_due() const { return timer_.due_tsc(); } // host's TSC. 0: it need not count
    bool take_counting() { return take(apic_event::counting); }
    // Around a wait of the vCPU's thread: the host's timer counts then, if something does. irqs on.
    void begin_wait() {
        if (timer_.due_tsc()) note_due(timer_.count_by_cpu(false));
    }
    void end_wait() {
        if (cpu_timer_ && !timer_.counted_by_cpu()) note_due(timer_.count_by_cpu(true));
    }

    // ---- registers that a CPU works on itself while the guest runs ----
    // On this page, in x2APIC mode: it delivers what is requested there, and serves accesses. Null:
    // no CPU does.
    void use_page(ApicPage *page);
    // And takes edges that arrive from here, while nothing else wants an entry. Of a level it would
    // not know that somebody waits for the end. Null: no CPU does. Before the first arrival.
    void use_posting(PostedRequests *requests) { posted_ = requests ? requests->irr : nullptr; }
    // What has arrived needs no entry, once the guest is notified. Any context.
    bool posts() const { return posted_ && !(events() & ~apic_event::interrupt); }
    bool lendable() const { return x2apic(); }
    // Before an entry: the registers, or what came since, go onto the page.
    ApicSummary lend();
    void reclaim() { // for all that asks for what the CPU may have changed
        if (lent_) [[unlikely]]
            take_back();
    }
    void keep() { // not lendable for now, and seen to be
        reclaim();
        (void)take(apic_event::page);
    }
    ApicEffect written(const ApicWrite &write); // by the CPU, which leaves the rest

    // ---- task priority ----
    std::uint8_t cr8() const { return tpr_ >> 4; }
    void set_cr8(std::uint8_t value) { // cheap when nothing changed: call it after every exit
        if (value != tpr_ >> 4) [[unlikely]]
            set_tpr(static_cast<std::uint8_t>(value << 4));
    }
    std::uint8_t ppr() const { return ppr_; }

    // ---- registers ----
    // xAPIC page. Offsets that are no register, or not aligned, set ESR and read as 0.
    std::uint32_t read(std::uint32_t offset);
    ApicEffect write(std::uint32_t offset, std::uint32_t value);
    // x2APIC MSRs 0x800-0x8ff. False: #GP.
    bool read_msr(std::uint32_t index, std::uint64_t &value);
    bool write_msr(std::uint32_t index, std::uint64_t value, ApicEffect &effect);
    std::uint64_t base() const { return base_.load(std::memory_order_relaxed); }
    bool set_base(std::uint64_t value); // IA32_APIC_BASE. False: #GP
    bool has_deadline() const { return features_.tsc_deadline; }
    std::uint64_t deadline() const { return timer_.deadline(); } // IA32_TSC_DEADLINE
    void set_deadline(std::uint64_t guest_tsc);
    // Ends the highest interrupt in service. kind none: there was none.
    ApicEffect end_of_interrupt();
    // Nothing else is in service or requested: what PV EOI needs to know before it lets the guest
    // skip an EOI.
    bool sole_in_service(std::uint8_t vector) const;
    bool is_level(std::uint8_t vector) const;

    static constexpr std::uint64_t base_bsp = 1u << 8, base_extended = 1u << 10,
                                   base_enable = 1u << 11;
    static constexpr std::uint64_t default_page = 0xfee0'0000;

  private:
    static constexpr unsigned lvts = 6;
    enum Lvt : unsigned {
        lvt_timer,
        lvt_thermal,
        lvt_performance,
        lvt_lint0,
        lvt_lint1,
        lvt_error
    };
    static constexpr unsigned words = 4; // of 256 bits

    void post(std::uint32_t event) { events_.fetch_or(event, std::memory_order_release); }
    bool take(std::uint32_t event);
    bool software_enabled() const { return svr_.load(std::memory_order_relaxed) & 0x100; }
    bool passes_extint() const;
    void clear_registers();
    std::uint8_t find_pending();
    bool pending_on_page();
    std::uint64_t requests(unsigned word) const {
        const std::uint64_t own = irr_[word].load(std::memory_order_relaxed);
        return posted_ ? own | posted_[word].load(std::memory_order_relaxed) : own;
    }
    std::uint8_t highest_request() const;
    void clear_requests(unsigned word, std::uint64_t bits);
    std::uint8_t highest_service() const;
    void update_ppr();
    void set_tpr(std::uint8_t value);
    void take_back();
    void fill_page();
    void settle();
    void run_timer();
    void note_due(bool due) {
        if (due || cpu_timer_)
            post((due ? apic_event::timer : 0) | (cpu_timer_ ? apic_event::counting : 0));
    }
    Acceptance local_interrupt(unsigned lvt);
    void error(std::uint32_t bit);

    // apic_regs.cpp
    std::uint32_t read_register(std::uint32_t offset) const;
    ApicEffect write_register(std::uint32_t offset, std::uint32_t value);
    std::uint32_t read_bitmap(std::uint32_t offset) const;
    std::uint8_t arbitration_priority() const;
    void write_lvt(unsigned index, std::uint32_t value);
    void write_svr(std::uint32_t value);
    ApicEffect write_icr(std::uint64_t icr, bool wide);
    ApicEffect send(std::uint64_t icr, bool wide);
    void latch_errors();

    // any context
    std::atomic<std::uint32_t> events_{0};
    std::atomic<std::uint8_t> nmis_{0};
    std::atomic<std::uint8_t> start_up_vector_{0};
    std::atomic<std::uint16_t> extint_{0}; // vector and extint_valid, or 0
    std::atomic<std::uint64_t> irr_[words]{};
    std::atomic<std::uint64_t> *posted_ = nullptr; // the rest of IRR, see use_posting()
    std::atomic<std::uint64_t> tmr_[words]{};
    std::atomic<std::uint64_t> base_{0};
    std::atomic<std::uint32_t> svr_{0};
    std::atomic<std::uint32_t> ldr_{0};
    std::atomic<std::uint32_t> dfr_{0};
    std::atomic<std::uint32_t> errors_{0}; // since the last write of ESR
    std::atomic<std::uint32_t> lvt_[lvts]{};

    // owner
    std::uint64_t isr_[words]{};
    std::uint8_t in_service_ = 0; // highest of isr_, 0 = none
    std::uint8_t tpr_ = 0;
    std::uint8_t ppr_ = 0;
    std::uint8_t held_by_tpr_ = 0;
    bool cpu_timer_ = false;
    bool lent_ = false; // isr_, tpr_, ppr_ and a part of irr_ are on the page
    ApicPage *page_ = nullptr;
    std::uint32_t id_;
    std::uint32_t esr_ = 0;
    std::uint64_t icr_ = 0;
    Features features_{};
    ApicTimer timer_;
};

} // namespace hwv::cpu
