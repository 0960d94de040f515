// SPDX-License-Identifier: GPL-2.0-only
// registers.hpp - register groups between the backend and the run page: out as they are, in only
// after every value has been found to be one that the CPU could hold.
#pragma once
#include "core/handlers_control.hpp"

namespace hwv {

// One copy of what the user shares: he may write while we read, so each word is read once.
template <typename T>
void copy_shared(T &to, const T &from) {
    static_assert(sizeof(T) % 8 == 0 && alignof(T) == 8);
    auto *out = reinterpret_cast<std::uint64_t *>(&to);
    auto *in = reinterpret_cast<const std::uint64_t *>(&from);
#pragma GCC unroll 8
    for (unsigned i = 0; i < sizeof(T) / 8; ++i)
        out[i] = __atomic_load_n(in + i, __ATOMIC_RELAXED);
}

// Most replies bring data at most.
inline bool asks_nothing(const hwv_reply &reply) {
    using Word [[gnu::may_alias]] = std::uint64_t;
    static_assert(offsetof(hwv_reply, data) == 16 && offsetof(hwv_reply, cr8) == 24);
    const auto *word = reinterpret_cast<const Word *>(&reply);
    return !(word[0] | word[1] | word[3]);
}

inline constexpr unsigned debug_numbers[] = {0, 1, 2, 3};

template <Backend B>
void VcpuOf<B>::publish(std::uint32_t groups, hwv_regs &r) {
    if (!backend.reachable()) groups = 0;
    if (groups & HWV_REGS_GPR) {
        for (unsigned i = 0; i < HWV_GPRS; ++i)
            r.gpr[i] = gprs[i];
        r.rip = backend.rip();
        r.rflags = backend.rflags();
    }
    if (groups & HWV_REGS_SEGMENT) {
        for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
            r.segment[i] = backend.segment(i);
        r.gdtr = backend.gdtr();
        r.idtr = backend.idtr();
    }
    if (groups & HWV_REGS_CONTROL) {
        r.cr0 = backend.cr0();
        r.cr2 = backend.cr2();
        r.cr3 = backend.cr3();
        r.cr4 = backend.cr4();
        r.cr8 = backend.tpr();
        r.efer = backend.efer();
        r.xcr0 = xcr0;
        r.apic_base = apic.base();
    }
    if (groups & HWV_REGS_DEBUG) {
        for (unsigned n : debug_numbers)
            r.dr[n] = backend.debug(n);
        r.dr6 = backend.debug(6);
        r.dr7 = backend.debug(7);
    }
    if (groups & HWV_REGS_EVENT) {
        const Event e = backend.injecting();
        r.event = {.type = static_cast<__u8>(e.type),
                   .vector = e.vector,
                   .has_error_code = e.has_error_code,
                   .length = static_cast<__u8>(e.length),
                   .error_code = e.error_code,
                   .nmi_pending = apic.nmis(),
                   .nmi_blocked = backend.nmi_blocked(),
                   .shadow = backend.shadow(),
                   .mp_state = mp_state.load(),
                   .reserved = {}};
    }
    r.valid = groups;
}

namespace registers {

inline bool segments_valid(const hwv_regs &r) {
    for (const hwv_segment &s : r.segment)
        if (!canonical(s.base) || (s.attributes & 0xe000)) return false;
    return r.gdtr.limit <= 0xffff && r.idtr.limit <= 0xffff && canonical(r.gdtr.base) &&
           canonical(r.idtr.base) && !r.gdtr.reserved && !r.idtr.reserved;
}

inline bool control_valid(const hwv_regs &r, const ControlLimits &limits) {
    if (!cr0_valid(r.cr0) || (r.cr0 & ~cr0::defined) || !cr4_valid(r.cr4, limits)) return false;
    if (!efer_valid(r.efer, limits) || !cpu::valid_xcr0(r.xcr0, limits.xcr0)) return false;
    const PagingRegisters p{r.cr0, r.cr3, r.cr4, r.efer, false};
    if (efer_after(p) != r.efer || (long_mode(r.efer) && !(r.cr4 & cr4::pae))) return false;
    const std::uint64_t cr3_reserved = ~((1ull << limits.phys_bits) - 1);
    return !(r.cr3 & cr3_reserved) && r.cr8 <= 15;
}

inline bool debug_valid(const hwv_regs &r) { return !(r.dr6 >> 32) && !(r.dr7 >> 32); }

inline bool event_valid(const hwv_event_state &e) {
    if (e.type > HWV_EVENT_SOFTWARE || e.has_error_code > 1 || e.reserved[0] || e.reserved[1] ||
        e.reserved[2] || e.reserved[3] || e.nmi_pending > 2 || e.nmi_blocked > 1)
        return false;
    if (e.mp_state > HWV_MP_SHUTDOWN || (e.shadow & ~(HWV_SHADOW_STI | HWV_SHADOW_MOV_SS)))
        return false;
    if (e.type == HWV_EVENT_EXCEPTION && (e.vector > 31 || e.vector == vector::nmi)) return false;
    if (e.type == HWV_EVENT_SOFTWARE && (e.length == 0 || e.length > 15)) return false;
    return true;
}

} // namespace registers

// Takes over the groups as a whole or changes nothing. `r` is a private copy.
template <Backend B>
Status VcpuOf<B>::apply(std::uint32_t groups, const hwv_regs &r) {
    if (!groups) return {};
    if (!backend.reachable()) return Error::no_device;
    if ((groups & HWV_REGS_GPR) && !rflags_valid(r.rflags)) return Error::invalid;
    if ((groups & HWV_REGS_SEGMENT) && !registers::segments_valid(r)) return Error::invalid;
    if ((groups & HWV_REGS_CONTROL) && !registers::control_valid(r, limits)) return Error::invalid;
    if ((groups & HWV_REGS_DEBUG) && !registers::debug_valid(r)) return Error::invalid;
    if ((groups & HWV_REGS_EVENT) && !registers::event_valid(r.event)) return Error::invalid;
    const bool new_base = (groups & HWV_REGS_CONTROL) && r.apic_base != apic.base();
    if (new_base && !apic.set_base(r.apic_base))
        return Error::invalid; // the last that can refuse, and the first to change
    if (groups & HWV_REGS_GPR) {
        for (unsigned i = 0; i < HWV_GPRS; ++i)
            gprs[i] = r.gpr[i];
        backend.set_rip(r.rip);
        backend.set_rflags(r.rflags);
        completion = {}; // the user completed the instruction himself
    }
    if (groups & HWV_REGS_CONTROL) apply_control(r);
    if (groups & HWV_REGS_SEGMENT) {
        for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
            backend.set_segment(i, r.segment[i]);
        backend.set_gdtr(r.gdtr);
        backend.set_idtr(r.idtr);
    }
    if (groups & HWV_REGS_DEBUG) {
        for (unsigned n : debug_numbers)
            backend.set_debug(n, r.dr[n]);
        backend.set_debug(6, r.dr6);
        backend.set_debug(7, r.dr7);
    }
    if (groups & HWV_REGS_EVENT) apply_event(r.event);
    return {};
}

// From the run page.
template <Backend B>
Status VcpuOf<B>::apply_shared(std::uint32_t groups) {
    hwv_regs r;
    copy_shared(r, run->regs);
    return apply(groups, r);
}

// By an observer. An instruction that left to user is the user's, to complete or to forget.
template <Backend B>
Status VcpuOf<B>::observe_registers(hwv_regs &r, std::uint32_t groups, bool set) {
    const PreemptGuard guard;
    if (!backend.reachable()) return Error::no_device;
    if (!set) {
        publish(groups, r);
        return {};
    }
    if (completion.kind != Completion::Kind::none && (groups & HWV_REGS_GPR)) return Error::busy;
    if constexpr (KeepsPageDirectories<B>)
        if ((groups & HWV_REGS_CONTROL) && pae_paging({r.cr0, r.cr3, r.cr4, r.efer, false}))
            return Error::not_supported; // they are read from the guest's memory: the owner's
    return apply(groups, r);
}

template <Backend B>
void VcpuOf<B>::apply_control(const hwv_regs &r) {
    backend.set_efer(r.efer);
    backend.set_cr0(r.cr0);
    backend.set_cr2(r.cr2);
    backend.set_cr3(r.cr3);
    backend.set_cr4(r.cr4);
    (void)load_page_directories({r.cr0, r.cr3, r.cr4, r.efer, false}, Unfit::not_present);
    backend.flush_translations();
    xcr0 = r.xcr0;
    backend.set_xcr0(xcr0);
    set_tpr(static_cast<std::uint8_t>(r.cr8));
}

template <Backend B>
void VcpuOf<B>::apply_event(const hwv_event_state &e) {
    backend.inject({static_cast<hwv_event_type>(e.type), e.vector, e.has_error_code != 0, e.length,
                    e.error_code});
    apic.set_nmis(e.nmi_pending);
    backend.set_nmi_blocked(e.nmi_blocked);
    backend.set_shadow(e.shadow);
    mp_state = e.mp_state;
    check_events = true;
}

// The part of the exit area that every exit has.
template <Backend B>
[[gnu::always_inline]] inline void VcpuOf<B>::finish_exit() {
    hwv_exit &e = run->exit;
    e.rflags = backend.rflags();
    e.cr8 = backend.tpr();
    e.flags = (e.rflags & rflags::if_ ? HWV_EXIT_FLAG_IF : 0u) |
              (interruptible() && !apic.extint_pending() ? HWV_EXIT_FLAG_INTERRUPTIBLE : 0u);
    e.sequence = ++exits_to_user;
    if (wanted)
        publish(wanted, run->regs);
    else
        run->regs.valid = 0;
}

// Registers only: nothing of the reply's other parts is used, no pending instruction is completed.
template <Backend B>
int VcpuOf<B>::sync() {
    hwv_reply reply;
    copy_shared(reply, run->reply);
    if ((reply.dirty | reply.wanted) & ~HWV_REGS_ALL) return to_errno(Error::invalid);
    PreemptGuard guard;
    if (reply.dirty)
        if (const Status s = apply_shared(reply.dirty); !s) return to_errno(s);
    publish(reply.wanted, run->regs);
    return 0;
}

} // namespace hwv
