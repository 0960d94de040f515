// SPDX-License-Identifier: GPL-2.0-only
// handlers_debug.hpp - MOV to and from debug registers. Nobody watches: the guest is given the real
// ones, and runs the instruction itself. Where one of them is trapped, none is given, and all are
// completed here. Intel SDM "Debug Registers", "MOV - Move to/from Debug Registers".
#pragma once
#include "core/fetch.hpp"

namespace hwv {

// What the CPU makes of values written: fixed bits; and the upper half must be zero.
constexpr std::uint64_t as_dr6(std::uint64_t v) { return (v & 0xe00f) | 0xffff'0ff0; }
constexpr std::uint64_t as_dr7(std::uint64_t v) { return (v & 0xffff'23ff) | 0x400; }

template <Backend B>
Outcome write_debug(VcpuOf<B> &v, unsigned number, std::uint64_t value) {
    if (number >= 6 && value >> 32) return v.gp();
    v.backend.set_debug(number, number == 6 ? as_dr6(value) : number == 7 ? as_dr7(value) : value);
    return Outcome::resume_next;
}

template <Backend B>
Outcome move_debug(VcpuOf<B> &v, const RegisterAccess &access) {
    constexpr std::uint64_t general_detect = 1u << 13; // DR7.GD, and DR6.BD
    if (access.number > 7) return v.ud();
    if (v.backend.cpl()) return v.gp();
    const bool alias = (access.number & 6) == 4; // DR4 and DR5, of DR6 and DR7
    if (alias && (v.backend.cr4() & cr4::de)) return v.ud();
    if (v.backend.debug(7) & general_detect) {
        v.enter_debug_handler(general_detect);
        v.backend.set_rflags(v.backend.rflags() | rflags::rf); // of #DB's kinds a fault
        return v.raise(exception(vector::debug));
    }
    const unsigned number = alias ? access.number + 2 : access.number;
    if (access.write) return write_debug(v, number, v.value(access.gpr));
    const std::uint64_t value = v.backend.debug(number);
    v.gprs[access.gpr] = v.wide() ? value : value & 0xffff'ffff;
    return Outcome::resume_next;
}

template <Backend B>
Outcome on_debug_register(VcpuOf<B> &v, const Exit &exit) {
    if (!v.traps.debug_registers()) {
        v.backend.grant_debug();
        return Outcome::resume_same;
    }
    RegisterAccess access = exit.reg;
    std::uint8_t length = exit.length;
    if (!access.decoded || !length) {
        const auto i = v.instruction(exit.reason);
        if (!i) return Outcome::resume_same;
        length = i->length;
        access.write = i->operation == Operation::mov_to_dr;
        access.number = i->number;
        access.gpr = i->reg;
    }
    const Outcome done = move_debug(v, access);
    if (done != Outcome::resume_next) return done;
    v.advance(length);
    return Outcome::resume_same;
}

} // namespace hwv
