// SPDX-License-Identifier: GPL-2.0-only
// vcpu.hpp - one virtual CPU less its vendor's half (VcpuOf): what other threads may ask of it,
// what it waits for, and where an exit to user left it. Everything not marked atomic belongs to the
// thread in HWV_RUN.
#pragma once
#include <atomic>
#include "core/backend.hpp"
#include "core/control.hpp"
#include "core/instruction.hpp"
#include "core/vm.hpp"
#include "cpu/apic.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/msr.hpp"
#include "cpu/pv.hpp"
#include "instrument/key.hpp"
#include "instrument/recorder.hpp"
#include "instrument/statistics.hpp"
#include "instrument/stop.hpp"

struct hwv_core_vcpu {}; // the C door's name of hwv::Vcpu

namespace hwv {

// What a vCPU is asked to do before it enters the guest again: bits of Vcpu::requests_.
namespace request {
inline constexpr std::uint32_t flush = 1u << 0, // drop cached translations
    kick = 1u << 1,                             // leave HWV_RUN
    event = 1u << 2,                            // the local APIC has something new
    clock = 1u << 3,                            // rewrite the paravirtual clock
    steal = 1u << 4,                            // rewrite the steal time record
    wall_clock = 1u << 5,
                               pv_eoi = 1u
                                        << 6, // look at the PV EOI byte where sleeping is allowed
    traps = 1u << 7,                          // take the VM's traps
    pause = 1u << 8,                          // an observer wants it to stand still
    kill = 1u << 9,                           // for good: stays
    instrument = 1u << 10,                    // what observes it has changed
    yield = 1u << 11,                         // the CPU to a vCPU that it waits for
    records = clock | steal | wall_clock | pv_eoi; // all that reach for the guest's memory
}

// How the next HWV_RUN finishes the instruction that left to user. By value: nothing of the exit is
// pointed at.
struct Completion {
    enum class Kind : std::uint8_t {
        none,
        in,
        mmio_read,
        msr_read,
        msr_write,
        hypercall
    } kind = Kind::none;
    std::uint8_t length = 0; // of the instruction: RIP moves when it is complete
    std::uint8_t size = 0;   // IN: bytes
    Instruction load{};      // MMIO read: where the value goes
};

class Vcpu : public hwv_core_vcpu {
  public:
    Vcpu(const Vcpu &) = delete;
    Vcpu &operator=(const Vcpu &) = delete;

    Vm &vm;
    const std::uint32_t id;
    const std::uint64_t serial; // no other vCPU has it, or had
    hwv_host_vcpu *const host;
    hwv_run *const run; // shared with the user: the exit and regs areas are only written, the reply
                        // is copied once

    alignas(16) Gprs gprs = {};
    instrument::Statistics statistics;
    instrument::Recorder recorder;
    bool armed = false;      // exits are looked at by more than the statistics
    bool wants_room = false; // waits for a ring's reader, not for the guest's events
    cpu::LocalApic apic;
    cpu::CpuidTable cpuid;
    cpu::PvState pv;
    cpu::PvEoi pv_eoi;
    cpu::MsrFile msrs{apic, cpuid, pv};
    ControlLimits limits;
    Completion completion;
    SlotCache slot_cache, steal_slot;
    SparePages spare;

    Status set_cpuid(const hwv_cpuid_entry *entries, std::uint32_t count); // HWV_SET_CPUID
    Status give_default_cpuid();
    Status count(); // gives the statistics their pages

    std::uint64_t xcr0 = 1;
    std::uint64_t exits_to_user = 0;
    std::uint32_t wanted = 0;          // register groups that the user asked for
    bool between_instructions = false; // in a wait: none is half done
    bool shown_absent = false;         // the guest sees that it is not on a CPU
    static constexpr std::uint32_t anybody = ~0u;
    std::uint32_t yield_to = anybody; // with request::yield: a vCPU's id
    void wants_to_yield(std::uint32_t to) {
        yield_to = to;
        put_back(request::yield);
    }
    bool window_wanted = false;                         // reply asked for an interrupt window
    bool started = false;                               // has run: CPUID is fixed
    std::uint32_t clock_version = 0, steal_version = 0; // of the guest's records
    std::atomic<std::uint32_t> cpu{~0u};                // where it was loaded last

    // ---- any thread ----
    void ask(std::uint32_t what); // sets requests and makes the vCPU look at them: wakes it, or
                                  // takes it out of the guest
    void arrived();               // an interrupt or the like, at the local APIC
    bool asked() const { return requests_.load(std::memory_order_acquire); }
    std::uint32_t take_requests() { return requests_.exchange(0, std::memory_order_acq_rel); }
    bool asked(std::uint32_t what) const {
        return requests_.load(std::memory_order_acquire) & what;
    }
    // A request to look at the local APIC is taken where it is the only one; then false if INIT or
    // a start-up message is behind it, for who looks at these.
    bool take_lone_event() {
        std::uint32_t asked_for = request::event;
        return requests_.compare_exchange_strong(asked_for, 0, std::memory_order_acq_rel) &&
               !(apic.events() & (cpu::apic_event::init | cpu::apic_event::start_up));
    }
    void put_back(std::uint32_t what) { requests_.fetch_or(what, std::memory_order_release); }
    void flush_and_wait(); // returns when the vCPU cannot be using an old translation
    void ask_and_wait(std::uint32_t what); // ... can no longer be in the guest unaware of it
    bool runnable() const;                 // a waiting vCPU has a reason to go on
    bool has_room() const;                 // in all rings that would rather wait than drop
    Status interrupt(const hwv_interrupt &request); // HWV_INTERRUPT
    // An exit at which the vCPU waits for an observer, who is told by his age.
    bool stop_ends() const { return !stop_.waiting() || asked(request::kick | request::kill); }
    bool stopped(std::uint64_t observer, hwv_stop &what);
    Status go_on(std::uint64_t observer, const hwv_stop_reply &reply);
    void let_go(std::uint64_t observer);

    std::atomic<std::uint8_t> mp_state{HWV_MP_RUNNING};
    // What the halted guest would accept, for runnable().
    std::atomic<bool> halted_takes_interrupts{false}, halted_takes_nmis{false};

    // ---- the guest side of the entry ----
    // Announces that the guest is about to run; from here ask() sends an interrupt. irqs off.
    void begin_guest() { in_guest_.store(true, std::memory_order_seq_cst); }
    void end_guest() { in_guest_.store(false, std::memory_order_release); }

    // ---- the paravirtual clock and its kin (process context) ----
    void write_clock();
    void write_wall_clock();
    void write_steal();
    void show_absence(); // scheduled out: irqs off
    void take_back_absence();
    void
    arm_pv_eoi(std::uint8_t vector); // preemption off: `vector` goes in; the guest may skip its EOI
    void settle_pv_eoi(bool atomic = true); // after an exit: did it?
    bool write_guest(std::uint64_t gpa, const void *from, std::uint32_t bytes);

    std::uint64_t guest_tsc() const; // now
    Memory &memory;

  protected:
    Vcpu(Vm &vm, Memory &memory, std::uint32_t id, hwv_host_vcpu *host, hwv_run *run);
    ~Vcpu() { hwv_host_shared_free(statistics.page()); }

    void begin_stop(const hwv_stop &what, std::uint64_t observer);
    instrument::Verdict end_stop();

  private:
    void adopt_cpuid();
    void wait_out(std::uint32_t what);

    hwv_host_lock stop_lock_{};
    instrument::Stop stop_;

    std::atomic<std::uint32_t> requests_{0};
    std::atomic<bool> in_guest_{false};
};

} // namespace hwv
