// SPDX-License-Identifier: GPL-2.0-only
// Intel SDM vol. 3, "Checking and Loading Guest State", and of "VM-Entry Control Fields" the event,
// which depends on it. EPT, unrestricted guest and virtual NMIs are on.
#include "vmx/checker.hpp"
#include <initializer_list>
#include "vmx/event.hpp"

namespace hwv::vmx {

namespace {

bool wide(const Controls &c) { return c.entry & entry_control::ia32e_mode_guest; }

// With "unrestricted guest" CR0.PE and CR0.PG are free, CR0.NW and CR0.CD always.
Rule check_control_registers(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint64_t unchecked = cr0::pe | cr0::pg | cr0::nw | cr0::cd;
    if (((facts.cr0_fixed0 & ~g.cr0) | (g.cr0 & ~facts.cr0_fixed1)) & ~unchecked)
        return Rule::cr0_fixed;
    if ((g.cr0 & cr0::pg) && !(g.cr0 & cr0::pe)) return Rule::paging_without_protection;
    if ((facts.cr4_fixed0 & ~g.cr4) || (g.cr4 & ~facts.cr4_fixed1)) return Rule::cr4_fixed;
    if (!(g.cr4 & cr4::mce)) return Rule::machine_check_off;
    if ((g.cr4 & cr4::cet) && !(g.cr0 & cr0::wp)) return Rule::cet_without_wp;
    if (wide(c) && !(g.cr0 & cr0::pg)) return Rule::long_mode_without_paging;
    if (wide(c) && !(g.cr4 & cr4::pae)) return Rule::long_mode_without_pae;
    if (!wide(c) && (g.cr4 & cr4::pcide)) return Rule::pcid_outside_long_mode;
    return g.cr3 >> facts.physical_bits ? Rule::cr3_reserved : Rule::none;
}

Rule check_msrs(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint64_t debugctl_defined = 0xffc7;
    if (g.debugctl & ~debugctl_defined) return Rule::debugctl_reserved;
    if (g.dr7 >> 32) return Rule::dr7_high;
    if (!canonical(g.sysenter_esp, facts.linear_bits) ||
        !canonical(g.sysenter_eip, facts.linear_bits))
        return Rule::sysenter;
    if ((c.entry & entry_control::load_perf_global_ctrl) &&
        (g.perf_global_ctrl & ~facts.perf_global_ctrl))
        return Rule::perf_global_ctrl;
    if (!pat_valid(g.pat)) return Rule::pat;
    if (g.efer & ~efer_defined) return Rule::efer_reserved;
    if (wide(c) != ((g.efer & efer::lma) != 0)) return Rule::efer_lma;
    const bool same = !(g.efer & efer::lma) == !(g.efer & efer::lme);
    return (g.cr0 & cr0::pg) && !same ? Rule::efer_lme : Rule::none;
}

// ---- segments ----

Rule check_v8086(const SegmentState &s, unsigned i) {
    constexpr std::uint32_t rights = 0xf3;
    if (s.base != std::uint64_t{s.selector} << 4) return Rule::segment_v8086_base + i;
    if (s.limit != 0xffff) return Rule::segment_v8086_limit + i;
    return s.access_rights == rights ? Rule::none : Rule::segment_v8086_rights + i;
}

bool granularity_valid(const SegmentState &s) {
    const bool pages = s.access_rights & access_rights::g;
    return pages ? (s.limit & 0xfff) == 0xfff : !(s.limit >> 20);
}

bool type_valid(const SegmentState &s, unsigned i) {
    constexpr unsigned accessed = 1, readable = 2, code = 8;
    const unsigned type = s.type();
    if (i == HWV_CS) return type == 3 || (type & (code | accessed)) == (code | accessed);
    if (i == HWV_SS) return type == 3 || type == 7;
    return (type & accessed) && (!(type & code) || (type & readable));
}

// Type 3, data as code, is for level 0: so is SS then.
bool code_privilege_valid(const SegmentState &cs, const SegmentState &ss) {
    constexpr unsigned conforming = 0xc; // code
    return (cs.type() & conforming) == conforming ? cs.dpl() <= ss.dpl() : cs.dpl() == ss.dpl();
}

// What holds for every segment that is usable, system segments too.
Rule check_rights(const SegmentState &s, unsigned i, bool system) {
    if (system != !(s.access_rights & access_rights::s)) return Rule::segment_system + i;
    if (!(s.access_rights & access_rights::present)) return Rule::segment_present + i;
    if (s.access_rights & ~access_rights::defined) return Rule::segment_reserved + i;
    return granularity_valid(s) ? Rule::none : Rule::segment_granularity + i;
}

Rule check_code_and_data(const GuestState &g, const Controls &c) {
    const SegmentState &cs = g.segments[HWV_CS], &ss = g.segments[HWV_SS];
    for (unsigned i = HWV_ES; i <= HWV_GS; i++) {
        const SegmentState &s = g.segments[i];
        if (i != HWV_CS && !s.usable()) continue;
        if (!type_valid(s, i)) return Rule::segment_type + i;
        if (const Rule rule = check_rights(s, i, false); rule != Rule::none) return rule;
    }
    // Whether it is usable or not, SS has the privilege level.
    if (ss.dpl() && (cs.type() == 3 || !(g.cr0 & cr0::pe))) return Rule::segment_privilege + HWV_SS;
    if (!code_privilege_valid(cs, ss)) return Rule::segment_privilege + HWV_CS;
    constexpr std::uint32_t l_and_d = access_rights::l | access_rights::db;
    return wide(c) && (cs.access_rights & l_and_d) == l_and_d ? Rule::segment_l_and_d + HWV_CS
                                                              : Rule::none;
}

Rule check_system_segments(const GuestState &g, const Controls &c) {
    constexpr unsigned table_indicator = 4, ldt = 2, busy_tss16 = 3, busy_tss = 11;
    const SegmentState &tr = g.segments[HWV_TR], &ldtr = g.segments[HWV_LDTR];
    if (!tr.usable()) return Rule::segment_unusable + HWV_TR;
    if (tr.type() != busy_tss && (wide(c) || tr.type() != busy_tss16))
        return Rule::segment_type + HWV_TR;
    if (ldtr.usable() && ldtr.type() != ldt) return Rule::segment_type + HWV_LDTR;
    for (unsigned i : {HWV_TR, HWV_LDTR}) {
        const SegmentState &s = g.segments[i];
        if (!s.usable()) continue;
        if (s.selector & table_indicator) return Rule::segment_table + i;
        if (const Rule rule = check_rights(s, i, true); rule != Rule::none) return rule;
    }
    return Rule::none;
}

Rule check_bases(const GuestState &g, const CheckerFacts &facts) {
    for (unsigned i = 0; i < HWV_SEGMENTS; i++) {
        const SegmentState &s = g.segments[i];
        const bool full = i == HWV_FS || i == HWV_GS || i == HWV_TR;
        if (!full && i != HWV_CS && !s.usable()) continue;
        const bool low = !(s.base >> 32);
        if (full || i == HWV_LDTR ? !canonical(s.base, facts.linear_bits) : !low)
            return Rule::segment_base + i;
    }
    return Rule::none;
}

Rule check_segments(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    if (!(g.rflags & rflags::vm)) {
        if (const Rule rule = check_code_and_data(g, c); rule != Rule::none) return rule;
    } else {
        for (unsigned i = HWV_ES; i <= HWV_GS; i++)
            if (const Rule rule = check_v8086(g.segments[i], i); rule != Rule::none) return rule;
    }
    if (const Rule rule = check_bases(g, facts); rule != Rule::none) return rule;
    return check_system_segments(g, c);
}

// ---- tables, RIP, RFLAGS ----

Rule check_tables(const GuestState &g, const CheckerFacts &facts) {
    if (!canonical(g.gdtr.base, facts.linear_bits)) return Rule::gdtr_base;
    if (g.gdtr.limit >> 16) return Rule::gdtr_limit;
    if (!canonical(g.idtr.base, facts.linear_bits)) return Rule::idtr_base;
    return g.idtr.limit >> 16 ? Rule::idtr_limit : Rule::none;
}

bool injects(const Controls &c, event::Type type) {
    return (c.entry_interruption & event::valid) &&
           (c.entry_interruption & event::type) >> event::type_shift == type;
}

Rule check_rip_and_rflags(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint64_t defined = 0x3f'7fd5;
    const bool code64 = wide(c) && (g.segments[HWV_CS].access_rights & access_rights::l);
    // One bit more than canonical: an exit behind the last byte of the lower half leaves RIP there.
    const std::uint64_t top = g.rip >> facts.linear_bits;
    if (!code64 && g.rip >> 32) return Rule::rip_high;
    if (code64 && top && top != ~0ull >> facts.linear_bits) return Rule::rip_canonical;
    if ((g.rflags & ~(defined | rflags::fixed)) || !(g.rflags & rflags::fixed))
        return Rule::rflags_reserved;
    if ((g.rflags & rflags::vm) && (wide(c) || !(g.cr0 & cr0::pe))) return Rule::rflags_vm;
    return injects(c, event::interrupt) && !(g.rflags & rflags::if_) ? Rule::rflags_if : Rule::none;
}

// ---- the event, and state that is not in registers ----

constexpr bool has_error_code(unsigned v) {
    return v == vector::double_fault || v == vector::alignment_check ||
           (v >= vector::invalid_tss && v <= vector::page_fault);
}

bool error_code_valid(const GuestState &g, std::uint32_t info, const CheckerFacts &facts) {
    const bool delivered = info & event::has_error_code, protection = g.cr0 & cr0::pe;
    if ((info & event::type) >> event::type_shift != event::exception || !protection)
        return !delivered;
    return facts.any_error_code || delivered == has_error_code(info & event::vector);
}

Rule check_event(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint32_t defined =
        event::vector | event::type | event::has_error_code | event::valid;
    constexpr unsigned reserved_type = 1;
    const std::uint32_t info = c.entry_interruption;
    const unsigned type = (info & event::type) >> event::type_shift, v = info & event::vector;
    if (!(info & event::valid)) return Rule::none;
    if (info & ~defined) return Rule::event_reserved;
    const bool trap_flag = facts.primary.may & primary::monitor_trap_flag;
    if (type == reserved_type || (type == event::other && !trap_flag)) return Rule::event_type;
    if ((type == event::nmi && v != vector::nmi) || (type == event::exception && v > 31) ||
        (type == event::other && v))
        return Rule::event_vector;
    if (!error_code_valid(g, info, facts)) return Rule::event_error_code;
    if ((info & event::has_error_code) && c.entry_error_code >> 16)
        return Rule::event_error_code_reserved;
    const unsigned shortest = facts.misc >> 30 & 1 ? 0 : 1;
    const std::uint32_t length = c.entry_instruction_length;
    return is_software(info) && (length < shortest || length > 15) ? Rule::event_length
                                                                   : Rule::none;
}

bool wakes(std::uint32_t state, std::uint32_t info) {
    const unsigned type = (info & event::type) >> event::type_shift, v = info & event::vector;
    const bool machine_check = type == event::exception && v == vector::machine_check;
    switch (state) {
    case activity::hlt:
        return type == event::interrupt || type == event::nmi || type == event::other ||
               machine_check || (type == event::exception && v == vector::debug);
    case activity::shutdown: return type == event::nmi || machine_check;
    default: return state == activity::active;
    }
}

Rule check_activity(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    const bool known = g.activity <= activity::wait_for_sipi &&
                       (g.activity == activity::active || (facts.misc >> (5 + g.activity) & 1));
    if (!known) return Rule::activity;
    if (g.activity == activity::hlt && g.segments[HWV_SS].dpl()) return Rule::halted_with_privilege;
    constexpr std::uint32_t shadow = interruptibility::sti | interruptibility::mov_ss;
    if (g.activity != activity::active && (g.interruptibility & shadow))
        return Rule::inactive_in_shadow;
    const bool event = c.entry_interruption & event::valid;
    return event && !wakes(g.activity, c.entry_interruption) ? Rule::event_while_inactive
                                                             : Rule::none;
}

Rule check_interruptibility(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    using namespace interruptibility;
    const std::uint32_t i = g.interruptibility;
    const std::uint32_t defined = sti | mov_ss | smi | nmi | (facts.sgx ? enclave : 0);
    if (i & ~defined) return Rule::interruptibility_reserved;
    if ((i & sti) && (i & mov_ss)) return Rule::two_shadows;
    if ((i & sti) && !(g.rflags & rflags::if_)) return Rule::sti_shadow_without_if;
    if (injects(c, event::interrupt) && (i & (sti | mov_ss))) return Rule::interrupt_in_shadow;
    // Not every CPU minds the shadow of STI, but any may.
    if (injects(c, event::nmi) && (i & (sti | mov_ss))) return Rule::nmi_in_shadow;
    if (i & smi) return Rule::smi_blocked;
    if (injects(c, event::nmi) && (i & nmi)) return Rule::nmi_while_blocked;
    return (i & enclave) && (i & mov_ss) ? Rule::enclave_in_shadow : Rule::none;
}

Rule check_pending_debug(const GuestState &g, const CheckerFacts &facts) {
    using namespace pending_debug;
    constexpr std::uint64_t btf = 1u << 1;
    constexpr std::uint32_t shadow = interruptibility::sti | interruptibility::mov_ss;
    const std::uint64_t p = g.pending_debug;
    const std::uint64_t defined = breakpoints | enabled_breakpoint | single_step | rtm |
                                  (facts.bus_lock_debug ? bus_lock : 0);
    if (p & ~defined) return Rule::pending_debug_reserved;
    const bool steps = (g.rflags & rflags::tf) && !(g.debugctl & btf);
    const bool told = (g.interruptibility & shadow) || g.activity == activity::hlt;
    if (told && steps != ((p & single_step) != 0)) return Rule::pending_debug_step;
    const bool rtm_valid = facts.rtm && !(p & ~(rtm | enabled_breakpoint)) &&
                           (p & enabled_breakpoint) &&
                           !(g.interruptibility & interruptibility::mov_ss);
    return (p & rtm) && !rtm_valid ? Rule::pending_debug_rtm : Rule::none;
}

Rule check_pdptes(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    constexpr std::uint64_t present = 1, reserved = 0x1e6;
    if (wide(c) || !(g.cr0 & cr0::pg) || !(g.cr4 & cr4::pae)) return Rule::none;
    for (unsigned i = 0; i < 4; i++) {
        const std::uint64_t entry = g.pdptes[i];
        if ((entry & present) && ((entry & reserved) || entry >> facts.physical_bits))
            return Rule::pdpte_reserved + i;
    }
    return Rule::none;
}

} // namespace

Rule check_guest(const GuestState &g, const Controls &c, const CheckerFacts &facts) {
    Rule rule = check_event(g, c, facts);
    if (rule == Rule::none) rule = check_control_registers(g, c, facts);
    if (rule == Rule::none) rule = check_msrs(g, c, facts);
    if (rule == Rule::none) rule = check_segments(g, c, facts);
    if (rule == Rule::none) rule = check_tables(g, facts);
    if (rule == Rule::none) rule = check_rip_and_rflags(g, c, facts);
    if (rule == Rule::none) rule = check_activity(g, c, facts);
    if (rule == Rule::none) rule = check_interruptibility(g, c, facts);
    if (rule == Rule::none) rule = check_pending_debug(g, facts);
    if (rule == Rule::none && g.vmcs_link != ~0ull) rule = Rule::vmcs_link;
    return rule == Rule::none ? check_pdptes(g, c, facts) : rule;
}

} // namespace hwv::vmx
