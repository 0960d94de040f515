// SPDX-License-Identifier: GPL-2.0-only
// vmx_hardware.hpp - VMX of the fake machine: VMCSs by physical address, one of them current on
// each CPU, and the rules that no emulator enforces. reset() before each test; a broken rule goes
// to hardware().violations. Entries: vmx_switch.cpp.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include "fakes/hardware.hpp"
#include "vmx/checker.hpp"
#include "vmx/exit_code.hpp"

namespace hwv::fake {

// What VM exits do not load back, and load() has to remember.
struct LoadedSegments {
    std::uint16_t ds = 0, es = 0, fs = 0, gs = 0;
    std::uint16_t gdt_limit = 0x7f, tss_limit = 0x206f;
    bool operator==(const LoadedSegments &) const = default;
};

struct VmxCpu {
    bool on = false;
    std::uint64_t region = ~0ull, current = ~0ull;
    std::uint64_t cr0 = 0x8005'0033, cr2 = 0, cr3 = 0x1000, cr4 = 0x60;
    std::uint64_t gdt[16] = {}; // a task's descriptor at `tr`
    std::uint64_t idt = 0, tr_base = 0;
    std::uint16_t tr = 0x40;
    LoadedSegments segments;
    std::uint64_t gs_descriptor_base = 0; // what loading a GS selector makes of the user's GS base
    std::vector<std::uint64_t> invalidated; // EPT pointers; ~0: all
    // "Caching Translation Information": by VPID and EPT root, what the tables said when they were
    // walked. Guest-physical mappings have no VPID: they are under ~0.
    std::map<std::pair<std::uint32_t, std::uint64_t>, unsigned> translations;
};

struct FakeVmcs {
    template <typename F>
    std::uint64_t &operator[](F) {
        return fields[F::encoding];
    }
    std::map<std::uint16_t, std::uint64_t> fields;
    std::optional<unsigned> active; // on which CPU
    bool launched = false;
};

// The host's state on one CPU, for comparisons.
struct HostImage {
    std::map<std::uint32_t, std::uint64_t> msrs; // but commands
    std::vector<std::uint64_t> dr;
    std::uint64_t xcr0 = 0, cr0 = 0, cr3 = 0, cr4 = 0, vmcs = 0;
    std::uint32_t ldt = 0;
    LoadedSegments segments;
    bool on = false;
    bool operator==(const HostImage &) const = default;
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

    // Tables under `root` lost an entry, or its page is another VM's from now on.
    void change_tables(std::uint64_t root) { ++tables[root]; }
    // A guest runs, caches translations and leaves predictions.
    void run_tagged(std::uint32_t vpid, std::uint64_t ept_pointer);
    void memory_freed(std::uint64_t pa); // by hwv_host_pages_free()
    HostImage host_image();

    std::vector<VmxCpu> cpus{1};
    std::map<std::uint64_t, FakeVmcs> vmcs;
    std::map<std::uint64_t, unsigned> tables; // how often each root's tables changed
    std::uint32_t revision = 0x12;
    vmx::CheckerFacts facts{}; // of these CPUs, for entries

    // The guest of hwv_vmx_switch(): gets the general registers, leaves the exit in the VMCS.
    std::function<void(std::uint64_t *gprs, FakeVmcs &vmcs)> guest;
    std::uint32_t delivered = 0;             // the event of the last entry, 0: none
    std::vector<std::uint8_t> interrupts;    // that the CPU delivered by itself: vmx_apic.hpp
    std::vector<std::uint32_t> acknowledged; // interrupts of the host's that exits took
    std::uint32_t instruction_error = 0;     // each entry ends with this VMfailValid
    bool refuse_entry = false;               // VMLAUNCH and VMRESUME fault
};

VmxHardware &vmx();

} // namespace hwv::fake
