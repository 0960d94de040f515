// SPDX-License-Identifier: GPL-2.0-only
// pv.cpp - arithmetic of the paravirtual clock.
#include "cpu/pv.hpp"

namespace hwv::cpu {

// ns = ticks * 10^6 / khz becomes (ticks << shift) * mul / 2^32; the smallest shift whose mul fits
// keeps the most digits.
PvScale pv_scale(std::uint32_t tsc_khz) {
    if (!tsc_khz) return {};
    constexpr std::uint64_t million = 1'000'000;
    int shift = -11; // 10^6 << 43 still fits into 64 bits
    while (((million << (32 - shift)) / tsc_khz) >> 32)
        ++shift;
    return {static_cast<std::uint32_t>((million << (32 - shift)) / tsc_khz),
            static_cast<std::int8_t>(shift)};
}

std::uint64_t pv_ticks_to_ns(const PvScale &scale, std::uint64_t ticks) {
    const std::uint64_t scaled = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(scaled) * scale.mul >> 32);
}

PvClock pv_clock(const PvMoment &moment, const PvScale &scale, std::uint8_t flags) {
    PvClock clock{};
    clock.tsc_timestamp = moment.guest_tsc;
    clock.system_time = moment.ns;
    clock.tsc_to_system_mul = scale.mul;
    clock.tsc_shift = scale.shift;
    clock.flags = flags;
    return clock;
}

PvWallClock pv_wall_clock(std::uint64_t wall_ns_now, std::uint64_t guest_ns_now) {
    constexpr std::uint64_t second = 1'000'000'000;
    const std::uint64_t start = wall_ns_now > guest_ns_now ? wall_ns_now - guest_ns_now : 0;
    return {0, static_cast<std::uint32_t>(start / second),
            static_cast<std::uint32_t>(start % second)};
}

} // namespace hwv::cpu
