// SPDX-License-Identifier: GPL-2.0-only
// msr.hpp - the MSRs that the Intel backend touches; Intel SDM vol. 4 "Architectural MSRs", vol. 3
// appendix "VMX Capability Reporting Facility".
#pragma once
#include <cstdint>

namespace hwv::vmx {

namespace msr {
inline constexpr std::uint32_t feature_control = 0x3a, spec_ctrl = 0x48, pred_cmd = 0x49,
                               flush_cmd = 0x10b, sysenter_cs = 0x174, sysenter_esp = 0x175,
                               sysenter_eip = 0x176, debugctl = 0x1d9, pat = 0x277,
                               perf_global_ctrl = 0x38f, pebs_enable = 0x3f1, efer = 0xc000'0080,
                               star = 0xc000'0081, lstar = 0xc000'0082, cstar = 0xc000'0083,
                               sfmask = 0xc000'0084, fs_base = 0xc000'0100, gs_base = 0xc000'0101,
                               kernel_gs_base = 0xc000'0102, tsc_aux = 0xc000'0103;
// IA32_VMX_*: what VMX can do
inline constexpr std::uint32_t basic = 0x480, pin_controls = 0x481, primary_controls = 0x482,
                               exit_controls = 0x483, entry_controls = 0x484, misc = 0x485,
                               cr0_fixed0 = 0x486, cr0_fixed1 = 0x487, cr4_fixed0 = 0x488,
                               cr4_fixed1 = 0x489, secondary_controls = 0x48b, ept_vpid_cap = 0x48c,
                               true_pin_controls = 0x48d, true_primary_controls = 0x48e,
                               true_exit_controls = 0x48f, true_entry_controls = 0x490;
} // namespace msr
namespace feature_control {
inline constexpr std::uint64_t locked = 1u << 0, vmx_outside_smx = 1u << 2;
}
namespace pred_cmd {
inline constexpr std::uint64_t ibpb = 1;
}
namespace flush_cmd {
inline constexpr std::uint64_t l1d = 1;
}

} // namespace hwv::vmx
