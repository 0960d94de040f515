// SPDX-License-Identifier: GPL-2.0-only
// vendor.cpp - the one file that knows both vendors: looks at the CPU and chooses.
#include "core/vendor.hpp"
#include "core/arch.hpp"
#include "svm/vendor.hpp"
#include "vmx/vendor.hpp"

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

Status find_vendor(const Vendor *&vendor, hwv_vendor &name) {
    vendor = nullptr;
    name = HWV_VENDOR_NONE;
    if (made_by("AuthenticAMD") || made_by("HygonGenuine")) {
        name = HWV_VENDOR_AMD;
        vendor = &svm::vendor;
        return svm::start();
    }
    if (made_by("GenuineIntel") || made_by("CentaurHauls") || made_by("  Shanghai  ")) {
        name = HWV_VENDOR_INTEL;
        vendor = &vmx::vendor;
        return vmx::start();
    }
    return {};
}

void release_vendor() {
    vmx::stop();
    svm::stop();
}

} // namespace hwv
