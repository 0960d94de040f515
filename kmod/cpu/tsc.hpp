// SPDX-License-Identifier: GPL-2.0-only
// tsc.hpp - a guest's time stamp counter runs at a multiple of the host's. Intel SDM vol. 3, "Use
// of TSC Multiplier", AMD APM vol. 2, "TSC Ratio MSR": what the CPU does, this does bit by bit.
#pragma once
#include <cstdint>

namespace hwv::cpu {

// Guest ticks per tick of the host's; 32 bits of it are a fraction, as on AMD, and as many of
// Intel's 48.
using TscRatio = std::uint64_t;
inline constexpr TscRatio tsc_as_host = 1ull << 32;
inline constexpr TscRatio tsc_fastest = 255ull << 32; // AMD has eight bits before the fraction

constexpr TscRatio tsc_ratio(std::uint32_t guest_khz, std::uint32_t host_khz) {
    if (!host_khz || guest_khz == host_khz) return tsc_as_host;
    return (static_cast<std::uint64_t>(guest_khz) << 32) / host_khz;
}
constexpr std::uint64_t scale_tsc(std::uint64_t host, TscRatio ratio) {
    if (ratio == tsc_as_host) return host;
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(host) * ratio >> 32);
}
// As many host ticks, or what 32 bits hold of the guest's.
constexpr std::uint64_t unscale_ticks(std::uint64_t guest, TscRatio ratio) {
    if (ratio == tsc_as_host) return guest;
    return ((guest < 0xffff'ffff ? guest : 0xffff'ffff) << 32) / ratio;
}

static_assert(tsc_ratio(3'000'000, 2'000'000) == 3ull << 31);
static_assert(scale_tsc(1ull << 60, 3ull << 31) == 3ull << 59);
static_assert(unscale_ticks(3'000, 3ull << 31) == 2'000);

} // namespace hwv::cpu
