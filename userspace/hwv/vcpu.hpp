// SPDX-License-Identifier: GPL-2.0-only
// vcpu.hpp - one vCPU and its run page. run() belongs to one thread; kick() and interrupt() to any.
#pragma once
#include <cstdint>
#include <span>
#include <vector>
#include "hwv.h"
#include "hwv/fd.hpp"
#include "hwv/stats.hpp"

namespace hwv {

enum class RunResult { exited, interrupted };

class Vcpu {
  public:
    explicit Vcpu(Fd fd);

    // Enters the guest until run_page().exit says why it left; interrupted: a signal came first.
    RunResult run();
    void sync(std::uint32_t dirty, std::uint32_t wanted); // registers without entering
    void kick();
    void interrupt(hwv_interrupt_kind kind, std::uint8_t vector = 0);
    bool try_extint(std::uint8_t vector); // false: one is pending

    const hwv_exit &exit() const { return page().exit; }
    hwv_reply &reply() { return page().reply; }
    hwv_regs &regs() { return page().regs; }
    // After run(): the reply of that exit is used up.
    void clear_reply() { page().reply = {}; }

    void set_cpuid(std::span<const hwv_cpuid_entry> entries);
    std::uint64_t msr(std::uint32_t index) const;
    void set_msr(std::uint32_t index, std::uint64_t value);
    std::uint32_t apic_reg(std::uint32_t offset) const;
    void set_apic_reg(std::uint32_t offset, std::uint32_t value);
    void get_xsave(std::span<std::byte> buffer) const;
    void set_xsave(std::span<const std::byte> buffer);
    Stats stats() const;

    int fd() const { return fd_.get(); }

  private:
    hwv_run &page() const { return *static_cast<hwv_run *>(page_.data()); }
    Fd fd_;
    Mapping page_;
};

} // namespace hwv
