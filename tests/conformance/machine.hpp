// SPDX-License-Identifier: GPL-2.0-only
// machine.hpp - one VM with one vCPU by hwv's own interface, for tests that need more of it than
// TestVm tells: dirty logs, kicks, the very ioctl.
#pragma once
#include <functional>
#include <string>
#include "conformance/framework.hpp"
#include "hwv/system.hpp"

namespace conformance {

// Host memory on a 2 MiB boundary.
class HostMemory {
  public:
    explicit HostMemory(std::size_t bytes, bool huge = false);
    std::span<std::uint8_t> bytes() const { return bytes_; }

  private:
    hwv::Mapping mapping_;
    std::span<std::uint8_t> bytes_;
};

// HLT leaves to user; 2 MiB of memory in slot 0.
class Machine {
  public:
    explicit Machine(std::uint64_t flags = HWV_VM_HLT_TO_USER | HWV_VM_NO_APIC);
    Machine(Mode mode, const Text &code,
            const std::function<void(hwv_regs &, std::span<std::uint8_t>)> &change = {});

    void start(Mode mode, const Bytes &code,
               const std::function<void(hwv_regs &, std::span<std::uint8_t>)> &change = {});
    hwv_exit run(); // a signal shows as HWV_EXIT_KICKED
    std::string run_to_halt();
    hwv_regs regs();
    std::span<std::uint8_t> memory() const { return memory_.bytes(); }

  private:
    HostMemory memory_{2u << 20};
    hwv::System system_;

  public:
    hwv::Vm vm;
    hwv::Vcpu vcpu;
};

} // namespace conformance
