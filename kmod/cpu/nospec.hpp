// SPDX-License-Identifier: GPL-2.0-only
// nospec.hpp - an index that a guest or a user chose, after it was checked against its bound. A CPU
// that mispredicts the check reads element 0 instead of memory that it was not given. Intel
// "Analysis of Speculative Execution Side Channels", "Bounds Check Bypass Mitigation".
#pragma once
#include <cstdint>

namespace hwv::cpu {

// index where index < size, else 0: by the carry flag, without a branch that could be predicted.
[[gnu::always_inline]] inline std::uint64_t nospec(std::uint64_t index, std::uint64_t size) {
    std::uint64_t mask;
    asm volatile("cmp %2, %1\n\tsbb %0, %0" : "=r"(mask) : "r"(index), "r"(size) : "cc");
    return index & mask;
}

// The same for an index below `size`, a power of two, which the compiler knows of it: the mask is
// to stay nevertheless.
template <std::uint32_t size>
[[gnu::always_inline]] inline std::uint32_t nospec(std::uint32_t index) {
    static_assert(size && !(size & (size - 1)));
    asm volatile("" : "+r"(index));
    return index & (size - 1);
}

} // namespace hwv::cpu
