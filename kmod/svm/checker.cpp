// SPDX-License-Identifier: GPL-2.0-only
#include "svm/checker.hpp"
#include "core/guest_state.hpp"

namespace hwv::svm {

namespace {

// Bits that no CPU has defined. What this CPU lacks is the core's business: it knows the guest's
// CPUID.
constexpr std::uint64_t cr4_defined =
    0xff'0fff | cr4::la57 | cr4::umip | cr4::pke | cr4::cet | 1ull << 24;
constexpr std::uint64_t efer_defined = efer::sce | efer::lme | efer::lma | efer::nxe | efer::svme |
                                       efer::lmsle | efer::ffxsr | efer::tce | 1u << 17 | 1u << 18 |
                                       1u << 20 | 1u << 21;

[[gnu::always_inline]] inline Rule check_registers(const SaveArea &s, std::uint64_t address_bits) {
    if (!(s.efer & efer::svme)) return Rule::efer_svme_clear;
    if ((s.cr0 & cr0::nw) && !(s.cr0 & cr0::cd)) return Rule::cr0_nw_without_cd;
    if (s.cr0 >> 32) return Rule::cr0_high_bits;
    if (s.cr4 & ~cr4_defined) return Rule::cr4_reserved_bits;
    if (s.dr6 >> 32) return Rule::dr6_high_bits;
    if (s.dr7 >> 32) return Rule::dr7_high_bits;
    if (s.efer & ~efer_defined) return Rule::efer_reserved_bits;
    if (!(s.efer & efer::lme) || !(s.cr0 & cr0::pg)) return Rule::none;
    if (s.cr3 & ~(address_bits | 0xfff)) return Rule::cr3_reserved_bits;
    if (!(s.cr4 & cr4::pae)) return Rule::long_mode_without_pae;
    if (!(s.cr0 & cr0::pe)) return Rule::long_mode_without_protection;
    const bool l_and_d = (s.cs.attributes & segment::l) && (s.cs.attributes & segment::db);
    return l_and_d ? Rule::long_mode_cs_l_and_d : Rule::none;
}

[[gnu::always_inline]] inline bool event_type_valid(std::uint64_t e) {
    const unsigned type = (e & event::type) >> event::type_shift;
    return type == event::interrupt || (type >= event::nmi && type <= event::software);
}

[[gnu::always_inline]] inline bool pat_valid(std::uint64_t pat) {
    for (unsigned i = 0; i < 8; i++) {
        const unsigned type = pat >> i * 8 & 0xff;
        if (type > 7 || type == 2 || type == 3) return false;
    }
    return true;
}

[[gnu::always_inline]] inline Rule check_control(const Vmcb &vmcb, std::uint64_t address_bits) {
    const ControlArea &c = vmcb.control;
    if (!c.intercepts.has(ExitCode::vmrun)) return Rule::vmrun_not_intercepted;
    if ((c.io_map | c.msr_map) & ~(address_bits & ~0xfffull)) return Rule::map_address;
    if (!c.asid) return Rule::asid_zero;
    if ((c.nested_cr3 & ~(address_bits & ~0xfffull))) return Rule::nested_cr3_address;
    if (!pat_valid(vmcb.save.g_pat)) return Rule::pat_type;
    if (!(c.event_inj & event::valid)) return Rule::none;
    if (!event_type_valid(c.event_inj)) return Rule::event_type;
    const bool exception = (c.event_inj & event::type) >> event::type_shift == event::exception;
    const unsigned v = c.event_inj & event::vector;
    return exception && (v == 2 || v > 31) ? Rule::event_vector : Rule::none;
}

[[gnu::always_inline]] inline Rule check_host(const Vmcb &vmcb) {
    const ControlArea &c = vmcb.control;
    if (!(c.nested_ctl & nested_ctl::enable)) return Rule::nested_paging_off;
    if (!(c.int_ctl & int_ctl::v_intr_masking)) return Rule::interrupts_not_masked;
    if (!(vmcb.save.cr4 & cr4::mce)) return Rule::machine_check_off;
    constexpr Intercepts required = required_intercepts();
    for (unsigned i = 0; i < 6; i++)
        if (required.words[i] & ~c.intercepts.words[i]) return Rule::intercept_missing;
    return Rule::none;
}

} // namespace

Rule check(const Vmcb &vmcb, std::uint64_t address_bits) {
    if (const Rule rule = check_registers(vmcb.save, address_bits); rule != Rule::none) return rule;
    if (const Rule rule = check_control(vmcb, address_bits); rule != Rule::none) return rule;
    return check_host(vmcb);
}

} // namespace hwv::svm
