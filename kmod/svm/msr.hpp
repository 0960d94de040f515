// SPDX-License-Identifier: GPL-2.0-only
// msr.hpp - the MSRs that the AMD backend touches; APM vol. 2, appendix "MSR Cross-Reference".
#pragma once
#include <cstdint>

namespace hwv::svm {

namespace msr {
inline constexpr std::uint32_t spec_ctrl = 0x48, pred_cmd = 0x49, sysenter_cs = 0x174,
                               sysenter_esp = 0x175, sysenter_eip = 0x176, pat = 0x277,
                               efer = 0xc000'0080, star = 0xc000'0081, lstar = 0xc000'0082,
                               cstar = 0xc000'0083, sfmask = 0xc000'0084, fs_base = 0xc000'0100,
                               gs_base = 0xc000'0101, kernel_gs_base = 0xc000'0102,
                               tsc_aux = 0xc000'0103, tsc_ratio = 0xc000'0104, syscfg = 0xc001'0010,
                               vm_cr = 0xc001'0114, vm_hsave_pa = 0xc001'0117,
                               virt_spec_ctrl = 0xc001'011f;
}
namespace vm_cr {
inline constexpr std::uint64_t svmdis = 1u << 4;
}
namespace syscfg {
inline constexpr std::uint64_t snp_enable = 1u << 24;
}
namespace pred_cmd {
inline constexpr std::uint64_t ibpb = 1;
}
inline constexpr std::uint64_t tsc_ratio_default = 1ull << 32;

} // namespace hwv::svm
