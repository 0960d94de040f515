// SPDX-License-Identifier: GPL-2.0-only
// cpuid.cpp - the table of one vCPU: taking it over, answering from it.
#include "cpu/cpuid.hpp"
#include "core/guest_state.hpp"
#include "cpu/nospec.hpp"

namespace hwv::cpu {
namespace {

constexpr std::uint32_t window_base[] = {0, 0x4000'0000, 0x8000'0000};
constexpr std::uint32_t leaf_features = 1, leaf_xstate = 0xd, leaf_extended_features = 0x8000'0001;
constexpr std::uint32_t leaf_topology = 0xb, leaf_topology_v2 = 0x1f;
constexpr std::uint32_t xsave_legacy_bytes = 576; // FXSAVE area and XSAVE header

constexpr bool has_subleaf(const hwv_cpuid_entry &e) { return e.flags & HWV_CPUID_SUBLEAF; }

constexpr bool before(const hwv_cpuid_entry &a, const hwv_cpuid_entry &b) {
    return a.leaf != b.leaf ? a.leaf < b.leaf : a.subleaf < b.subleaf;
}

// Insertion sort: tables come sorted, and have at most HWV_MAX_CPUID entries.
void sort(hwv_cpuid_entry *entries, std::uint32_t count) {
    for (std::uint32_t i = 1; i < count; ++i) {
        const hwv_cpuid_entry moving = entries[i];
        std::uint32_t j = i;
        for (; j && before(moving, entries[j - 1]); --j)
            entries[j] = entries[j - 1];
        entries[j] = moving;
    }
}

constexpr bool clash(const hwv_cpuid_entry &a, const hwv_cpuid_entry &b) {
    return a.leaf == b.leaf && (!has_subleaf(a) || !has_subleaf(b) || a.subleaf == b.subleaf);
}

// Any two clashing entries of a leaf: leaves have few entries, so that pairs are few.
Status check(const hwv_cpuid_entry *entries, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
        if ((entries[i].flags & ~HWV_CPUID_SUBLEAF) || entries[i].reserved) return Error::invalid;
        for (std::uint32_t j = 0; j < i; ++j)
            if (clash(entries[i], entries[j])) return Error::invalid;
    }
    return {};
}

constexpr std::uint32_t reg_of(const hwv_cpuid_entry &e, unsigned reg) {
    const std::uint32_t regs[] = {e.eax, e.ebx, e.ecx, e.edx};
    return regs[reg & 3];
}

} // namespace

Status CpuidTable::set(const hwv_cpuid_entry *entries, std::uint32_t count, std::uint32_t apic_id) {
    if (count > HWV_MAX_CPUID) return Error::too_big;
    TRY(check(entries, count));
    for (std::uint32_t i = 0; i < count; ++i) {
        entries_[i] = entries[i];
        if (!has_subleaf(entries_[i])) entries_[i].subleaf = 0;
    }
    count_ = count;
    apic_id_ = apic_id;
    sort(entries_, count_);
    place_vcpu(entries_, count_, apic_id_);
    index();
    derive();
    return {};
}

void CpuidTable::index() {
    for (auto &window : first_)
        for (auto &place : window)
            place = absent;
    for (std::uint32_t i = count_; i-- > 0;)
        for (unsigned w = 0; w < windows; ++w)
            if (const std::uint32_t at = entries_[i].leaf - window_base[w]; at < window_size)
                first_[w][at] = static_cast<std::uint8_t>(i);
}

// What others ask often, computed once.
void CpuidTable::derive() {
    struct Cr4Rule {
        std::uint64_t bits;
        Feature needs;
    };
    static constexpr Cr4Rule rules[] = {
        {cr4::vme | cr4::pvi, feature::vme},
        {cr4::tsd, feature::tsc},
        {cr4::de, feature::de},
        {cr4::pse, feature::pse},
        {cr4::pae, feature::pae},
        {cr4::mce, feature::mce},
        {cr4::pge, feature::pge},
        {cr4::osfxsr, feature::fxsr},
        {cr4::osxmmexcpt, feature::sse},
        {cr4::umip, feature::umip},
        {cr4::pcide, feature::pcid},
        {cr4::fsgsbase, feature::fsgsbase},
        {cr4::osxsave, feature::xsave},
        {cr4::smep, feature::smep},
        {cr4::smap, feature::smap},
    };
    cr4_allowed_ = cr4::pce;
    for (const auto &rule : rules)
        if (has(rule.needs)) cr4_allowed_ |= rule.bits;
    const hwv_cpuid_entry *e = find(leaf_xstate, 0);
    xcr0_allowed_ = e ? static_cast<std::uint64_t>(e->edx) << 32 | e->eax : 0;
    e = find(0, 0);
    max_basic_ = e ? e->eax : 0;
    repeats_last_ = e && e->ebx == 0x756e'6547 && e->edx == 0x4965'6e69 &&
                    e->ecx == 0x6c65'746e; // "GenuineIntel"
    e = find(0x8000'0000, 0);
    max_extended_ = e ? e->eax : 0;
    e = find(0x8000'0008, 0);
    phys_bits_ = e && max_extended_ >= 0x8000'0008 ? e->eax & 0xff : 36;
}

[[gnu::always_inline]] inline std::uint32_t CpuidTable::first(std::uint32_t leaf) const {
    for (unsigned w = 0; w < windows; ++w)
        if (const std::uint32_t at = leaf - window_base[w]; at < window_size)
            return first_[w][nospec<window_size>(at)];
    return search(leaf);
}

std::uint32_t CpuidTable::search(std::uint32_t leaf) const {
    for (std::uint32_t i = 0; i < count_; ++i)
        if (entries_[i].leaf == leaf) return i;
    return absent;
}

const hwv_cpuid_entry *CpuidTable::find(std::uint32_t leaf, std::uint32_t subleaf) const {
    for (std::uint32_t i = first(leaf); i < count_ && entries_[i].leaf == leaf; ++i)
        if (!has_subleaf(entries_[i]) || entries_[i].subleaf == subleaf) return &entries_[i];
    return nullptr;
}

bool CpuidTable::has(Feature f) const {
    const hwv_cpuid_entry *e = find(f.leaf, f.subleaf);
    return e && (reg_of(*e, f.reg) >> f.bit & 1);
}

// "If a value entered for CPUID.EAX is higher than the maximum input value ... the data for the
// highest basic information leaf is returned" (SDM); zeros on the other make, and for the
// hypervisor's range.
const hwv_cpuid_entry *CpuidTable::beyond(std::uint32_t &leaf, std::uint32_t subleaf) const {
    if (!repeats_last_ || leaf >> 28 == 4) return nullptr;
    const bool in_range = leaf & 0x8000'0000 ? leaf <= max_extended_ : leaf <= max_basic_;
    const hwv_cpuid_entry *e = in_range ? nullptr : find(max_basic_, subleaf);
    if (e) leaf = max_basic_;
    return e;
}

void CpuidTable::adjust(std::uint32_t leaf, std::uint32_t subleaf, const CpuidState &state,
                        CpuidResult &result) const {
    constexpr std::uint32_t osxsave = 1u << 27, apic = 1u << 9;
    switch (leaf) {
    case leaf_features:
        result.ecx = (result.ecx & ~osxsave) | (state.osxsave ? osxsave : 0);
        if (!state.apic_enabled) result.edx &= ~apic;
        break;
    case leaf_extended_features:
        if (!state.apic_enabled) result.edx &= ~apic;
        break;
    case leaf_topology:
    case leaf_topology_v2:
        // below the last level ECX still repeats the subleaf, and EDX is the id
        if (result != CpuidResult{} || !present(leaf)) break;
        result.ecx = subleaf & 0xff;
        result.edx = apic_id_;
        break;
    case leaf_xstate:
        if (subleaf == 0 && result.ebx) result.ebx = xsave_bytes(state.xcr0, false);
        if (subleaf == 1 && result.ebx) result.ebx = xsave_bytes(state.xcr0, true);
        break;
    default: break;
    }
}

bool CpuidTable::present(std::uint32_t leaf) const { return first(leaf) < count_; }

// Size of an XSAVE area of these components, from the sizes, offsets and alignments in leaf 0xd
// itself.
std::uint32_t CpuidTable::xsave_bytes(std::uint64_t components, bool compacted) const {
    std::uint32_t end = xsave_legacy_bytes;
    for (std::uint32_t i = first(leaf_xstate); i < count_ && entries_[i].leaf == leaf_xstate; ++i) {
        const hwv_cpuid_entry &e = entries_[i];
        if (e.subleaf < 2 || e.subleaf > 62 || !(components >> e.subleaf & 1)) continue;
        constexpr std::uint32_t aligned = 2;
        const std::uint32_t start = !compacted ? e.ebx : e.ecx & aligned ? (end + 63) & ~63u : end;
        if (start + e.eax > end) end = start + e.eax;
    }
    return end;
}

} // namespace hwv::cpu
