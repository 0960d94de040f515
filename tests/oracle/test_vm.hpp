// SPDX-License-Identifier: GPL-2.0-only
// test_vm.hpp - one small virtual machine under /dev/hwv or /dev/kvm, in hwv's neutral words, so
// that the same guest bytes run under both and every register can be compared.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include "hwv.h"

namespace oracle {

enum class Kind { hwv, kvm };
const char *name(Kind kind);

struct Options {
    std::size_t memory = 8u << 20; // from guest-physical 0
    bool huge = false;             // 2 MiB host pages
    bool populate = true;          // touched by the host before the guest runs
    bool apic = false;             // a local APIC in the kernel; KVM: split irqchip
    bool hlt_to_user = true;       // KVM leaves at HLT only without an APIC
    bool ride = false;             // hwv: beside KVM; else it owns the CPUs if it can
    bool trapped = false;          // hwv: an observer counts all exits that the CPU can make
};

// The hypervisor refused a call: errno and what was tried.
struct Failure : std::runtime_error {
    Failure(int code, const std::string &what) : std::runtime_error{what}, code{code} {}
    int code;
};

// Attributes of hwv_segment.
inline constexpr std::uint16_t code16 = 0x009b, data16 = 0x0093, code32 = 0x0c9b, data32 = 0x0c93,
                               code64 = 0x0a9b, tss_busy = 0x008b, ldt = 0x0082, unusable = 0x1000;

class TestVm {
  public:
    TestVm() = default;
    TestVm(const TestVm &) = delete;
    virtual ~TestVm();

    std::span<std::uint8_t> memory() { return memory_; }

    virtual hwv_regs regs() = 0;                                           // all groups
    virtual void set_regs(const hwv_regs &regs, std::uint32_t groups) = 0; // throws Failure

    // Until the next exit to user. Under KVM translated: reason, rip where known, io, mmio
    // (decoded), hypercall. A signal shows as HWV_EXIT_KICKED.
    virtual hwv_exit run() = 0;
    virtual void
    reply(std::uint64_t data) = 0; // for the IN, MMIO read or RDMSR that run() returned

    // Answers every IN and MMIO read with 0 until the guest halts; returns how many exits that
    // took. The loop is as tight as the interface allows: this is what bench measures.
    virtual std::uint64_t run_to_halt() = 0;

    virtual bool inject(std::uint8_t vector) = 0; // external interrupt (ExtINT), kept until the
                                                  // guest takes it; false: one is kept
    virtual void nmi() = 0;
    virtual void msi(std::uint64_t address, std::uint32_t data) = 0; // with apic
    virtual std::uint64_t msr(std::uint32_t index) = 0;              // throws Failure
    virtual void set_msr(std::uint32_t index, std::uint64_t value) = 0;
    virtual void add_slot(std::uint32_t slot, std::uint64_t gpa, std::span<std::uint8_t> host,
                          bool read_only) = 0;
    virtual void remove_slot(std::uint32_t slot) = 0;
    virtual void xsave(std::span<std::uint8_t> area,
                       bool set) = 0; // standard format, at least 4096 bytes

  protected:
    void allocate(const Options &options);

    std::span<std::uint8_t> memory_;

  private:
    std::span<std::uint8_t> mapping_; // memory_, before it was aligned
};

bool on_intel();                             // whose hypercall and whose manual count
bool on_bochs();                             // by the firmware that L1 has
std::string firmware_says(const char *what); // in /sys/class/dmi/id
bool available(Kind kind);
std::unique_ptr<TestVm> make_vm(Kind kind, const Options &options = {}); // throws Failure
std::unique_ptr<TestVm> make_hwv(const Options &options);
std::unique_ptr<TestVm> make_kvm(const Options &options);
// All that KVM has but nested virtualization, which hwv does not offer: with it CR4.VMXE can be
// set.
void give_kvm_cpuid(int system, int vcpu);

// Register states to start from, flat segments, interrupts off. long_mode and pae write identity
// page tables (4 GiB, 2 MiB pages) at 0x2000..0x7fff and a GDT at 0x1000 into `memory`.
hwv_regs real_mode(std::uint16_t cs, std::uint16_t ip);
hwv_regs protected_mode(std::span<std::uint8_t> memory, std::uint32_t eip);
hwv_regs pae_mode(std::span<std::uint8_t> memory, std::uint32_t eip);
hwv_regs long_mode(std::span<std::uint8_t> memory, std::uint64_t rip);

} // namespace oracle
