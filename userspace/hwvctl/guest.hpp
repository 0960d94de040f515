// SPDX-License-Identifier: GPL-2.0-only
// guest.hpp - a VM with its memory, its PC and the thread that runs its vCPU, until one of them
// says that it is over.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include "machine/guest_memory.hpp"
#include "hwv/system.hpp"
#include "hwvctl/event_fds.hpp"
#include "hwvctl/memory_slots.hpp"
#include "hwvctl/run_options.hpp"
#include "machine/machine.hpp"

namespace hwvctl {

// How a guest ended: hwvctl's exit status, and a line for the user (empty for an ordinary end).
struct Ending {
    int status = status::powered_off;
    std::string message;
};

class Guest final : machine::MsiSink, machine::EoiSink, machine::ExtIntSink {
  public:
    // Everything that can fail fails here, with an exception, before the guest executes anything.
    explicit Guest(const RunOptions &options);
    ~Guest();

    Ending run(); // until the end
    void quit();  // from any thread: ends run() with status::quit
    hwv::Stats stats() const { return vcpu_.stats(); }

  private:
    void set_up_processor();
    hwv::Mapping map_memory(const RunOptions &options);
    machine::GuestMemory memory_view();
    void load(const RunOptions &options);
    void enter_at(const boot::Entry &entry);

    // the vCPU's thread
    void vcpu_thread();
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
    void prepare_interrupt(); // what the PIC has for the vCPU
    bool pic_reaches_vcpu() const;

    void end(Ending ending); // the first one counts
    void power(machine::PowerEvent event);
    void deliver(std::uint64_t address, std::uint32_t data) noexcept override;
    void level_vectors(const machine::VectorBitmap &vectors) noexcept override;
    void raise(bool level) noexcept override;

    hwv::System system_;
    hwv::Vm vm_;
    hwv::Vcpu vcpu_;
    std::vector<machine::GpaRange> layout_;
    hwv::Mapping ram_;
    DeviceMemory device_memory_;
    KernelEvents kernel_events_;
    std::unique_ptr<machine::Machine> machine_;

    std::mutex end_lock_;
    std::condition_variable ended_;
    bool over_ = false;
    Ending ending_;
    std::atomic<bool> stop_{false};
};

} // namespace hwvctl
