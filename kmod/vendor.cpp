// SPDX-License-Identifier: GPL-2.0-only
// vendor.cpp - the one file that knows both vendors: looks at the CPU and chooses.
#include "core/vendor.hpp"
#include "core/arch.hpp"
#include "svm/vendor.hpp"

namespace hwv {
namespace {

// The maker's name as CPUID leaf 0 spells it in EBX EDX ECX.
bool made_by(const char (&name)[13]) {
    const arch::CpuidLeaf leaf = arch::cpuid(0);
    const std::uint32_t words[3] = {leaf.ebx, leaf.edx, leaf.ecx};
    for (unsigned i = 0; i < 12; ++i)
        if (static_cast<char>(words[i / 4] >> (8 * (i % 4))) != name[i]) return false;
    return true;
}

} // namespace

const Vendor *find_vendor(hwv_unusable &why, hwv_vendor &name) {
    if (made_by("AuthenticAMD") || made_by("HygonGenuine")) {
        name = HWV_VENDOR_AMD;
        if (!svm::start()) {
            why = HWV_UNUSABLE_BACKEND;
            return nullptr;
        }
        why = svm::vendor.unusable();
        return &svm::vendor;
    }
    name = made_by("GenuineIntel") ? HWV_VENDOR_INTEL : HWV_VENDOR_NONE;
    why = name == HWV_VENDOR_INTEL ? HWV_UNUSABLE_BACKEND : HWV_UNUSABLE_NO_VIRT;
    return nullptr;
}

void release_vendor() { svm::stop(); }

} // namespace hwv
