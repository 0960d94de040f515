// SPDX-License-Identifier: GPL-2.0-only
// How large a leaf may be, and whether the guest may execute from it.
#pragma once

#include "npt/entry.hpp"

namespace hwv::npt {

struct LevelQuery {
    std::uint64_t gpa = 0; // faulting address
    std::uint64_t slot_gpa = 0;
    std::uint64_t slot_size = 0;
    std::uint64_t slot_hva = 0;
    Level host_level = Level::page_4k; // of the host's own mapping of that page
    Level cpu_level = Level::page_1g;  // the largest that nested paging of this CPU has
    bool dirty_log = false;            // the log counts 4 KiB pages
    // The CPU must find no executable leaf above 4 KiB: two translations of different size for one
    // address, in its instruction TLB, would stop it by a machine check (Intel, "Machine Check
    // Error Avoidance on Page Size Change").
    bool nx_large = false;
    bool fetch = false; // the access executes there, or the guest did so before
};

// Whether the block of this size around the address lies in the slot, and gpa and hva agree in the
// offset within the block.
constexpr bool level_fits(const LevelQuery &q, Level level) {
    const std::uint64_t size = pages(level) * page_size;
    const std::uint64_t block = q.gpa & ~(size - 1);
    if (q.gpa < q.slot_gpa || block < q.slot_gpa || q.slot_size < size) return false;
    return block - q.slot_gpa <= q.slot_size - size && !((q.slot_gpa ^ q.slot_hva) & (size - 1));
}

// The minimum of all rules.
constexpr Level mapping_level(const LevelQuery &q) {
    if (q.dirty_log) return Level::page_4k;
    const Level most = q.host_level < q.cpu_level ? q.host_level : q.cpu_level;
    if (most >= Level::page_1g && level_fits(q, Level::page_1g)) return Level::page_1g;
    if (most >= Level::page_2m && level_fits(q, Level::page_2m)) return Level::page_2m;
    return Level::page_4k;
}

struct Mapping {
    Level level = Level::page_4k;
    bool exec = true;
    bool block = false; // and all of the 2 MiB block around it, by leaves of 4 KiB

    friend constexpr bool operator==(const Mapping &, const Mapping &) = default;
};

// Data is served by leaves as large as can be. What is executed then costs one more fault for 2
// MiB: the whole block becomes small, and so executable, at once.
constexpr Mapping mapping_for(const LevelQuery &q) {
    const Level level = mapping_level(q);
    if (!q.nx_large || level == Level::page_4k) return {.level = level};
    if (q.fetch) return {.block = true};
    return {.level = level, .exec = false};
}

namespace level_check {
inline constexpr std::uint64_t mib = 1ull << 20;
inline constexpr std::uint64_t gib = 1ull << 30;
inline constexpr LevelQuery big{5 * gib, gib, 8 * gib, 0x7000'0000'0000, Level::page_1g};

constexpr Level with(auto change) {
    LevelQuery q = big;
    change(q);
    return mapping_level(q);
}

static_assert(mapping_level(big) == Level::page_1g);
static_assert(with([](LevelQuery &q) { q.dirty_log = true; }) == Level::page_4k);
static_assert(with([](LevelQuery &q) { q.nx_large = true; }) == Level::page_1g);
static_assert(with([](LevelQuery &q) { q.host_level = Level::page_2m; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.cpu_level = Level::page_2m; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.slot_hva += 2 * mib; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.slot_hva += page_size; }) == Level::page_4k);
static_assert(with([](LevelQuery &q) { q.slot_size = 5 * gib; }) == Level::page_1g);
static_assert(with([](LevelQuery &q) { q.slot_size = 5 * gib - page_size; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.slot_size = 4 * gib + mib; }) == Level::page_4k);
} // namespace level_check

} // namespace hwv::npt
