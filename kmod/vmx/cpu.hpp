// SPDX-License-Identifier: GPL-2.0-only
// cpu.hpp - one physical CPU in hwv's service: VMX on and off, and whose VMCS is the current one.
#pragma once
#include <atomic>
#include <cstdint>
#include "core.h"
#include "core/result.hpp"
#include "host.h"
#include "npt/format_ept.hpp"
#include "vmx/capabilities.hpp"
#include "vmx/l1d.hpp"
#include "vmx/maps.hpp"

namespace hwv::vmx {

// A virtual-machine control structure: a page that a CPU may hold in parts until VMCLEAR. Intel SDM
// vol. 3, "Virtual-Machine Control Structures".
class Vmcs {
  public:
    Status create(std::uint32_t revision); // process context
    void destroy();                        // process context; idempotent
    std::uint64_t pa() const { return page_.pa; }

    bool launched = false; // since the last VMCLEAR: the next entry is VMRESUME

  private:
    friend class Cpu;
    static constexpr int nowhere = -1;
    hwv_host_page page_{};
    std::atomic<int> cpu_{nowhere}; // that may hold parts of it
};

// MSRs that VM exits do not restore.
struct HeldMsrs {
    std::uint64_t star = 0, lstar = 0, sfmask = 0, kernel_gs_base = 0, tsc_aux = 0;
};

class Cpu {
  public:
    Status prepare(std::uint32_t revision); // process context; idempotent
    void release();                         // after disable()
    // On the CPU, irqs off. Own: Error::busy, somebody else has VMX on. Ride: Error::no_device,
    // nobody has.
    Status enable(hwv_tenure tenure);
    void disable(); // on the CPU, irqs off; also while the machine crashes

    // Makes it this CPU's current one. Preemption off, irqs on. Also where another has VMX on and
    // hwv is not in service, so that no access reaches that one's VMCS. False: VMX is off.
    bool load(Vmcs &vmcs);
    // Irqs off. Gives the CPU back to whoever had VMX on: true. Where hwv has, the VMCS stays for
    // the next time.
    bool put() { return borrowed_ && give_back(); }
    bool enabled() const { return tenure_ != 0; }
    bool shared() const { return tenure_ == HWV_TENURE_RIDE; }
    bool holds(const Vmcs &vmcs) const { return resident_ == &vmcs; }
    // The host's, as learn_msrs() found them, all but the thread's KERNEL_GS_BASE.
    const HeldMsrs &host_msrs() const { return host_msrs_; }
    // On the CPU, before the guest's are loaded. Where hwv has VMX on nobody changes them; KVM may
    // have left its guest's in them until it returns to its user.
    void learn_msrs() {
        if (tenure_ != HWV_TENURE_OWN) read_msrs();
    }

  private:
    friend class Vmcs;
    static void evict(void *vmcs); // on the CPU that may hold it, irqs off
    void clear_resident();
    bool give_back();
    void read_msrs();

    hwv_host_page region_{}; // VMXON's
    HeldMsrs host_msrs_{};
    Vmcs *resident_ = nullptr;
    std::uint64_t others_ = none; // the VMCS that was current before load(), of another hypervisor
    bool borrowed_ = false;       // from load() to put(), where the CPU is not hwv's
    std::uint32_t tenure_ = 0;    // hwv_tenure, 0: not in service

    static constexpr std::uint64_t none = ~0ull;
};

// Process context, at module load and exit: reads the CPU, makes what all CPUs share. Succeeds
// where VMX is unusable.
Status start();
void stop();

// All CPUs, as the core's table of a vendor wants them; between start() and stop().
struct Cpus {
    static hwv_unusable unusable() { return capabilities().unusable; }
    static std::uint64_t features() { return vmx::features(capabilities()); }
    static Status prepare(std::uint32_t cpu) { return at(cpu).prepare(capabilities().revision); }
    static void release(std::uint32_t cpu) { at(cpu).release(); }
    static Status enable(hwv_tenure tenure) { return at(hwv_host_cpu()).enable(tenure); }
    static void disable() { at(hwv_host_cpu()).disable(); }
    static npt::TableShape<npt::EptFormat> table() {
        return {npt::EptFormat{capabilities().ept}, 4};
    }

    static const Capabilities &capabilities() { return capabilities_; }
    static const MsrMap &msr_map() { return msr_map_; }
    static const MsrMap &apic_map() { return apic_map_; } // where the CPU works on the APIC
    static const L1dBuffer &l1d() { return l1d_; }
    static Cpu &at(std::uint32_t cpu) { return cpus_[cpu]; }

  private:
    friend Status start();
    friend void stop();
    static inline constinit Capabilities capabilities_{};
    static inline constinit MsrMap msr_map_{}, apic_map_{};
    static inline constinit L1dBuffer l1d_{};
    static inline constinit Cpu *cpus_ = nullptr;
};

} // namespace hwv::vmx
