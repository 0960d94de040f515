// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/summary.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "hwvctl/exit_table.hpp"

namespace hwvctl {
namespace {

void note(hwv::Stats &s, unsigned reason, std::uint64_t cycles, unsigned bucket) {
    hwv_exit_stats &e = s.raw.exit[reason];
    ++e.count;
    e.cycles += cycles;
    if (cycles > e.max_cycles) e.max_cycles = cycles;
    ++e.histogram[bucket];
}

void key(hwv::Stats &s, unsigned slot, std::uint64_t reason, std::uint64_t key,
         std::uint64_t count) {
    s.raw.key[slot] = {reason << 56 | key, count};
}

// 3 CPUIDs of 10, 100 and 1000 cycles, and an OUT.
hwv::Stats one_vcpu() {
    hwv::Stats s;
    s.raw.first_tsc = 1000;
    s.raw.last_tsc = 5000;
    s.raw.segment[HWV_TIME_GUEST].cycles = 3000;
    s.raw.segment[HWV_TIME_USER].cycles = 1000;
    note(s, HWV_EXIT_CPUID, 10, 3);
    note(s, HWV_EXIT_CPUID, 100, 6);
    note(s, HWV_EXIT_CPUID, 1000, 9);
    note(s, HWV_EXIT_IO, 64, 6);
    s.raw.exit[HWV_EXIT_IO].to_user = 1;
    key(s, 0, HWV_EXIT_CPUID, 1, 2);
    key(s, 9, HWV_EXIT_IO, 0x3f8, 1);
    return s;
}

Summary two() {
    const hwv::Stats both[] = {one_vcpu(), one_vcpu()};
    return summarize(both);
}

TEST(Summary, AddsVcpus) {
    const Summary s = two();
    EXPECT_EQ(s.vcpus, 2u);
    EXPECT_EQ(s.exits(), 8u);
    EXPECT_EQ(s.exits_to_user(), 2u);
    EXPECT_EQ(s.cycles, 8000u);
    EXPECT_EQ(s.segment[HWV_TIME_GUEST].cycles, 6000u);
    EXPECT_EQ(s.exit[HWV_EXIT_CPUID].histogram[6], 2u);
    EXPECT_EQ(s.keys_of(HWV_EXIT_CPUID).at(0).count, 4u);
    EXPECT_EQ(s.other(HWV_EXIT_CPUID), 2u);
    EXPECT_EQ(s.other(HWV_EXIT_IO), 0u);
    EXPECT_EQ(s.occurred(), (std::vector<std::uint32_t>{HWV_EXIT_CPUID, HWV_EXIT_IO}));
}

TEST(Summary, PercentilesAreUpperBoundsOfBuckets) {
    const Summary s = two();
    const hwv_exit_stats &e = s.exit[HWV_EXIT_CPUID];
    EXPECT_EQ(least(e), 8u);
    EXPECT_EQ(hwv::percentile(e, 0.3), 16u);
    EXPECT_EQ(hwv::percentile(e, 0.5), 128u);
    EXPECT_EQ(hwv::percentile(e, 0.99), 1000u) << "no more than the largest one";
}

TEST(Summary, DifferenceIsWhatCameBetween) {
    const Summary before = two();
    hwv::Stats later = one_vcpu();
    note(later, HWV_EXIT_CPUID, 40, 5);
    key(later, 0, HWV_EXIT_CPUID, 1, 3);
    later.raw.last_tsc += 500;
    const hwv::Stats both[] = {later, one_vcpu()};
    const Summary d = difference(summarize(both), before);
    EXPECT_EQ(d.exits(), 1u);
    EXPECT_EQ(d.cycles, 500u);
    EXPECT_EQ(d.exit[HWV_EXIT_CPUID].count, 1u);
    EXPECT_EQ(d.exit[HWV_EXIT_CPUID].cycles, 40u);
    EXPECT_EQ(d.exit[HWV_EXIT_CPUID].max_cycles, 63u) << "not the one from before";
    EXPECT_EQ(d.keys_of(HWV_EXIT_CPUID).at(0).count, 1u);
    EXPECT_TRUE(d.keys_of(HWV_EXIT_IO).empty());
}

TEST(Summary, KeyThatCameBackStartsAnew) {
    Summary before, now;
    before.keys[{HWV_EXIT_IO, 0x80}] = 10;
    now.keys[{HWV_EXIT_IO, 0x80}] = 3;
    EXPECT_EQ(difference(now, before).keys_of(HWV_EXIT_IO).at(0).count, 3u);
}

TEST(ExitTable, RowsKeysAndExactRest) {
    const std::string table = exit_table(two(), 1000, 1);
    EXPECT_NE(table.find("\ncpuid                     6  75.0%"), std::string::npos) << table;
    EXPECT_NE(table.find("\n  0x1 features                        4\n"), std::string::npos)
        << table;
    EXPECT_NE(table.find("\n  other                               2\n"), std::string::npos)
        << table;
    EXPECT_NE(table.find("0x3f8 COM1"), std::string::npos);
    EXPECT_NE(table.find("\ntotal                     8 "), std::string::npos) << table;
    EXPECT_NE(table.find("time us: guest 6000 (75.0%)"), std::string::npos) << table;
}

TEST(ExitTable, ColoursForTerminalsAlone) {
    EXPECT_EQ(exit_table(two(), 1000, 1).find('\033'), std::string::npos);
    const std::string table = exit_table(two(), 1000, 1, true);
    EXPECT_EQ(table.find("\033[1mexit "), 0u) << table;
    EXPECT_NE(table.find("\n\033[31mcpuid "), std::string::npos) << table;
    EXPECT_EQ(table.find("\033", table.find("\ntotal ")), std::string::npos) << table;
    std::string plain = table;
    for (const char *code : {"\033[0m", "\033[1m", "\033[31m", "\033[32m"})
        for (std::size_t at; (at = plain.find(code)) != std::string::npos;)
            plain.erase(at, std::strlen(code));
    EXPECT_EQ(plain, exit_table(two(), 1000, 1));
}

TEST(ExitTable, JsonAddsUp) {
    const nlohmann::json all = exit_json(two(), 1000);
    std::uint64_t sum = 0;
    for (const auto &e : all["exits"]) {
        sum += e["count"].get<std::uint64_t>();
        std::uint64_t keyed = e["other"];
        for (const auto &k : e["keys"])
            keyed += k["count"].get<std::uint64_t>();
        EXPECT_EQ(keyed, e["count"]);
    }
    EXPECT_EQ(sum, all["total"]);
    EXPECT_EQ(all["exits"][1]["keys"][0]["port"], 0x3f8);
    EXPECT_EQ(all["time_cycles"]["user"], 2000);
}

TEST(ExitTable, PrometheusBucketsAreCumulative) {
    hwv_vm_entry vm{.id = 5, .name = "a\"b\\"};
    const std::string text = exit_prom(two(), 1'000'000, vm);
    const std::string who = "vm=\"5\",name=\"a\\\"b\\\\\",reason=\"cpuid\"";
    for (const char *line : {",le=\"1.6e-08\"} 2\n", ",le=\"1.28e-07\"} 4\n",
                             ",le=\"1.024e-06\"} 6\n", ",le=\"+Inf\"} 6\n"})
        EXPECT_NE(text.find("hwv_exit_seconds_bucket{" + who + line), std::string::npos) << text;
    EXPECT_NE(text.find("hwv_exit_seconds_count{" + who + "} 6\n"), std::string::npos);
    EXPECT_NE(text.find("hwv_exit_seconds_sum{" + who + "} 0.000002220\n"), std::string::npos);
}

} // namespace
} // namespace hwvctl
