// SPDX-License-Identifier: GPL-2.0-only
#include "svm/capabilities.hpp"
#include "core/arch.hpp"
#include "svm/arch.hpp"

namespace hwv::svm {

namespace {

// A leaf beyond the maximum answers with another leaf's data: zeros for those.
arch::CpuidLeaf leaf(std::uint32_t number) {
    if (arch::cpuid(number & 0x8000'0000).eax < number) return {};
    return arch::cpuid(number);
}

bool bit(std::uint32_t word, unsigned n) { return word >> n & 1; }

hwv_unusable unusable(bool svm, const arch::CpuidLeaf &features,
                      const arch::CpuidLeaf &encryption) {
    if (!svm) return HWV_UNUSABLE_NO_VIRT;
    // APM "Enabling SVM": with SVMDIS set EFER.SVME cannot be.
    if (arch::rdmsr_safe(msr::vm_cr).value_or(vm_cr::svmdis) & vm_cr::svmdis)
        return HWV_UNUSABLE_LOCKED;
    if (!bit(features.edx, 0)) return HWV_UNUSABLE_NO_NESTED_PAGING;
    // With SEV-SNP active in the host every page has an owner in the reverse map, which hwv does
    // not keep.
    if (bit(encryption.eax, 4) && (arch::rdmsr_safe(msr::syscfg).value_or(0) & syscfg::snp_enable))
        return HWV_UNUSABLE_CONFIDENTIAL;
    return HWV_USABLE;
}

} // namespace

// APM vol. 3, "Function 8000_000Ah: SVM Features", "Function 8000_001Fh: Encrypted Memory
// Capabilities".
Capabilities read_capabilities() {
    const bool svm = bit(leaf(0x8000'0001).ecx, 2);
    const arch::CpuidLeaf f = svm ? leaf(0x8000'000a) : arch::CpuidLeaf{};
    const arch::CpuidLeaf encryption = leaf(0x8000'001f);
    Capabilities c;
    c.unusable = unusable(svm, f, encryption);
    c.lbrv = bit(f.edx, 1);
    c.nrips = bit(f.edx, 3);
    c.tsc_ratio = bit(f.edx, 4);
    c.vmcb_clean = bit(f.edx, 5);
    c.flush_by_asid = bit(f.edx, 6);
    c.decode_assists = bit(f.edx, 7);
    c.pause_filter = bit(f.edx, 10);
    c.pause_threshold = bit(f.edx, 12);
    c.vgif = bit(f.edx, 16);
    c.v_spec_ctrl = bit(f.edx, 20);
    c.vnmi = bit(f.edx, 25);
    c.tsc_aux = bit(leaf(0x8000'0001).edx, 27) || bit(leaf(7).ecx, 22);
    c.last_asid = f.ebx ? f.ebx - 1 : 0;
    if (encryption.ecx < c.last_asid) c.first_asid = encryption.ecx + 1;
    if (const std::uint32_t bits = leaf(0x8000'0008).eax & 0xff) c.phys_bits = bits;
    return c;
}

std::uint64_t features(const Capabilities &c) {
    return (c.nrips ? HWV_FEATURE_NEXT_RIP : 0) |
           (c.decode_assists ? HWV_FEATURE_DECODE_ASSIST : 0) |
           (c.flush_by_asid ? HWV_FEATURE_FLUSH_BY_ASID : 0) |
           (c.tsc_ratio ? HWV_FEATURE_TSC_SCALING : 0) |
           (c.pause_filter ? HWV_FEATURE_PAUSE_FILTER : 0) | (c.vnmi ? HWV_FEATURE_VNMI : 0);
}

} // namespace hwv::svm
