// SPDX-License-Identifier: GPL-2.0-only
// msr.hpp - the MSRs whose meaning does not depend on who made the CPU, and the rules for those
// that the backend switches. Manuals: Intel SDM vol. 4, "Model-Specific Registers (MSRs)"; APM vol.
// 2, "Model-Specific Registers (MSRs)"; Linux, Documentation/virt/kvm/x86/msr.rst for the
// paravirtual ones.
#pragma once
#include <cstdint>
#include "cpu/apic.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/pv.hpp"
#include "cpu/tsc.hpp"

namespace hwv::cpu {

namespace msr {
inline constexpr std::uint32_t tsc = 0x10, apic_base = 0x1b, tsc_adjust = 0x3b, spec_ctrl = 0x48,
                               pred_cmd = 0x49, mtrr_cap = 0xfe, arch_capabilities = 0x10a,
                               flush_cmd = 0x10b, sysenter_cs = 0x174, sysenter_esp = 0x175,
                               sysenter_eip = 0x176, mcg_cap = 0x179, mcg_status = 0x17a,
                               misc_enable = 0x1a0, mtrr_variable = 0x200, pat = 0x277,
                               mtrr_default = 0x2ff, mc_first = 0x400, tsc_deadline = 0x6e0,
                               x2apic_first = 0x800, x2apic_last = 0x8ff;
inline constexpr std::uint32_t efer = 0xc000'0080, star = 0xc000'0081, lstar = 0xc000'0082,
                               cstar = 0xc000'0083, sfmask = 0xc000'0084, fs_base = 0xc000'0100,
                               gs_base = 0xc000'0101, kernel_gs_base = 0xc000'0102,
                               tsc_aux = 0xc000'0103, hwcr = 0xc001'0015,
                               virt_spec_ctrl = 0xc001'011f;
inline constexpr std::uint32_t kvm_wall_clock_old = 0x11, kvm_system_time_old = 0x12,
                               kvm_wall_clock = 0x4b56'4d00, kvm_system_time = 0x4b56'4d01,
                               kvm_steal_time = 0x4b56'4d03, kvm_pv_eoi = 0x4b56'4d04;
} // namespace msr

enum class MsrResult : std::uint8_t {
    done,
    fault,   // #GP(0)
    backend, // for EFER and the MSRs that the backend switches; a value to write has been checked.
             // What the backend does not know either does not exist.
};

// What a write asks of the caller beyond being stored.
struct MsrEffect {
    enum class Kind : std::uint8_t {
        none,
        apic,        // see apic
        tsc,         // tsc_offset() changed
        system_time, // pv.system_time changed: write the clock page
        wall_clock,  // write the wall clock record at gpa, once
        steal_time,  // pv.steal_time changed
        pv_eoi,      // pv.eoi changed
    };
    Kind kind = Kind::none;
    ApicEffect apic{};
    std::uint64_t gpa = 0;
};

struct MsrContext {
    std::uint64_t efer = 0;
    bool paging = false; // CR0.PG
    bool host = false;   // HWV_MSRS, not the guest: read-only values can be set
};

// What the machine gives. The masks bound what a guest may write, whatever its own CPUID says: the
// CPU would refuse other bits, and not in the guest.
struct MsrFacts {
    std::uint64_t microcode = 0x0100'0065;
    std::uint64_t arch_capabilities = 0;
    std::uint64_t spec_ctrl = 0;
    std::uint64_t pred_cmd = 0;
};

// The masks, from the table that hwv offers on this host.
MsrFacts msr_facts(const CpuidTable &offered);

class MsrFile {
  public:
    static constexpr unsigned mc_banks = 10;
    static constexpr unsigned variable_mtrrs = 8;

    MsrFile(LocalApic &apic, const CpuidTable &cpuid, PvState &pv);
    void reset(const MsrFacts &facts);

    MsrResult read(std::uint32_t index, std::uint64_t &value, const MsrContext &context);
    // `value` may be changed where the rules say so (EFER.LMA): it is what the backend gets.
    MsrResult write(std::uint32_t index, std::uint64_t &value, const MsrContext &context,
                    MsrEffect &effect);

    // Guest TSC = host TSC, scaled, + offset. Not inline: all other MSRs would pay for it.
    [[gnu::noinline]] std::uint64_t guest_tsc(std::uint64_t host) const;
    void set_tsc_ratio(TscRatio ratio) { tsc_ratio_ = ratio; }
    std::uint64_t tsc_offset() const { return tsc_offset_; }
    void set_tsc_offset(std::uint64_t offset) { tsc_offset_ = offset; }

  private:
    static constexpr unsigned fixed_mtrrs = 11, max_plain = 64;

    bool read_special(std::uint32_t index, std::uint64_t &value, MsrResult &result) const;
    bool write_special(std::uint32_t index, std::uint64_t value, MsrResult &result,
                       const MsrContext &context, MsrEffect &effect);
    MsrResult write_tsc(std::uint32_t index, std::uint64_t value, const MsrContext &context,
                        MsrEffect &effect);
    MsrResult write_pv(std::uint32_t index, std::uint64_t value, MsrEffect &effect);
    MsrResult write_plain(unsigned row, std::uint64_t value, const MsrContext &context);
    MsrResult write_bank(std::uint32_t number, std::uint64_t value, const MsrContext &context);
    bool check_backend(std::uint32_t index, std::uint64_t &value, const MsrContext &context) const;
    bool readable(std::uint32_t index) const;
    bool valid_efer(std::uint64_t &value, const MsrContext &context) const;
    bool valid_mtrr(std::uint32_t index, std::uint64_t value) const;
    std::uint64_t spec_ctrl_allowed() const;
    std::uint64_t pred_cmd_allowed() const;
    std::uint64_t *mtrr(std::uint32_t index);

    LocalApic &apic_;
    const CpuidTable &cpuid_;
    PvState &pv_;
    TscRatio tsc_ratio_ = tsc_as_host;
    std::uint64_t tsc_offset_ = 0;
    std::uint64_t tsc_adjust_ = 0;
    std::uint64_t spec_ctrl_limit_ = 0, pred_cmd_limit_ = 0;
    std::uint64_t plain_[max_plain]{};
    std::uint64_t mtrr_default_ = 0;
    std::uint64_t mtrr_fixed_[fixed_mtrrs]{};
    std::uint64_t mtrr_variable_[variable_mtrrs * 2]{};
    std::uint64_t mc_[mc_banks * 4]{};
};

// The MSRs that a backend switches with the guest and whose values stand for themselves: no other
// state matters.
enum class MsrRule : std::uint8_t { other, valid, fault };
MsrRule check_switched(std::uint32_t index, std::uint64_t value);

// IA32_PAT and fixed-range MTRRs: eight memory types.
bool valid_pat(std::uint64_t value);

} // namespace hwv::cpu
