// SPDX-License-Identifier: GPL-2.0-only
// What firmware expects of the board itself: the host bridge and, on a machine with legacy devices,
// the bridge to ISA. Their ids are those of Intel's Q35 chipset, whose registers firmware knows.
#pragma once

#include "machine/pci/function.hpp"
#include "machine/pci/routing.hpp"

namespace machine::pci {

// 00:00.0. Of its registers the place of the memory-mapped configuration space and the protection
// of RAM below 1 MiB work; the others keep what is written.
class HostBridge final : public Function {
  public:
    static constexpr unsigned pciexbar = 0x60; // "PCI Express Register Range Base Address"
    static constexpr unsigned pam0 = 0x90;     // "Programmable Attribute Map"

    HostBridge();
    void config_written(unsigned offset, unsigned size) noexcept override;
};

// 00:1f.0.
class IsaBridge final : public Function {
  public:
    explicit IsaBridge(Pirqs &pirqs);
    // The firmware's work: PCI interrupts reach ISA ones, which are level-triggered then.
    void set_default_routes() noexcept;
    void config_written(unsigned offset, unsigned size) noexcept override;

  private:
    void update_routes() noexcept;
    Pirqs &pirqs_;
};

} // namespace machine::pci
