// SPDX-License-Identifier: GPL-2.0-only
// hardware.hpp - a machine of several CPUs for unit tests: MSRs, debug registers, XCR0, and the
// rules of SVM that no emulator enforces (TLB tags, clean bits). reset() before each test. A broken
// rule is written to `violations`.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hwv::fake {

struct CpuidLeaf {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

struct HardwareCpu {
    std::map<std::uint32_t, std::uint64_t> msrs; // what is not here faults
    std::uint64_t dr[8] = {0, 0, 0, 0, 0, 0, 0xffff'0ff0, 0x400};
    std::uint64_t xcr0 = 7;
    std::uint32_t ldt = 0;
    bool gif = true;

    // SVM's TLB: under which ASID whose translations may be cached
    std::map<std::uint32_t, std::set<std::uint64_t>> tlb;
    // Whose branches the predictor has learnt since the last IBPB
    std::set<std::uint64_t> trained;
    // SVM's VMCB cache: what the CPU remembers of a VMCB, by its address
    std::map<std::uint64_t, std::vector<std::uint8_t>> vmcbs;
};

class Hardware {
  public:
    void reset();
    HardwareCpu &here() { return cpus[cpu]; }

    CpuidLeaf cpuid(std::uint32_t leaf, std::uint32_t subleaf);
    std::uint64_t rdmsr(std::uint32_t index);
    void wrmsr(std::uint32_t index, std::uint64_t value);
    std::optional<std::uint64_t> rdmsr_safe(std::uint32_t index);
    bool wrmsr_safe(std::uint32_t index, std::uint64_t value);
    void xsetbv(std::uint32_t index, std::uint64_t value);
    void write_dr(unsigned n, std::uint64_t value);
    bool vmsave(std::uint64_t pa);
    // `guest` runs under an ASID and leaves translations and predictions.
    void run_tagged(std::uint64_t guest, std::uint32_t asid);
    void learn(std::uint64_t guest); // the predictor does, as `guest` runs

    unsigned writes_of(std::uint32_t msr) const;
    void violation(std::string what) { violations.push_back(std::move(what)); }

    std::uint32_t cpu = 0; // the one that runs
    std::vector<HardwareCpu> cpus;
    std::map<std::uint32_t, CpuidLeaf> leaves;
    std::uint64_t tsc = 0;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> msr_writes;
    std::vector<std::uint64_t> xcr0_writes;
    std::vector<std::uint64_t> vmsaves;
    std::vector<std::string> violations;

    // The guest of hwv_svm_switch(): gets the general registers and the VMCB, leaves the exit in
    // it.
    std::function<void(std::uint64_t *gprs, void *vmcb)> guest;
    std::function<void(void *vmcb)> idle_guest; // one without memory came, and ends by NPF
    bool refuse_entry = false;                  // an SVM instruction of the world switch faults
    bool tracing = false;                       // all tracepoints are on
    bool watch_predictor = false;               // a guest on another's predictions is a violation
    std::uint32_t spec_ctrl = 0;                // that the last entry was given
    std::uint64_t address_mask = ~0ull;         // physical address -> address of the test's memory
};

Hardware &hardware();

} // namespace hwv::fake
