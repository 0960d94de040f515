// SPDX-License-Identifier: GPL-2.0-only
// cpu.hpp - one physical CPU in hwv's service: SVM on and off, the pages that VMRUN and VMLOAD
// need, its address space identifiers (ASIDs).
#pragma once
#include <cstdint>
#include "core.h"
#include "core/result.hpp"
#include "npt/format_npt.hpp"
#include "svm/capabilities.hpp"
#include "svm/flush.hpp"
#include "svm/maps.hpp"
#include "svm/vmcb.hpp"

namespace hwv::svm {

// Every physical address that the CPU will read carries the host's encryption mask.
inline std::uint64_t phys_to_hw(std::uint64_t pa) { return pa | hwv_host_facts()->sme_mask; }

// Under which number, and until when, a vCPU's translations are in a CPU's TLB.
struct Asid {
    std::uint64_t generation = 0; // 0: of no CPU
    std::uint32_t number = 0;
};

class Cpu {
  public:
    Status prepare(); // process context; idempotent
    void release();   // after disable()
    // On the CPU, irqs off. Own: Error::busy where somebody else has SVM on. Ride: Error::no_device
    // where nobody has; EFER.SVME and VM_HSAVE_PA stay KVM's, whose save area serves, being live
    // only between VMRUN and #VMEXIT.
    Status enable(const Capabilities &capabilities, hwv_tenure tenure);
    void disable(); // on the CPU, irqs off; also while the machine crashes

    // False: the vCPU needs a new ASID before it may enter.
    bool owns(const Asid &asid) const { return asid.generation == generation_; }
    // A number that nothing in this CPU's TLB carries, once the first entry did what is returned.
    // Preemption off.
    TlbControl assign(Asid &asid);
    // Irqs off, host_state_pa() stored: no translation of any guest's is left here.
    void flush() const { flusher_.flush(first_asid_, host_state_pa()); }

    std::uint64_t host_state_pa() const { return host_state_hw_; }
    bool enabled() const { return tenure_ != HWV_TENURE_NONE; }
    // KVM runs guests here as well, under the same ASIDs, which it believes to be its own.
    bool shared() const { return tenure_ == HWV_TENURE_RIDE; }

  private:
    hwv_host_page save_area_{};  // VM_HSAVE_PA: VMRUN's own
    hwv_host_page host_state_{}; // the host's half that VMLOAD and VMSAVE move
    std::uint64_t host_state_hw_ = 0;
    Flusher flusher_;
    std::uint64_t generation_ =
        1; // counts flushes; never goes back, so that no vCPU's old ASID looks valid
    std::uint32_t first_asid_ = 1, last_asid_ = 0, next_asid_ = 1;
    hwv_tenure tenure_ = HWV_TENURE_NONE;

    Status switch_on(const Capabilities &capabilities);
};

// Process context, at module load and exit: reads the CPU, makes what all CPUs share. Succeeds
// where SVM is unusable.
Status start();
void stop();

// All CPUs, as the core's table of a vendor wants them; between start() and stop().
struct Cpus {
    static hwv_unusable unusable() { return capabilities().unusable; }
    static std::uint64_t features() { return svm::features(capabilities()); }
    static Status prepare(std::uint32_t cpu) { return at(cpu).prepare(); }
    static void release(std::uint32_t cpu) { at(cpu).release(); }
    static Status enable(hwv_tenure tenure) {
        return at(hwv_host_cpu()).enable(capabilities(), tenure);
    }
    static void disable() { at(hwv_host_cpu()).disable(); }
    // The CPU walks as many levels as the host's own tables have: APM "Nested Table Walk".
    static npt::TableShape<npt::NptFormat> table() {
        return {npt::NptFormat{hwv_host_facts()->sme_mask}, hwv_host_facts()->paging_levels};
    }

    static const Capabilities &capabilities() { return capabilities_; }
    static const PermissionMaps &maps() { return maps_; }
    static Cpu &at(std::uint32_t cpu) { return cpus_[cpu]; }

  private:
    friend Status start();
    friend void stop();
    static inline constinit Capabilities capabilities_{};
    static inline constinit PermissionMaps maps_{};
    static inline constinit Cpu *cpus_ = nullptr;
};

} // namespace hwv::svm
