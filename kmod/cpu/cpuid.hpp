// SPDX-License-Identifier: GPL-2.0-only
// cpuid.hpp - the CPUID table of a vCPU, and the default one that hwv offers.
// Manuals: Intel SDM vol. 2, "CPUID-CPU Identification"; APM vol. 3, "Obtaining Processor
// Information Via the CPUID Instruction"; Linux, Documentation/virt/kvm/x86/cpuid.rst for the
// leaves at 0x40000000.
#pragma once
#include <cstdint>
#include "core/result.hpp"
#include "hwv.h"

namespace hwv::cpu {

struct CpuidResult {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr bool operator==(const CpuidResult &) const = default;
};

// One bit of the table: reg 0..3 is EAX, EBX, ECX, EDX.
struct Feature {
    std::uint32_t leaf;
    std::uint8_t subleaf, reg, bit;
};

namespace feature {
inline constexpr Feature vme{1, 0, 3, 1}, de{1, 0, 3, 2}, pse{1, 0, 3, 3}, tsc{1, 0, 3, 4},
    pae{1, 0, 3, 6}, mce{1, 0, 3, 7}, apic{1, 0, 3, 9}, mtrr{1, 0, 3, 12}, pge{1, 0, 3, 13},
    mca{1, 0, 3, 14}, pat{1, 0, 3, 16}, fxsr{1, 0, 3, 24}, sse{1, 0, 3, 25}, htt{1, 0, 3, 28},
    monitor{1, 0, 2, 3}, pcid{1, 0, 2, 17}, x2apic{1, 0, 2, 21}, tsc_deadline{1, 0, 2, 24},
    xsave{1, 0, 2, 26};
inline constexpr Feature fsgsbase{7, 0, 1, 0}, tsc_adjust{7, 0, 1, 1}, smep{7, 0, 1, 7},
    invpcid{7, 0, 1, 10}, smap{7, 0, 1, 20}, umip{7, 0, 2, 2}, rdpid{7, 0, 2, 22},
    spec_ctrl{7, 0, 3, 26}, stibp{7, 0, 3, 27}, flush_l1d{7, 0, 3, 28},
    arch_capabilities{7, 0, 3, 29}, ssbd{7, 0, 3, 31};
inline constexpr Feature intel_psfd{7, 2, 3, 0}, ipred_ctrl{7, 2, 3, 1}, rrsba_ctrl{7, 2, 3, 2},
    ddpd_u{7, 2, 3, 3}, bhi_ctrl{7, 2, 3, 4};
inline constexpr Feature syscall{0x8000'0001, 0, 3, 11}, nx{0x8000'0001, 0, 3, 20},
    fxsr_opt{0x8000'0001, 0, 3, 25}, gib_pages{0x8000'0001, 0, 3, 26},
    rdtscp{0x8000'0001, 0, 3, 27}, lm{0x8000'0001, 0, 3, 29};
inline constexpr Feature amd_ibpb{0x8000'0008, 0, 1, 12}, amd_ibrs{0x8000'0008, 0, 1, 14},
    amd_stibp{0x8000'0008, 0, 1, 15}, amd_ssbd{0x8000'0008, 0, 1, 24},
    virt_ssbd{0x8000'0008, 0, 1, 25}, amd_psfd{0x8000'0008, 0, 1, 28}, sbpb{0x8000'0021, 0, 0, 27};
} // namespace feature

// What of the vCPU's state CPUID shows.
struct CpuidState {
    std::uint64_t xcr0;
    bool osxsave;      // CR4.OSXSAVE
    bool apic_enabled; // IA32_APIC_BASE: LocalApic::present()
};

class CpuidTable {
  public:
    // Takes over the caller's table (kernel copy) for the vCPU with this APIC id. Leaf 1 EBX 23:16
    // = N > 0 asks that the topology leaves be rewritten for one package of N one-thread cores;
    // with 0 only APIC ids are filled in. too_big, invalid (flags, reserved, two entries for one
    // leaf). Nothing changes on error.
    Status set(const hwv_cpuid_entry *entries, std::uint32_t count, std::uint32_t apic_id);

    // State: what returns the vCPU's CpuidState. It is asked for leaves that show some of it.
    template <typename State>
    CpuidResult lookup(std::uint32_t leaf, std::uint32_t subleaf, const State &state) const {
        std::uint32_t shown = leaf; // its results are shown
        const hwv_cpuid_entry *e = find(leaf, subleaf);
        if (!e) [[unlikely]]
            e = beyond(shown, subleaf);
        CpuidResult result;
        if (e) result = {e->eax, e->ebx, e->ecx, e->edx};
        if (varies(shown)) adjust(shown, subleaf, state(), result);
        return result;
    }

    bool has(Feature feature) const;
    std::uint64_t cr4_allowed() const { return cr4_allowed_; }
    std::uint64_t xcr0_allowed() const {
        return xcr0_allowed_;
    } // to be ANDed with the facts' xcr0_guest
    unsigned phys_bits() const { return phys_bits_; }
    const hwv_cpuid_entry *entries() const { return entries_; }
    std::uint32_t count() const { return count_; }

    const hwv_cpuid_entry *find(std::uint32_t leaf, std::uint32_t subleaf) const;

  private:
    // First entry of a leaf, by its place in one of three windows: every leaf that software asks
    // for often is in one.
    static constexpr unsigned windows = 3, window_size = 64;
    static constexpr std::uint8_t absent = 0xff;
    static_assert(HWV_MAX_CPUID < absent);

    void index();
    void derive();
    std::uint32_t first(std::uint32_t leaf) const;
    std::uint32_t search(std::uint32_t leaf) const;
    bool present(std::uint32_t leaf) const;
    const hwv_cpuid_entry *beyond(std::uint32_t &leaf, std::uint32_t subleaf) const;
    static constexpr bool varies(std::uint32_t leaf) {
        constexpr std::uint32_t below_32 = 1u << 1 | 1u << 0xb | 1u << 0xd | 1u << 0x1f;
        return leaf < 32 ? below_32 >> leaf & 1 : leaf == 0x8000'0001;
    }
    void adjust(std::uint32_t leaf, std::uint32_t subleaf, const CpuidState &state,
                CpuidResult &result) const;
    std::uint32_t xsave_bytes(std::uint64_t components, bool compacted) const;

    hwv_cpuid_entry entries_[HWV_MAX_CPUID]{};
    std::uint32_t count_ = 0;
    std::uint32_t apic_id_ = 0;
    std::uint8_t first_[windows][window_size]{};
    std::uint32_t max_basic_ = 0, max_extended_ = 0;
    bool repeats_last_ = false; // a leaf out of range shows the highest basic one
    std::uint64_t cr4_allowed_ = 0, xcr0_allowed_ = 0;
    unsigned phys_bits_ = 36;
};

// XSETBV: what the manual demands of a value beyond being allowed ("XCR0" in "Managing State Using
// the XSAVE Feature Set").
constexpr bool valid_xcr0(std::uint64_t value, std::uint64_t allowed) {
    constexpr std::uint64_t x87 = 1, sse = 2, avx = 4, mpx = 3 << 3, avx512 = 7 << 5;
    if ((value & ~allowed) || !(value & x87)) return false;
    if ((value & avx) && !(value & sse)) return false;
    if ((value & mpx) && (value & mpx) != mpx) return false;
    return !(value & avx512) || ((value & avx512) == avx512 && (value & avx));
}

// What the default table depends on.
struct CpuidFacts {
    void (*read)(std::uint32_t leaf, std::uint32_t subleaf,
                 std::uint32_t (&out)[4]); // native::cpuid
    std::uint64_t xcr0_guest;
    std::uint32_t phys_bits;
    std::uint32_t tsc_khz;
    bool spec_ctrl; // the guest's SPEC_CTRL is switched (HWV_SPEC_CTRL)
    // Beyond the host's leaves: hwv_host_facts.cpuid_*, with VIRT_SSBD where it is served.
    std::uint32_t ext8_ebx = 0, ext21_eax = 0, ext21_ecx = 0;
};

// The host's leaves less what hwv does not offer, KVM's paravirtual leaves, hwv's own. `count`:
// room in, entries out. too_big: count says how many there are.
Status supported_cpuid(const CpuidFacts &facts, hwv_cpuid_entry *out, std::uint32_t &count);

// Rewrites the topology of a sorted table for one package of `cores` one-thread cores, and fills in
// the APIC id.
void place_vcpu(hwv_cpuid_entry *entries, std::uint32_t count, std::uint32_t apic_id);

// Paravirtual leaves (KVM's numbers).
inline constexpr std::uint32_t kvm_signature_leaf = 0x4000'0000, kvm_features_leaf = 0x4000'0001,
                               kvm_timing_leaf = 0x4000'0010, hwv_signature_leaf = 0x4000'0100,
                               hwv_version_leaf = 0x4000'0101;
// KVM_FEATURE_* that hwv implements: old and new clock MSRs, no I/O delay, steal time, PV EOI, kick
// (unhalt), TLB flush by a note in the steal time record, IPI hypercall, yield hypercall, MSI with
// extended destination id, stable clock.
inline constexpr std::uint32_t kvm_features = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 5 | 1u << 6 |
                                              1u << 7 | 1u << 9 | 1u << 11 | 1u << 13 | 1u << 15 |
                                              1u << 24;

} // namespace hwv::cpu
