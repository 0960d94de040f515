// SPDX-License-Identifier: GPL-2.0-only
// breakpoints.hpp - DR0-3 around a world switch, which switches DR7 alone: the guest's are there
// only from before it until after it, and the host's rest. Nothing here may be instrumented.
#pragma once
#include "core/arch.hpp"

namespace hwv {

using Breakpoints = std::uint64_t[4];

[[gnu::always_inline]] inline void read_breakpoints(Breakpoints &to) {
    to[0] = arch::read_dr<0>();
    to[1] = arch::read_dr<1>();
    to[2] = arch::read_dr<2>();
    to[3] = arch::read_dr<3>();
}

[[gnu::always_inline]] inline void write_breakpoints(const Breakpoints &from) {
    arch::write_dr<0>(from[0]);
    arch::write_dr<1>(from[1]);
    arch::write_dr<2>(from[2]);
    arch::write_dr<3>(from[3]);
}

// The host's rest, because the guest's addresses must not hit at them, until `run` has returned.
// Exits leave DR7 with all of them off.
template <typename Run>
[[gnu::always_inline]] inline auto with_breakpoints(bool guest_uses, Breakpoints &guest, Run run) {
    constexpr std::uint64_t enabled = 0xff;
    const std::uint64_t host_dr7 = arch::read_dr<7>();
    const bool host_uses = host_dr7 & enabled;
    Breakpoints host = {};
    if (host_uses) arch::write_dr<7>(0);
    if (host_uses && guest_uses) read_breakpoints(host);
    if (guest_uses) write_breakpoints(guest);
    const auto result = run();
    if (guest_uses) read_breakpoints(guest);
    if (host_uses && guest_uses) write_breakpoints(host);
    if (host_uses) arch::write_dr<7>(host_dr7);
    return result;
}

} // namespace hwv
