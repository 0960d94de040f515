// SPDX-License-Identifier: GPL-2.0-only
// count.hpp - where the run loop counts and times, which is everywhere unless the module was loaded
// with statistics=off: a static branch then leaves it all out.
#pragma once
#include "core/arch.hpp"
#include "core/vcpu_of.hpp"

struct hwv_static_key; // struct static_key, of which the address will do
extern "C" hwv_static_key hwv_statistics_off;

namespace hwv {

[[gnu::always_inline]] inline bool counting() {
    return !arch::static_branch(reinterpret_cast<const char *>(&hwv_statistics_off));
}

template <Backend B>
[[gnu::always_inline]] inline void VcpuOf<B>::cut(hwv_segment_kind ended) {
    if (counting()) statistics.cut(ended, arch::rdtsc());
}

template <Backend B>
[[gnu::always_inline]] inline void VcpuOf<B>::count_key(ExitReason reason, std::uint64_t key) {
    if (counting()) statistics.key(reason, key);
}

} // namespace hwv
