// SPDX-License-Identifier: GPL-2.0-only
// hypercall.hpp - the hypercalls of KVM's ABI that hwv serves, and hwv's own (hwv_guest.h).
// Source: Linux, Documentation/virt/kvm/x86/hypercalls.rst; numbers in <linux/kvm_para.h>.
#pragma once
#include <cstdint>
#include "cpu/ipi.hpp"
#include "hwv.h"

namespace hwv::cpu {

namespace hypercall {
inline constexpr std::uint64_t vapic_poll_irq = 1, kick_cpu = 5, send_ipi = 10, sched_yield = 11;
inline constexpr std::int64_t no_permission = -1, invalid = -22, unknown = -1000;
} // namespace hypercall

struct HypercallRequest {
    const std::uint64_t *gprs; // indexed by hwv_gpr_index
    bool wide;                 // 64-bit mode: else registers count by their low halves
    std::uint8_t cpl;

    std::uint64_t nr() const { return value(HWV_RAX); }
    std::uint64_t arg(unsigned n) const {
        constexpr std::uint8_t registers[] = {HWV_RBX, HWV_RCX, HWV_RDX, HWV_RSI};
        return value(registers[n]);
    }

  private:
    std::uint64_t value(unsigned gpr) const { return wide ? gprs[gpr] : gprs[gpr] & 0xffff'ffff; }
};

struct HypercallAnswer { // two words, which come back in registers
    std::uint64_t known; // 0: nobody's number; value says so in KVM's words
    std::uint64_t value; // RAX
};

namespace detail {

// Bitmap of vCPUs in two words from APIC id arg(2) on, ICR in arg(3). Returns how many took it.
template <typename Bus>
std::int64_t send_ipis(Bus &bus, const HypercallRequest &call) {
    constexpr std::uint64_t logical = 1u << 11, shorthand = 3u << 18;
    const unsigned width = call.wide ? 64 : 32;
    InterruptMessage message;
    if ((call.arg(3) & (logical | shorthand)) ||
        !decode_icr(call.arg(3) & 0xffff'ffff, true, message))
        return hypercall::invalid;
    std::int64_t count = 0;
    for (unsigned bit = 0; bit < 2 * width; ++bit) {
        if (!(call.arg(bit / width) >> bit % width & 1)) continue;
        const std::uint64_t id = call.arg(2) + bit;
        if (id >= bus.size()) break;
        message.destination = static_cast<std::uint32_t>(id);
        count += deliver(bus, message);
    }
    return count;
}

template <typename Bus>
std::int64_t kick(Bus &bus, std::uint64_t id) {
    auto *apic = id < bus.size() ? bus.apic(static_cast<unsigned>(id)) : nullptr;
    if (apic) {
        apic->unhalt();
        bus.notify(*apic);
        bus.yield_to(static_cast<unsigned>(id));
    }
    return 0;
}

template <typename Bus>
std::int64_t yield(Bus &bus, std::uint64_t id) {
    if (id < bus.size()) bus.yield_to(static_cast<unsigned>(id));
    return 0;
}

} // namespace detail

// Any context that may deliver. Bus as for deliver(), and
//   void yield_to(unsigned id)           the caller waits for that vCPU, which may want its CPU
template <typename Bus>
HypercallAnswer serve_hypercall(Bus &bus, HypercallRequest call) {
    const std::uint64_t nr = call.nr();
    std::int64_t result = hypercall::no_permission;
    std::uint64_t known = 1;
    if (nr == HWV_HYPERCALL_MARK) {
        result = 0; // its exit is all that it is for
    } else if (!call.cpl) {
        switch (nr) {
        case hypercall::vapic_poll_irq: result = 0; break;
        case hypercall::kick_cpu: result = detail::kick(bus, call.arg(1)); break;
        case hypercall::sched_yield: result = detail::yield(bus, call.arg(0)); break;
        case hypercall::send_ipi: result = detail::send_ipis(bus, call); break;
        default: result = hypercall::unknown; known = 0;
        }
    }
    const auto value = static_cast<std::uint64_t>(result);
    return {known, call.wide ? value : value & 0xffff'ffff};
}

} // namespace hwv::cpu
