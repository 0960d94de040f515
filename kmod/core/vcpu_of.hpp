// SPDX-License-Identifier: GPL-2.0-only
// vcpu_of.hpp - a vCPU with its vendor's half, and what every handler needs of it: fetching,
// faulting, leaving to user.
#pragma once
#include "core/injection.hpp"
#include "core/outcome.hpp"
#include "core/vcpu.hpp"
#include "npt/walker.hpp"

namespace hwv {

// Inside this scope preemption is on and the thread may sleep; no accessor of the backend is
// allowed. Handlers run with preemption off, so that the vendor's state is in the CPU, and open
// this scope where they must wait.
class MaySleep {
  public:
    explicit MaySleep(const Vcpu &vcpu) { hwv_host_vcpu_may_sleep(vcpu.host); }
    ~MaySleep() { hwv_host_preempt_disable(); }
    MaySleep(const MaySleep &) = delete;
    MaySleep &operator=(const MaySleep &) = delete;
};

// The waits inside this scope are between two instructions of the guest.
class Between {
  public:
    explicit Between(Vcpu &vcpu) : vcpu_{vcpu} { vcpu_.between_instructions = true; }
    ~Between() { vcpu_.between_instructions = false; }
    Between(const Between &) = delete;
    Between &operator=(const Between &) = delete;

  private:
    Vcpu &vcpu_;
};

struct Fetched {
    union {
        std::uint64_t words[2] = {};
        std::uint8_t bytes[16];
    };
    std::uint8_t count = 0;
};

template <Backend B>
class VcpuOf final : public Vcpu {
  public:
    using Raw = typename B::RawExit;
    using Machine = VmOf<typename B::TableFormat>;

    VcpuOf(Machine &machine, std::uint32_t id, hwv_host_vcpu *host, hwv_run *run)
        : Vcpu{machine, machine.memory, id, host, run}, machine{machine} {}
    ~VcpuOf() { backend.destroy(); }

    Machine &machine;
    B backend;
    Raw raw{}; // of the last exit
    bool check_events =
        true; // look for something deliverable before the next entry, whatever the APIC says
    cpu::ApicEffect effect{}; // of the last write to the APIC
    Event deferred{};         // an interrupt that an exception overtook
    bool in_run = false, left_cpu = false, waiting = false;
    Traps traps{};         // that the backend has
    bool stepping = false; // over the instruction at step_rip
    std::uint64_t step_rip = 0;
    std::uint64_t exit_tsc = 0;                  // when the last exit came
    const std::uint32_t *thread_flags = nullptr; // of the thread in HWV_RUN

    Status init();
    // HWV_RUN; preemption off, see hwv_core_vcpu_run()
    int run_guest(std::uint32_t cpu, const std::uint32_t *flags_of_thread);
    int sync(); // HWV_SYNC_REGS
    void load(std::uint32_t cpu);
    void put(bool owner);                             // whose memory is current: the guest's
    Status host_msr(hwv_msr_entry &entry, bool set);  // HWV_MSRS, one entry
    Status host_apic_register(hwv_apic_reg &request); // HWV_APIC_REG

    // ---- for handlers; preemption off ----
    CodeSize code_size() const {
        const std::uint16_t attributes = backend.code_attributes();
        if ((attributes & segment::l) && long_mode(backend.efer())) return CodeSize::bits64;
        return attributes & segment::db ? CodeSize::bits32 : CodeSize::bits16;
    }
    bool wide() const { return code_size() == CodeSize::bits64; }
    Fetched fetch(); // the bytes at RIP; may sleep
    bool fetch_present(std::uint64_t linear, Fetched &out);
    std::optional<std::uint64_t>
    locate(std::uint64_t linear); // of code that the CPU has just fetched
    std::optional<Instruction>
    instruction(ExitReason reason); // fetched and decoded; nullopt: it is not the one that exited
    // Its length alone; 0: it is not the one that exited. Not every implementation tells RDTSCP
    // from RDTSC: then `reason` changes.
    std::uint8_t measure(ExitReason &reason);
    void advance(std::uint8_t length); // RIP behind the instruction: the one place where it moves
    Outcome raise(const Event &exception);       // queues a fault at the same RIP
    void enter_debug_handler(std::uint64_t dr6); // what a #DB that is delivered does to DR6, DR7
    Outcome gp() { return raise(exception(vector::general_protection, 0)); }
    Outcome ud() { return raise(exception(vector::invalid_opcode)); }
    Outcome shutdown(const Exit &exit);
    Outcome fail(const Exit &exit, hwv_error code, int error = 0,
                 std::uint64_t detail = 0);     // the guest cannot go on
    Outcome after_apic_write(const Exit &exit); // an EOI may have to leave to user
    cpu::MsrResult read_msr(std::uint32_t index, std::uint64_t &value, bool by_host);
    cpu::MsrResult write_msr(std::uint32_t index, std::uint64_t value, bool by_host);
    // PAE's page directory pointers, by the guest's memory at CR3, where the CPU keeps them. May
    // sleep. What is not fit for a register refuses all of them (false; for the guest #GP), or,
    // where the user sets the registers, is not present, so that the guest's first access faults.
    enum class Unfit : std::uint8_t { refused, not_present };
    bool load_page_directories(const PagingRegisters &next, Unfit unfit = Unfit::refused);
    bool read_page_directories(std::uint64_t cr3, std::uint64_t (&entries)[4]);
    void set_tpr(std::uint8_t tpr);                  // 0..15, as CR8
    void sync_tpr() { backend.set_tpr(apic.cr8()); } // the guest changed it by the APIC's register
    // Only EFER's rules depend on the guest's paging.
    cpu::MsrContext msr_context(std::uint32_t index, bool by_host) const {
        if (index != cpu::msr::efer) return {.efer = 0, .paging = false, .host = by_host};
        return {.efer = backend.efer(), .paging = (backend.cr0() & cr0::pg) != 0, .host = by_host};
    }
    npt::GuestPaging guest_paging() const {
        return {.cr0 = backend.cr0(),
                .cr3 = backend.cr3(),
                .cr4 = backend.cr4(),
                .efer = backend.efer(),
                .alignment_check = (backend.rflags() & rflags::ac) != 0,
                .phys_bits = limits.phys_bits};
    }
    std::uint64_t value(unsigned gpr) const { return wide() ? gprs[gpr] : gprs[gpr] & 0xffff'ffff; }
    PagingRegisters paging() const {
        return {backend.cr0(), backend.cr3(), backend.cr4(), backend.efer(),
                (backend.code_attributes() & segment::l) != 0};
    }
    // EDX:EAX of RDMSR, WRMSR, XSETBV, RDTSC.
    std::uint64_t edx_eax() const { return gprs[HWV_RDX] << 32 | (gprs[HWV_RAX] & 0xffff'ffff); }
    void set_edx_eax(std::uint64_t v) {
        gprs[HWV_RAX] = v & 0xffff'ffff;
        gprs[HWV_RDX] = v >> 32;
    }
    hwv_exit &leave(std::uint32_t reason,
                    const Exit &exit); // starts the exit area; the handler adds its part
    void publish(std::uint32_t groups, hwv_regs &to); // register groups
    Status observe_registers(hwv_regs &r, std::uint32_t groups, bool set);

    // ---- parts of the loop, see run_loop.hpp; preemption off ----
    enum class Step : std::uint8_t { entered, again, left };
    std::uint64_t entry_time() const;
    void cut(hwv_segment_kind ended); // now
    void count_key(ExitReason reason, std::uint64_t key);
    Exit enter(std::uint64_t tsc);
    void trace_exit() const; // first of all, once
    Outcome handle_at_leisure(Exit &exit);
    Outcome observe(Exit &exit); // handle(), with all who look on
    Outcome judge(Exit &exit);   // or what their rules say instead
    Outcome obey(Exit &exit, const instrument::Verdict &verdict);
    hwv_program_context program_context(const Exit &exit, bool decided) const;
    void ask_programs(const Exit &exit, instrument::Verdict &verdict);
    void obey_program(const hwv_program_slot &slot, ExitReason reason,
                      const hwv_program_context &context, instrument::Verdict &verdict);
    Outcome stop_at(Exit &exit, const instrument::Verdict &verdict);
    Outcome answer(const Exit &exit, const std::uint64_t (&value)[2], std::uint8_t width);
    bool know_instruction(Exit &exit, std::uint8_t &width);
    Outcome handle(Exit &exit);               // may fill in the instruction's length
    Outcome handle_quickly(const Exit &exit); // one of is_quick(); irqs off
    bool undisturbed() const;
    int enter_until_left();
    Step step(int &error);           // one entry, if nothing speaks against it
    Step serve_requests(int &error); // what others asked for; may sleep
    void write_records(std::uint32_t which);
    void give_way(); // to a vCPU that this one waits for
    Step wait_for_event(int &error);
    bool instrument_anew();
    Step wait_for_room(int &error);
    Step stand_still(int &error);     // while an observer has the VM paused
    int block(hwv_segment_kind kind); // sleeps, on that account
    void deliver_events();
    void lend_apic();
    void open_windows();
    Status take_over(const hwv_reply &reply);
    Status take_over_all(const hwv_reply &reply);
    void complete(const hwv_reply &reply);
    Status apply_shared(std::uint32_t groups);
    Status apply(std::uint32_t groups, const hwv_regs &from);
    void apply_msr_effect(const cpu::MsrEffect &asked);
    void apply_control(const hwv_regs &r);
    void apply_event(const hwv_event_state &e);
    void finish_exit();                  // the part of the exit area that every exit has
    Status take_traps();                 // may sleep
    Outcome step_past(const Exit &exit); // the guest executes itself what exited
    void end_step();
    bool still_stepping();
    void initialise(); // INIT
    void start_up(std::uint8_t sipi_vector);
    bool interruptible() const {
        return (backend.rflags() & rflags::if_) && !backend.shadow() && !backend.injecting();
    }
};

} // namespace hwv
