// SPDX-License-Identifier: GPL-2.0-only
// processor.hpp - one vCPU of a guest and the thread that serves its exits.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>
#include "boot/entry.hpp"
#include "hwv/system.hpp"
#include "hwvctl/command.hpp"
#include "machine/guest_memory.hpp"
#include "machine/machine.hpp"

namespace hwvctl {

// How a guest ended: hwvctl's exit status, and a line for the user (empty for an ordinary end).
struct Ending {
    int status = status::powered_off;
    std::string message;
};

// Where all threads of a guest learn that it is over. Any thread.
class Course {
  public:
    bool over() const { return over_.load(std::memory_order_acquire); }
    void end(Ending ending); // the first one counts
    Ending wait();

  private:
    std::mutex lock_;
    std::condition_variable ended_;
    std::atomic<bool> over_{false};
    Ending ending_;
};

// What a guest's processors share.
struct Board {
    const hwv::System &system;
    hwv::Vm &vm;
    machine::GuestMemory memory;
    machine::Machine &machine;
    Course &course;
    unsigned processors;
    bool has_firmware; // which sets the processors up
};

class Processor {
  public:
    // The state that firmware leaves it in.
    Processor(Board &board, unsigned id, std::span<const hwv_cpuid_entry> cpuid);
    Processor(const Processor &) = delete;
    Processor &operator=(const Processor &) = delete;

    void enter_at(const boot::Entry &entry);
    // next: whom a kick by the interrupt controller is passed on to where INTR does not reach here.
    void start(Processor *next);
    void join(); // after the course is over
    void kick() { vcpu_.kick(); }
    hwv::Stats stats() const { return vcpu_.stats(); }
    // From any thread: MSRs, 0 for those it has not, as its own thread finds them before it runs
    // on. Nothing if that does not come by in time, as where an exit takes the launcher long.
    std::optional<std::vector<std::uint64_t>> msrs(std::vector<std::uint32_t> which,
                                                   std::chrono::milliseconds patience);

  private:
    void answer_question();
    void set_up();
    void thread();
    bool serve(); // one exit; false: the guest is over
    bool serve_io();
    bool serve_mmio();
    bool serve_task_switch();
    bool give_up(const char *problem); // what left to user cannot be done
    // Null, or why it is not done: nothing has changed then.
    const char *emulate_mmio();
    const char *complete_string_io();
    const char *switch_task();
    template <typename Once>
    const char *emulate(Once once);
    bool serve_error();
    bool end(int status, const std::string &message); // false
    void prepare_interrupt();                         // what the PIC has for the vCPU
    bool pic_reaches_vcpu() const;

    Board &board_;
    machine::Machine &machine_;
    const unsigned id_;
    hwv::Vcpu vcpu_;
    std::mutex question_lock_;
    std::condition_variable answered_;
    std::atomic<bool> asked_{false};
    std::vector<std::uint32_t> question_;
    std::optional<std::vector<std::uint64_t>> answer_;
    Processor *next_ = nullptr;
    std::thread thread_;
};

} // namespace hwvctl
