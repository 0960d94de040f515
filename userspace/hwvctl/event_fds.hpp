// SPDX-License-Identifier: GPL-2.0-only
#pragma once
#include "hwv/vm.hpp"
#include "machine/event_fds.hpp"

namespace hwvctl {

// Devices' eventfds as irqfds and ioeventfds of the VM.
class KernelEvents final : public machine::EventFds {
  public:
    explicit KernelEvents(hwv::Vm &vm) : vm_{vm} {}
    bool connect_message(int fd, std::uint64_t address, std::uint32_t data) noexcept override;
    void disconnect_message(int fd) noexcept override;
    bool connect_doorbell(int fd, const machine::Doorbell &where) noexcept override;
    void disconnect_doorbell(int fd, const machine::Doorbell &where) noexcept override;

  private:
    hwv::Vm &vm_;
};

} // namespace hwvctl
