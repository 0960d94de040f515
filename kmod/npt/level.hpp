// SPDX-License-Identifier: GPL-2.0-only
// How large a leaf may be.
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
    bool nx_split = false; // an executable mapping on a CPU with the iTLB multihit erratum
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
    if (q.dirty_log || q.nx_split) return Level::page_4k;
    const Level most = q.host_level < q.cpu_level ? q.host_level : q.cpu_level;
    if (most >= Level::page_1g && level_fits(q, Level::page_1g)) return Level::page_1g;
    if (most >= Level::page_2m && level_fits(q, Level::page_2m)) return Level::page_2m;
    return Level::page_4k;
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
static_assert(with([](LevelQuery &q) { q.nx_split = true; }) == Level::page_4k);
static_assert(with([](LevelQuery &q) { q.host_level = Level::page_2m; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.cpu_level = Level::page_2m; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.slot_hva += 2 * mib; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.slot_hva += page_size; }) == Level::page_4k);
static_assert(with([](LevelQuery &q) { q.slot_size = 5 * gib; }) == Level::page_1g);
static_assert(with([](LevelQuery &q) { q.slot_size = 5 * gib - page_size; }) == Level::page_2m);
static_assert(with([](LevelQuery &q) { q.slot_size = 4 * gib + mib; }) == Level::page_4k);
} // namespace level_check

} // namespace hwv::npt
