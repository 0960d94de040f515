// SPDX-License-Identifier: GPL-2.0-only
// cpuid_supported.cpp - the default table. Allow-lists: a bit that is not named here does not reach
// a guest.
#include "cpu/apic_timer.hpp"
#include "cpu/cpuid.hpp"

namespace hwv::cpu {
namespace {

constexpr std::uint32_t all = ~0u;

template <typename... Bits>
constexpr std::uint32_t bits(Bits... n) {
    return (0u | ... | (1u << n));
}

// host & mask | force, register by register: EAX, EBX, ECX, EDX
struct Row {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    std::uint32_t mask[4];
    std::uint32_t force[4];
    bool by_subleaf = false;
};

// Leaf 1 ECX less: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT, SDBG, xTPR, PDCM, DCA. EDX
// less: PSN, DS, ACPI, TM, PBE.
constexpr std::uint32_t leaf1_ecx =
    bits(0, 1, 9, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30);
constexpr std::uint32_t leaf1_edx =
    bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26, 27);
constexpr std::uint32_t leaf1_ecx_forced = bits(21, 24, 31); // x2APIC, TSC deadline, hypervisor
// Leaf 7 EBX less: SGX, RDT, MPX, PT. ECX less: PKU, WAITPKG, CET, LA57, TME, KL, BUS_LOCK, ENQCMD,
// PKS. EDX less: UINTR, SRBDS_CTRL, hybrid, PCONFIG, LBR, IBT, AMX, CORE_CAPABILITIES.
constexpr std::uint32_t leaf7_ebx = bits(0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 18, 19, 20, 21,
                                         23, 24, 26, 27, 28, 29, 30, 31);
constexpr std::uint32_t leaf7_ebx_forced = bits(1); // TSC_ADJUST
constexpr std::uint32_t leaf7_ecx = bits(0, 1, 2, 6, 8, 9, 10, 11, 12, 14, 22, 25, 27, 28);
constexpr std::uint32_t leaf7_edx = bits(2, 3, 4, 8, 10, 14, 16, 23, 26, 27, 28, 29, 31);
constexpr std::uint32_t leaf7_edx_spec = bits(26, 27, 31);
constexpr std::uint32_t arch_capabilities_bit = bits(29);
constexpr std::uint32_t leaf7_1_eax = bits(4, 5, 10, 11, 12, 23);
constexpr std::uint32_t leaf7_2_edx = bits(0, 1, 2, 3, 4, 5); // PSFD to BHI_CTRL, MCDT_NO
constexpr std::uint32_t leaf7_2_edx_spec = bits(0, 1, 2, 3, 4);
// 0x80000001 ECX less: SVM, ExtApicSpace, OSVW, IBS, SKINIT, WDT, LWP, TCE, NodeId, performance
// counters, breakpoints, MWAITX.
constexpr std::uint32_t ext1_ecx = bits(0, 4, 5, 6, 7, 8, 11, 16, 21, 22);
constexpr std::uint32_t ext1_edx = bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17,
                                        20, 22, 23, 24, 25, 26, 27, 29, 30, 31);
// 0x80000008 EBX: CLZERO, XSAVEERPTR, WBNOINVD, IBPB and what goes with SPEC_CTRL, SSB_NO, BTC_NO,
// IBPB_RET. Not RDPRU, INVLPGB.
constexpr std::uint32_t ext8_ebx = bits(0, 2, 9, 12, 14, 15, 16, 17, 18, 24, 26, 28, 29, 30);
constexpr std::uint32_t ext8_ebx_spec = bits(14, 15, 16, 17, 18, 24, 28);
// 0x80000021 EAX: no nested data breakpoints, LFENCE serializes, VERW clears buffers, null selector
// clears base, SBPB, IBPB_BRTYPE, SRSO_NO. ECX: TSA_SQ_NO, TSA_L1_NO.
constexpr std::uint32_t ext21_eax = bits(0, 2, 5, 6, 27, 28, 29);
constexpr std::uint32_t ext21_ecx = bits(1, 2);

constexpr Row rows[] = {
    {0x0, 0, {0, all, all, all}, {}},
    {0x1, 0, {all, 0xff00, leaf1_ecx, leaf1_edx}, {0, 1u << 16, leaf1_ecx_forced, bits(9)}},
    {0x2, 0, {all, all, all, all}, {}},
    {0x6, 0, {}, {bits(2), 0, 0, 0}}, // ARAT: the APIC timer never stops
    {0x7, 0, {all, leaf7_ebx, leaf7_ecx, leaf7_edx}, {0, leaf7_ebx_forced, 0, 0}, true},
    {0x7, 1, {leaf7_1_eax, 0, 0, 0}, {}, true},
    {0x7, 2, {0, 0, 0, leaf7_2_edx}, {}, true},
    {0x8000'0000, 0, {0, all, all, all}, {}},
    {0x8000'0001, 0, {all, all, ext1_ecx, ext1_edx}, {}},
    {0x8000'0002, 0, {all, all, all, all}, {}},
    {0x8000'0003, 0, {all, all, all, all}, {}},
    {0x8000'0004, 0, {all, all, all, all}, {}},
    {0x8000'0005, 0, {all, all, all, all}, {}},
    {0x8000'0006, 0, {all, all, all, all}, {}},
    {0x8000'0007, 0, {0, 0, 0, bits(8)}, {}}, // invariant TSC
    {0x8000'0008, 0, {0, ext8_ebx, 0, 0}, {}},
    {0x8000'0019, 0, {all, all, 0, 0}, {}},
    {0x8000'001a, 0, {all, 0, 0, 0}, {}},
    {0x8000'0021, 0, {ext21_eax, 0, ext21_ecx, 0}, {}},
};

// Bits that need state which the guest cannot enable.
struct StateRule {
    std::uint32_t leaf, subleaf, needs; // of XCR0
    std::uint32_t mask[4];              // bits to take away without it
};
constexpr std::uint32_t xcr0_avx = 4, xcr0_avx512 = 0xe0;
constexpr StateRule state_rules[] = {
    {0x1, 0, 1, {0, 0, bits(26, 28, 12, 29), 0}}, // XSAVE and all that is built on it
    {0x1, 0, xcr0_avx, {0, 0, bits(28, 12, 29), 0}},
    {0x7, 0, xcr0_avx, {0, bits(5), bits(9, 10), 0}},
    {0x7,
     0,
     xcr0_avx512,
     {0, bits(16, 17, 21, 26, 27, 28, 30, 31), bits(1, 6, 11, 12, 14), bits(2, 3, 8, 23)}},
    {0x7, 1, xcr0_avx, {bits(4, 23), 0, 0, 0}},
    {0x7, 1, xcr0_avx512, {bits(5), 0, 0, 0}},
    {0x8000'0001, 0, xcr0_avx, {0, 0, bits(11, 16), 0}},
};

class Builder {
  public:
    Builder(const CpuidFacts &facts, hwv_cpuid_entry *out, std::uint32_t room)
        : facts_{facts}, out_{out}, room_{room} {
        std::uint32_t r[4];
        facts_.read(0, 0, r);
        host_basic_ = r[0];
        intel_ = r[1] == 0x756e'6547; // "Genu"
        facts_.read(0x8000'0000, 0, r);
        host_extended_ = r[0] >> 31 ? r[0] : 0;
    }

    std::uint32_t build() {
        for (const Row &row : rows)
            masked(row);
        caches(0x4);
        topology();
        xstate();
        timing();
        caches(0x8000'001d);
        if (host_extended_ >= 0x8000'001e) add(0x8000'001e, 0, {});
        paravirtual();
        return count_;
    }

  private:
    bool host_has(std::uint32_t leaf) const {
        return leaf & 0x8000'0000 ? leaf <= host_extended_ : leaf <= host_basic_;
    }

    void add(std::uint32_t leaf, std::uint32_t subleaf, CpuidResult r, bool by_subleaf = false) {
        if (count_ < room_)
            out_[count_] = {leaf,  subleaf, by_subleaf ? HWV_CPUID_SUBLEAF : 0, r.eax, r.ebx, r.ecx,
                            r.edx, 0};
        ++count_;
    }

    void masked(const Row &row) {
        const bool made_up = row.force[0] | row.force[1] | row.force[2] | row.force[3];
        const bool known = row.leaf >> 31 ? row.leaf <= extended_limit() : host_has(row.leaf);
        if (!known && !made_up) return;
        std::uint32_t r[4] = {};
        if (host_has(row.leaf)) facts_.read(row.leaf, row.subleaf, r);
        for (unsigned i = 0; i < 4; ++i)
            r[i] = (r[i] & row.mask[i]) | row.force[i];
        for (const StateRule &rule : state_rules)
            if (rule.leaf == row.leaf && rule.subleaf == row.subleaf &&
                (facts_.xcr0_guest & rule.needs) != rule.needs)
                for (unsigned i = 0; i < 4; ++i)
                    r[i] &= ~rule.mask[i];
        finish(row.leaf, row.subleaf, r);
        add(row.leaf, row.subleaf, {r[0], r[1], r[2], r[3]}, row.by_subleaf);
    }

    // What depends on more than the host's leaf.
    void finish(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t (&r)[4]) const {
        if (leaf == 0) r[0] = basic_limit();
        if (leaf == 0x8000'0000) r[0] = extended_limit();
        if (leaf == 0x8000'0008) r[0] = facts_.phys_bits | 48 << 8;
        if (leaf == 7 && subleaf == 0) r[0] = r[0] < 1 ? 1 : r[0] > 2 ? 2 : r[0];
        speculation(leaf, subleaf, r);
    }

    // IA32_ARCH_CAPABILITIES is hwv's own. AMD's CPUs have none, and there are guests that refuse
    // one of theirs which does.
    void speculation(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t (&r)[4]) const {
        if (!facts_.spec_ctrl && leaf == 7)
            r[3] &= subleaf == 0 ? ~leaf7_edx_spec : subleaf == 2 ? ~leaf7_2_edx_spec : all;
        if (!facts_.spec_ctrl && leaf == 0x8000'0008) r[1] &= ~ext8_ebx_spec;
        if (leaf == 7 && subleaf == 0 && intel_) r[3] |= arch_capabilities_bit;
        if (leaf == 0x8000'0008) r[1] |= facts_.ext8_ebx;
        if (leaf == 0x8000'0021) {
            r[0] |= facts_.ext21_eax;
            r[2] |= facts_.ext21_ecx;
        }
    }

    std::uint32_t extended_limit() const {
        constexpr std::uint32_t highest = 0x8000'0021;
        if (facts_.ext21_eax | facts_.ext21_ecx) return highest;
        return host_extended_ < highest ? host_extended_ : highest;
    }

    std::uint32_t basic_limit() const {
        constexpr std::uint32_t lowest = 0xd, highest = 0x16; // topology and XSAVE; frequencies
        return host_basic_ < lowest ? lowest : host_basic_ > highest ? highest : host_basic_;
    }

    // Deterministic cache parameters: subleaves up to a type of 0. Sharing is place_vcpu()'s.
    void caches(std::uint32_t leaf) {
        constexpr std::uint32_t type = 0x1f, most = 8;
        if (!host_has(leaf)) return;
        for (std::uint32_t sub = 0; sub < most; ++sub) {
            std::uint32_t r[4];
            facts_.read(leaf, sub, r);
            if (!(r[0] & type)) break;
            add(leaf, sub, {r[0], r[1], r[2], r[3]}, true);
        }
    }

    void topology() {
        add(0xb, 0, {}, true);
        add(0xb, 1, {}, true);
    }

    void xstate() {
        if (!facts_.xcr0_guest || !host_has(0xd)) return;
        std::uint32_t r[4];
        facts_.read(0xd, 1, r);
        constexpr std::uint32_t xsaveopt_xsavec_xgetbv1 = 7;
        const CpuidResult one{r[0] & xsaveopt_xsavec_xgetbv1, r[0] & 2 ? 576u : 0u, 0, 0};
        std::uint32_t end = 576;
        const std::uint32_t zero_at = count_;
        add(0xd, 0, {}, true);
        add(0xd, 1, one, true);
        for (std::uint32_t i = 2; i < 63; ++i) {
            if (!(facts_.xcr0_guest >> i & 1)) continue;
            facts_.read(0xd, i, r);
            add(0xd, i, {r[0], r[1], r[2] & 2, 0}, true);
            if (r[0] + r[1] > end) end = r[0] + r[1];
        }
        if (zero_at >= room_) return;
        out_[zero_at].eax = static_cast<std::uint32_t>(facts_.xcr0_guest);
        out_[zero_at].edx = static_cast<std::uint32_t>(facts_.xcr0_guest >> 32);
        out_[zero_at].ebx = out_[zero_at].ecx = end;
    }

    // TSC / crystal clock. Guests take the crystal for the APIC timer's clock, so it must be that;
    // and they multiply in 32 bits, so that a ratio that would overflow is left out.
    void timing() {
        if (!host_has(0x15) || !facts_.tsc_khz) return;
        std::uint32_t a = apic_timer_khz, b = facts_.tsc_khz;
        while (b) {
            const std::uint32_t rest = a % b;
            a = b;
            b = rest;
        }
        const std::uint32_t numerator = facts_.tsc_khz / a, denominator = apic_timer_khz / a;
        if (static_cast<std::uint64_t>(numerator) * apic_timer_khz <= all)
            add(0x15, 0, {denominator, numerator, apic_timer_khz * 1000, 0});
        if (host_has(0x16)) add(0x16, 0, {facts_.tsc_khz / 1000, facts_.tsc_khz / 1000, 0, 0});
    }

    void paravirtual() {
        add(kvm_signature_leaf, 0,
            {kvm_timing_leaf, 0x4b4d'564b, 0x564b'4d56, 0x0000'004d}); // "KVMKVMKVM\0\0\0"
        add(kvm_features_leaf, 0, {kvm_features, 0, 0, 0});
        add(kvm_timing_leaf, 0, {facts_.tsc_khz, apic_timer_khz, 0, 0});
        add(hwv_signature_leaf, 0,
            {hwv_version_leaf, 0x6876'7768, 0x7768'7677, 0x7677'6876}); // "hwvhwvhwvhwv"
        add(hwv_version_leaf, 0, {HWV_ABI_VERSION, 0, 0, 0});
    }

    const CpuidFacts &facts_;
    hwv_cpuid_entry *out_;
    std::uint32_t room_;
    std::uint32_t count_ = 0;
    std::uint32_t host_basic_ = 0, host_extended_ = 0;
    bool intel_ = false;
};

} // namespace

Status supported_cpuid(const CpuidFacts &facts, hwv_cpuid_entry *out, std::uint32_t &count) {
    const std::uint32_t room = count;
    count = Builder{facts, out, room}.build();
    if (count > room) return Error::too_big;
    place_vcpu(out, count, 0);
    return {};
}

} // namespace hwv::cpu
