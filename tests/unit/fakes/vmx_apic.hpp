// SPDX-License-Identifier: GPL-2.0-only
// vmx_apic.hpp - the local APIC of a guest on the fake machine's VMX: what the CPU does by itself
// on the virtual-APIC page. Intel SDM vol. 3, "APIC Virtualization and Virtual Interrupts".
#pragma once
#include "cpu/apic_page.hpp"
#include "fakes/vmx_hardware.hpp"
#include "vmx/vmcs.hpp"

namespace hwv::fake {

class VirtualApic {
  public:
    explicit VirtualApic(FakeVmcs &vmcs)
        : v_{vmcs}, page_{reinterpret_cast<cpu::ApicPage *>(vmcs[vmx::field::virtual_apic])} {}

    // At a VM entry: what no CPU checks, then "Updating Non-Register State". `event`: one is
    // injected.
    void enter(bool event);

    // The guest's instructions. False: it exits, the reason is in the VMCS.
    bool wrmsr(std::uint32_t index, std::uint64_t value);
    bool rdmsr(std::uint32_t index, std::uint64_t &value);
    void sti();

    // The notification vector arrives. False: it takes the guest out.
    bool notified();

    cpu::ApicPage &page() { return *page_; }

  private:
    bool on(std::uint32_t controls);
    bool passes(std::uint32_t index, bool write);
    void check_map();
    void check_status();
    void set_bit(std::uint32_t bitmap, std::uint8_t vector, bool set);
    std::uint8_t highest(std::uint32_t bitmap);
    void update_priority();
    void evaluate();
    bool end_of_interrupt();
    bool exits(vmx::ExitCode code, std::uint64_t qualification);

    FakeVmcs &v_;
    cpu::ApicPage *page_;
};

} // namespace hwv::fake
