// SPDX-License-Identifier: GPL-2.0-only
// vmx_hardware.hpp - VMX of the fake machine: VMCSs by physical address, one of them current on
// each CPU, and the rules that no emulator enforces. reset() before each test; a broken rule goes
// to hardware().violations.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>
#include "fakes/hardware.hpp"

namespace hwv::fake {

struct VmxCpu {
    bool on = false;
    std::uint64_t current = ~0ull;
    std::uint64_t cr0 = 0x8005'0033, cr2 = 0, cr3 = 0x1000, cr4 = 0x20;
    std::uint64_t gdt = 0, idt = 0;
    std::uint16_t ds = 0, es = 0, fs = 0, gs = 0;
    std::vector<std::uint64_t> invalidated; // EPT pointers; ~0: all
};

struct FakeVmcs {
    std::map<std::uint16_t, std::uint64_t> fields;
    std::optional<unsigned> active; // on which CPU
    bool launched = false;
};

class VmxHardware {
  public:
    void reset(unsigned count);
    VmxCpu &here() { return cpus.at(hardware().cpu); }
    FakeVmcs &current() { return vmcs[here().current]; }

    std::uint64_t read(std::uint16_t encoding);
    void write(std::uint16_t encoding, std::uint64_t value);
    bool vmxon(std::uint64_t pa);
    bool vmxoff();
    bool vmclear(std::uint64_t pa);
    bool vmptrld(std::uint64_t pa);
    std::optional<std::uint64_t> vmptrst();
    bool invept(bool all, std::uint64_t ept_pointer);

    std::vector<VmxCpu> cpus{1};
    std::map<std::uint64_t, FakeVmcs> vmcs;
};

VmxHardware &vmx();

} // namespace hwv::fake
