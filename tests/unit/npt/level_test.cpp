// SPDX-License-Identifier: GPL-2.0-only
// The level rule as a table, and against a slow but obvious definition.
#include "npt/level.hpp"

#include <gtest/gtest.h>

#include <random>

namespace npt_test {
namespace {

using namespace hwv::npt;

constexpr std::uint64_t mib = 1ull << 20;
constexpr std::uint64_t gib = 1ull << 30;
constexpr auto k4 = Level::page_4k;
constexpr auto m2 = Level::page_2m;
constexpr auto g1 = Level::page_1g;

struct Row {
    const char *name;
    LevelQuery query;
    Level level;
};

constexpr Row rows[] = {
    {"all agree on 1 GiB", {2 * gib, 0, 4 * gib, 0, g1, g1, false}, g1},
    {"host has 2 MiB", {2 * gib, 0, 4 * gib, 0, m2, g1, false}, m2},
    {"host has 4 KiB", {2 * gib, 0, 4 * gib, 0, k4, g1, false}, k4},
    {"CPU has 2 MiB", {2 * gib, 0, 4 * gib, 0, g1, m2, false}, m2},
    {"CPU has 4 KiB", {2 * gib, 0, 4 * gib, 0, g1, k4, false}, k4},
    {"dirty log", {2 * gib, 0, 4 * gib, 0, g1, g1, true}, k4},
    {"hva off by 4 KiB", {2 * gib, 0, 4 * gib, 0x1000, g1, g1, false}, k4},
    {"hva off by 2 MiB", {2 * gib, 0, 4 * gib, 2 * mib, g1, g1, false}, m2},
    {"same offset in 2 MiB", {gib, 0x3000, 4 * gib, gib + 0x3000, g1, g1, false}, g1},
    {"first block cut", {mib, 0x1000, gib, 0x1000, m2, g1, false}, k4},
    {"first whole block", {2 * mib, 0x1000, gib, 0x1000, m2, g1, false}, m2},
    {"last block whole", {4 * mib - 1, 0, 4 * mib, 0, m2, g1, false}, m2},
    {"last block cut", {4 * mib - 0x2000, 0, 4 * mib - 0x1000, 0, m2, g1, false}, k4},
    {"slot smaller than 2 MiB", {0, 0, 2 * mib - 0x1000, 0, m2, g1, false}, k4},
    {"slot of exactly 2 MiB", {0x5000, 0, 2 * mib, 0, g1, g1, false}, m2},
    {"below the slot", {0, mib, gib, mib, m2, g1, false}, k4},
    {"top of the address space", {~0ull, ~0ull - 2 * mib + 1, 2 * mib, 0, m2, g1, false}, m2},
};

TEST(Level, Table) {
    for (const Row &row : rows)
        EXPECT_EQ(mapping_level(row.query), row.level) << row.name;
}

// What the level would be; the iTLB multihit erratum, an instruction fetch; how it is mapped.
struct Choice {
    Level level;
    bool nx_large, fetch;
    Mapping mapping;
};

constexpr Choice choices[] = {
    {g1, false, false, {g1, true, false}}, {g1, false, true, {g1, true, false}},
    {g1, true, false, {g1, false, false}}, {g1, true, true, {k4, true, true}},
    {m2, true, false, {m2, false, false}}, {m2, true, true, {k4, true, true}},
    {k4, true, false, {k4, true, false}},  {k4, true, true, {k4, true, false}},
};

TEST(Level, WhatIsLargeIsNotExecutableWhereTheCpuHasTheErratum) {
    for (const Choice &c : choices) {
        LevelQuery q{2 * gib, 0, 4 * gib, 0, c.level};
        q.nx_large = c.nx_large;
        q.fetch = c.fetch;
        EXPECT_EQ(mapping_for(q), c.mapping) << &c - choices;
        q.dirty_log = true;
        EXPECT_EQ(mapping_for(q), Mapping{}) << &c - choices;
    }
}

// A level is right when every page of the block is in the slot, guest and host block begin
// together, and all agree; the next one up is then wrong.
bool obviously_right(const LevelQuery &q, Level level) {
    if (level == k4) return true;
    const std::uint64_t size = pages(level) * page_size;
    const std::uint64_t block = q.gpa / size * size;
    const bool inside = block >= q.slot_gpa && block + size <= q.slot_gpa + q.slot_size;
    const bool together = inside && (q.slot_hva + (block - q.slot_gpa)) % size == 0;
    return together && level <= q.host_level && level <= q.cpu_level && !q.dirty_log;
}

TEST(Level, AgreesWithItsDefinition) {
    std::mt19937_64 random{7};
    std::array<unsigned, 4> seen{};
    for (unsigned i = 0; i < 200'000; ++i) {
        const std::uint64_t unit = random() % 3 ? 2 * mib : random() % 2 ? gib : page_size;
        LevelQuery q;
        q.slot_gpa = random() % 8 * unit;
        q.slot_size = (1 + random() % 4096) * unit;
        q.slot_hva = 0x7000'0000'0000 + q.slot_gpa + (random() % 4 ? 0 : random() % 8 * unit);
        q.gpa = q.slot_gpa + random() % q.slot_size;
        q.host_level = static_cast<Level>(1 + random() % 3);
        q.cpu_level = static_cast<Level>(2 + random() % 2);
        q.dirty_log = random() % 16 == 0;
        q.nx_large = random() % 2;
        q.fetch = random() % 2;
        const Level level = mapping_level(q);
        ASSERT_TRUE(obviously_right(q, level));
        const Mapping mapping = mapping_for(q);
        ASSERT_TRUE(mapping.level == level || mapping.block);
        ASSERT_TRUE(mapping.exec || !q.fetch);
        ASSERT_FALSE(q.nx_large && mapping.exec && mapping.level > k4);
        for (unsigned up = number(level) + 1; up <= 3; ++up)
            ASSERT_FALSE(obviously_right(q, static_cast<Level>(up)));
        ++seen[number(level)];
    }
    for (unsigned level = 1; level <= 3; ++level)
        EXPECT_GT(seen[level], 1000u);
}

} // namespace
} // namespace npt_test
