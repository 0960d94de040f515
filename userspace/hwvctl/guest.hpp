// SPDX-License-Identifier: GPL-2.0-only
// guest.hpp - a VM with its memory, its PC and its processors, until one of them says that it is
// over.
#pragma once
#include <memory>
#include <vector>
#include "hwvctl/event_fds.hpp"
#include "hwvctl/firmware.hpp"
#include "hwvctl/memory_slots.hpp"
#include "hwvctl/processor.hpp"
#include "hwvctl/run_options.hpp"

namespace hwvctl {

class Guest final : machine::MsiSink, machine::EoiSink, machine::ExtIntSink {
  public:
    // Everything that can fail fails here, with an exception, before the guest executes anything.
    explicit Guest(const RunOptions &options);
    ~Guest();

    Ending run();                          // until the end
    void quit();                           // from any thread: ends run() with status::quit
    std::vector<hwv::Stats> stats() const; // of each vCPU
    machine::Machine &machine() { return *machine_; }
    const AddedDevices &added() const { return added_; }
    // Of the first vCPU, see Processor::msrs().
    std::optional<std::vector<std::uint64_t>> msrs(std::vector<std::uint32_t> which);

  private:
    hwv::Mapping map_memory(const RunOptions &options);
    machine::GuestMemory memory_view();
    machine::MachineConfig machine_config(const RunOptions &options);
    void make_processors(const RunOptions &options);
    std::vector<machine::RamRegion> regions(void *mapping) const;
    std::vector<machine::RamRegion> ram_slots(const RunOptions &options) const;
    void load(const RunOptions &options);
    boot::Screen start_screen(const VgaMode &mode);
    void start_processors();
    void power(machine::PowerEvent event);
    void deliver(std::uint64_t address, std::uint32_t data) noexcept override;
    void level_vectors(const machine::VectorBitmap &vectors) noexcept override;
    void raise(bool level) noexcept override;

    hwv::System system_;
    hwv::Vm vm_;
    std::vector<machine::GpaRange> layout_;
    bool vga_;
    hwv::Mapping ram_;
    VmMemory vm_memory_;
    KernelEvents kernel_events_;
    Course course_;
    std::unique_ptr<Firmware> firmware_; // null: a kernel was loaded
    std::unique_ptr<machine::Machine> machine_;
    AddedDevices added_;
    std::unique_ptr<Board> board_;
    std::vector<std::unique_ptr<Processor>> processors_;
};

} // namespace hwvctl
