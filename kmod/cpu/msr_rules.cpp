// SPDX-License-Identifier: GPL-2.0-only
// msr_rules.cpp - which values a guest may write: memory types, EFER, addresses, speculation
// controls.
#include "core/guest_state.hpp"
#include "cpu/msr.hpp"

namespace hwv::cpu {
namespace {

constexpr bool memory_type(std::uint64_t type) {
    return type == 0 || type == 1 || (type >= 4 && type <= 6);
}

constexpr bool memory_types(std::uint64_t value, bool pat) {
    constexpr std::uint64_t uncached_minus = 7; // of PAT alone
    for (unsigned shift = 0; shift < 64; shift += 8) {
        const std::uint64_t type = value >> shift & 0xff;
        if (!memory_type(type) && !(pat && type == uncached_minus)) return false;
    }
    return true;
}
static_assert(memory_types(0x0007'0406'0007'0406, true) &&
              !memory_types(0x0007'0406'0007'0406, false));
static_assert(!memory_types(2, true) && !memory_types(0x0306'0606'0606'0606, true) &&
              memory_types(0x0605'0401'0006'0606, false));

// IA32_SPEC_CTRL, IA32_PRED_CMD: which bit exists by which CPUID bits of either maker.
struct BitRule {
    std::uint64_t bits;
    Feature any[3];
};
// "IA32_SPEC_CTRL": where each enumeration of leaf 7, subleaf 2 leads.
constexpr BitRule spec_ctrl_rules[] = {
    {1u << 0, {feature::spec_ctrl, feature::amd_ibrs, feature::amd_ibrs}},
    {1u << 1, {feature::stibp, feature::amd_stibp, feature::spec_ctrl}},
    {1u << 2, {feature::ssbd, feature::amd_ssbd, feature::amd_ssbd}},
    {3u << 3, {feature::ipred_ctrl, feature::ipred_ctrl, feature::ipred_ctrl}},
    {3u << 5, {feature::rrsba_ctrl, feature::rrsba_ctrl, feature::rrsba_ctrl}},
    {1u << 7, {feature::amd_psfd, feature::intel_psfd, feature::intel_psfd}},
    {1u << 8, {feature::ddpd_u, feature::ddpd_u, feature::ddpd_u}},
    {1u << 10, {feature::bhi_ctrl, feature::bhi_ctrl, feature::bhi_ctrl}},
};
constexpr BitRule pred_cmd_rules[] = {
    {1u << 0, {feature::spec_ctrl, feature::amd_ibpb, feature::amd_ibpb}},
    {1u << 7, {feature::sbpb, feature::sbpb, feature::sbpb}},
};

template <unsigned N>
std::uint64_t allowed(const CpuidTable &cpuid, const BitRule (&rules)[N]) {
    std::uint64_t bits = 0;
    for (const BitRule &rule : rules)
        for (const Feature &f : rule.any)
            if (cpuid.has(f)) bits |= rule.bits;
    return bits;
}

} // namespace

// The same for all eight bytes at once: no bit above 2, and not 2 or 3.
bool valid_pat(std::uint64_t value) {
    constexpr std::uint64_t each = 0x0101'0101'0101'0101;
    return !(value & ~(7 * each)) && !(value & ~(value >> 1) & 2 * each);
}

MsrFacts msr_facts(const CpuidTable &offered) {
    return {.spec_ctrl = allowed(offered, spec_ctrl_rules),
            .pred_cmd = allowed(offered, pred_cmd_rules)};
}

std::uint64_t MsrFile::spec_ctrl_allowed() const {
    return spec_ctrl_limit_ & allowed(cpuid_, spec_ctrl_rules);
}

std::uint64_t MsrFile::pred_cmd_allowed() const {
    return pred_cmd_limit_ & allowed(cpuid_, pred_cmd_rules);
}

MsrRule check_switched(std::uint32_t index, std::uint64_t value) {
    const auto rule = [](bool valid) { return valid ? MsrRule::valid : MsrRule::fault; };
    switch (index) {
    case msr::pat: return rule(valid_pat(value));
    case msr::fs_base:
    case msr::gs_base:
    case msr::kernel_gs_base:
    case msr::lstar:
    case msr::cstar:
    case msr::sysenter_esp:
    case msr::sysenter_eip: return rule(canonical(value));
    case msr::sfmask: return rule(!(value >> 32));
    case msr::star:
    case msr::sysenter_cs: return MsrRule::valid;
    default: return MsrRule::other;
    }
}

bool MsrFile::check_backend(std::uint32_t index, std::uint64_t &value,
                            const MsrContext &context) const {
    if (const MsrRule rule = check_switched(index, value); rule != MsrRule::other)
        return rule == MsrRule::valid;
    switch (index) {
    case msr::efer: return valid_efer(value, context);
    case msr::tsc_aux: return !(value >> 32) && (context.host || readable(index));
    case msr::spec_ctrl: return spec_ctrl_allowed() && !(value & ~spec_ctrl_allowed());
    case msr::pred_cmd: return pred_cmd_allowed() && !(value & ~pred_cmd_allowed());
    case msr::virt_spec_ctrl: return readable(index) && !(value & ~(1ull << 2)); // SSBD
    case msr::flush_cmd: return cpuid_.has(feature::flush_l1d) && !(value & ~1ull);
    default: return true;
    }
}

// "IA32_EFER": LME cannot change while paging is on; LMA follows from LME and CR0.PG, so that what
// is written there does not count. Restoring a guest's state may come in any order, and is for the
// caller to get right.
bool MsrFile::valid_efer(std::uint64_t &value, const MsrContext &context) const {
    std::uint64_t bits = efer::lma;
    if (cpuid_.has(feature::syscall)) bits |= efer::sce;
    if (cpuid_.has(feature::lm)) bits |= efer::lme;
    if (cpuid_.has(feature::nx)) bits |= efer::nxe;
    if (cpuid_.has(feature::fxsr_opt)) bits |= efer::ffxsr;
    if (value & ~bits) return false;
    if (context.host) return true;
    if (context.paging && ((value ^ context.efer) & efer::lme)) return false;
    value = (value & ~efer::lma) | (context.efer & efer::lma);
    return true;
}

bool MsrFile::valid_mtrr(std::uint32_t index, std::uint64_t value) const {
    const std::uint64_t beyond = ~((1ull << cpuid_.phys_bits()) - 1);
    if (index == msr::mtrr_default) return !(value & ~0xcffull) && memory_type(value & 0xff);
    if (index - msr::mtrr_variable >= variable_mtrrs * 2) return memory_types(value, false);
    if (index & 1) return !(value & (beyond | 0x7ff));
    return !(value & (beyond | 0xf00)) && memory_type(value & 0xff);
}

} // namespace hwv::cpu
