// SPDX-License-Identifier: GPL-2.0-only
// msr.cpp - reading and writing MSRs; the most frequent first: x2APIC, then the TSC deadline.
#include "cpu/msr.hpp"
#include "core/guest_state.hpp"
#include "cpu/msr_table.hpp"
#include "cpu/native.hpp"
#include "cpu/nospec.hpp"

namespace hwv::cpu {
namespace {

constexpr bool in(std::uint32_t index, std::uint32_t first, std::uint32_t count) {
    return index - first < count;
}

constexpr unsigned mc_fields = 4;                      // CTL, STATUS, ADDR, MISC
constexpr std::uint64_t mc_status_writable = 1u << 18; // HWCR.McStatusWrEn

constexpr MsrResult done_if(bool ok) { return ok ? MsrResult::done : MsrResult::fault; }

} // namespace

MsrFile::MsrFile(LocalApic &apic, const CpuidTable &cpuid, PvState &pv)
    : apic_{apic}, cpuid_{cpuid}, pv_{pv} {
    static_assert(plain_count <= max_plain);
}

void MsrFile::reset(const MsrFacts &facts) {
    for (unsigned i = 0; i < plain_count; ++i)
        plain_[i] = plain_msrs[i].reset;
    plain_[plain_row(0x8b)] = facts.microcode;
    plain_[plain_row(msr::arch_capabilities)] = facts.arch_capabilities;
    spec_ctrl_limit_ = facts.spec_ctrl;
    pred_cmd_limit_ = facts.pred_cmd;
    tsc_adjust_ = 0;
    mtrr_default_ = 0;
    for (auto &value : mtrr_fixed_)
        value = 0;
    for (auto &value : mtrr_variable_)
        value = 0;
    for (auto &value : mc_)
        value = 0;
    pv_ = {};
}

// ---- reading ----

MsrResult MsrFile::read(std::uint32_t index, std::uint64_t &value, const MsrContext &context) {
    if (in(index, msr::x2apic_first, 0x100)) return done_if(apic_.read_msr(index, value));
    MsrResult result = MsrResult::done;
    if (read_special(index, value, result)) return result;
    if (const unsigned row = plain_row(index); row != no_row) {
        if (plain_msrs[row].kind == PlainKind::write_only) return MsrResult::fault;
        const bool shown = context.host || index != msr::arch_capabilities ||
                           cpuid_.has(feature::arch_capabilities);
        value = plain_[row];
        return done_if(shown);
    }
    if (const std::uint64_t *storage = mtrr(index)) {
        value = *storage;
        return MsrResult::done;
    }
    if (in(index, msr::mc_first, mc_banks * mc_fields)) {
        value = mc_[nospec(index - msr::mc_first, mc_banks * mc_fields)];
        return MsrResult::done;
    }
    return context.host || readable(index) ? MsrResult::backend : MsrResult::fault;
}

bool MsrFile::read_special(std::uint32_t index, std::uint64_t &value, MsrResult &result) const {
    switch (index) {
    case msr::tsc: value = guest_tsc(native::tsc()); return true;
    case msr::tsc_adjust:
        value = tsc_adjust_;
        result = done_if(cpuid_.has(feature::tsc_adjust));
        return true;
    case msr::apic_base: value = apic_.base(); return true;
    case msr::tsc_deadline:
        value = apic_.deadline();
        result = done_if(apic_.has_deadline());
        return true;
    case msr::kvm_wall_clock_old:
    case msr::kvm_wall_clock: value = pv_.wall_clock; return true;
    case msr::kvm_system_time_old:
    case msr::kvm_system_time: value = pv_.system_time; return true;
    case msr::kvm_steal_time: value = pv_.steal_time; return true;
    case msr::kvm_pv_eoi: value = pv_.eoi; return true;
    default: return false;
    }
}

// Of the backend's MSRs: those that cannot be read, or only by guests whose CPUID says so.
bool MsrFile::readable(std::uint32_t index) const {
    switch (index) {
    case msr::pred_cmd:
    case msr::flush_cmd: return false;
    case msr::spec_ctrl: return spec_ctrl_allowed();
    case msr::virt_spec_ctrl: return cpuid_.has(feature::virt_ssbd);
    case msr::tsc_aux: return cpuid_.has(feature::rdtscp) || cpuid_.has(feature::rdpid);
    default: return true;
    }
}

std::uint64_t MsrFile::guest_tsc(std::uint64_t host) const {
    return scale_tsc(host, tsc_ratio_) + tsc_offset_;
}

// ---- writing ----

inline MsrResult MsrFile::write_plain(unsigned row, std::uint64_t value,
                                      const MsrContext &context) {
    const PlainMsr &rule = plain_msrs[row];
    if (context.host) {
        plain_[row] = value;
        return MsrResult::done;
    }
    switch (rule.kind) {
    case PlainKind::fixed: return MsrResult::fault;
    case PlainKind::same: return done_if(value == plain_[row]);
    case PlainKind::strict:
        if (value & ~rule.mask) return MsrResult::fault;
        [[fallthrough]];
    case PlainKind::stored: plain_[row] = (value & rule.mask) | (plain_[row] & ~rule.mask); break;
    case PlainKind::sink:
    case PlainKind::write_only: break;
    }
    return MsrResult::done;
}

MsrResult MsrFile::write(std::uint32_t index, std::uint64_t &value, const MsrContext &context,
                         MsrEffect &effect) {
    if (in(index, msr::x2apic_first, 0x100)) {
        effect.kind = MsrEffect::Kind::apic;
        return done_if(apic_.write_msr(index, value, effect.apic));
    }
    if (const unsigned row = plain_row(index); row != no_row)
        return write_plain(row, value, context);
    MsrResult result = MsrResult::done;
    if (write_special(index, value, result, context, effect)) return result;
    if (std::uint64_t *storage = mtrr(index)) {
        if (!valid_mtrr(index, value)) return MsrResult::fault;
        *storage = value;
        return MsrResult::done;
    }
    if (in(index, msr::mc_first, mc_banks * mc_fields))
        return write_bank(
            static_cast<std::uint32_t>(nospec(index - msr::mc_first, mc_banks * mc_fields)), value,
            context);
    return check_backend(index, value, context) ? MsrResult::backend : MsrResult::fault;
}

bool MsrFile::write_special(std::uint32_t index, std::uint64_t value, MsrResult &result,
                            const MsrContext &context, MsrEffect &effect) {
    switch (index) {
    case msr::tsc_deadline:
        result = done_if(apic_.has_deadline());
        if (result == MsrResult::done) apic_.set_deadline(value);
        return true;
    case msr::tsc:
    case msr::tsc_adjust: result = write_tsc(index, value, context, effect); return true;
    case msr::apic_base: result = done_if(apic_.set_base(value)); return true;
    case msr::kvm_wall_clock_old:
    case msr::kvm_wall_clock:
    case msr::kvm_system_time_old:
    case msr::kvm_system_time:
    case msr::kvm_steal_time:
    case msr::kvm_pv_eoi: result = write_pv(index, value, effect); return true;
    default: return false;
    }
}

// "IA32_TSC_ADJUST MSR": a write of the TSC moves both, a write of the adjustment moves the TSC by
// the difference. Restoring a guest's state sets each of them alone.
MsrResult MsrFile::write_tsc(std::uint32_t index, std::uint64_t value, const MsrContext &context,
                             MsrEffect &effect) {
    if (index == msr::tsc_adjust) {
        if (!cpuid_.has(feature::tsc_adjust)) return MsrResult::fault;
        if (!context.host) tsc_offset_ += value - tsc_adjust_;
        tsc_adjust_ = value;
    } else {
        const std::uint64_t moved = value - guest_tsc(native::tsc());
        tsc_offset_ += moved;
        if (!context.host) tsc_adjust_ += moved;
    }
    effect.kind = MsrEffect::Kind::tsc;
    return MsrResult::done;
}

MsrResult MsrFile::write_pv(std::uint32_t index, std::uint64_t value, MsrEffect &effect) {
    constexpr std::uint64_t steal_reserved = 0x3e, eoi_reserved = 0x2;
    switch (index) {
    case msr::kvm_steal_time:
        if (value & steal_reserved) return MsrResult::fault;
        pv_.steal_time = value;
        effect.kind = MsrEffect::Kind::steal_time;
        break;
    case msr::kvm_pv_eoi:
        if (value & eoi_reserved) return MsrResult::fault;
        pv_.eoi = value;
        effect.kind = MsrEffect::Kind::pv_eoi;
        break;
    case msr::kvm_wall_clock_old:
    case msr::kvm_wall_clock:
        pv_.wall_clock = value;
        effect.kind = MsrEffect::Kind::wall_clock;
        break;
    default:
        pv_.system_time = value;
        effect.kind = MsrEffect::Kind::system_time;
        break;
    }
    effect.gpa = value & ~pv_enabled;
    return MsrResult::done;
}

// Banks never hold an error of their own. STATUS can be cleared; other values need the makers' back
// door.
MsrResult MsrFile::write_bank(std::uint32_t number, std::uint64_t value,
                              const MsrContext &context) {
    const bool control = number % mc_fields == 0;
    const bool open = context.host || (plain_[plain_row(msr::hwcr)] & mc_status_writable);
    if (!control && value && !open) return MsrResult::fault;
    mc_[number] = value;
    return MsrResult::done;
}

std::uint64_t *MsrFile::mtrr(std::uint32_t index) {
    if (in(index, msr::mtrr_variable, variable_mtrrs * 2))
        return &mtrr_variable_[nospec(index - msr::mtrr_variable, variable_mtrrs * 2)];
    switch (index) {
    case msr::mtrr_default: return &mtrr_default_;
    case 0x250: return &mtrr_fixed_[0]; // 64 KiB each
    case 0x258:
    case 0x259: return &mtrr_fixed_[index - 0x257]; // 16 KiB
    default:                                        // 4 KiB
        return in(index, 0x268, 8) ? &mtrr_fixed_[nospec(index - 0x268, 8) + 3] : nullptr;
    }
}

} // namespace hwv::cpu
