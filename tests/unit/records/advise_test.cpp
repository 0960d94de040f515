// SPDX-License-Identifier: GPL-2.0-only
#include "records/advise.hpp"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include "records/advise_rules.hpp"
#include "records/describe.hpp"
#include "records/fixture.hpp"

namespace records {
namespace {

Profile empty() {
    Profile p;
    p.name = "P";
    p.tsc_khz = 1'000'000;
    p.from_statistics = true;
    p.segments[HWV_TIME_GUEST] = 1'000'000;
    return p;
}

void add(Profile &p, unsigned reason, std::uint64_t key, unsigned count, std::uint64_t took,
         bool user) {
    for (unsigned i = 0; i < count; ++i)
        p.exits[reason].add(took, user);
    p.keys[{reason, key}].count += count;
    p.segments[HWV_TIME_KERNEL] += count * took;
}

const Advice *find(const std::vector<Advice> &all, const std::string &id) {
    for (const Advice &a : all)
        if (a.id == id) return &a;
    return nullptr;
}

TEST(Advise, names_the_cause_of_a_key_and_its_exact_share) {
    Profile p = empty();
    add(p, HWV_EXIT_IO, 0x3f8, 30, 100, true);
    add(p, HWV_EXIT_IO, 0x3fd, 30, 100, true);
    add(p, HWV_EXIT_IO, 0x80, 20, 100, false);
    add(p, HWV_EXIT_MSR_WRITE, 0x6e0, 20, 100, false);
    const auto all = advise(p);
    EXPECT_EQ(find(all, "serial")->exits, 60u);
    EXPECT_DOUBLE_EQ(find(all, "serial")->exit_share, 0.6);
    EXPECT_EQ(find(all, "io-delay")->exits, 20u);
    EXPECT_EQ(find(all, "timer")->exits, 20u);
    EXPECT_EQ(find(all, "port-notify"), nullptr);
}

TEST(Advise, time_in_user_belongs_to_what_left_to_it) {
    Profile p = empty();
    add(p, HWV_EXIT_IO, 0x3f8, 10, 1000, true);
    add(p, HWV_EXIT_CPUID, 0, 10, 1000, false);
    p.segments[HWV_TIME_USER] = 980'000; // a life of two million
    const auto all = advise(p);
    EXPECT_DOUBLE_EQ(find(all, "serial")->time_share, 0.495);
    EXPECT_DOUBLE_EQ(find(all, "cpuid")->time_share, 0.005);
    EXPECT_EQ(all.front().id, "serial") << "the dearest first";
}

TEST(Advise, exits_without_a_key_on_record_belong_to_the_reasons_last_rule) {
    Profile p = empty();
    add(p, HWV_EXIT_MSR_WRITE, 0x6e0, 10, 10, false);
    for (int i = 0; i < 10; ++i)
        p.exits[HWV_EXIT_MSR_WRITE].add(10, false); // evicted from the table of keys
    const auto all = advise(p);
    EXPECT_EQ(find(all, "timer")->exits, 10u);
    EXPECT_EQ(find(all, "msr")->exits, 10u);
}

TEST(Advise, shares_of_all_advice_are_at_most_everything) {
    Profile p = empty();
    for (unsigned r = 1; r < HWV_EXIT_CPU_REASONS; ++r)
        for (const std::uint64_t key : {0ull, 0x40ull, 0x61ull, 0x3f8ull, 0x830ull, 0xfee00000ull})
            add(p, r, key, 3, 50, r % 2);
    double share = 0;
    for (const Advice &a : advise(p, 0))
        share += a.exit_share;
    EXPECT_LE(share, 1.0 + 1e-9);
    EXPECT_GT(share, 0.3);
}

TEST(Advise, waiting_for_a_cpu_is_told) {
    Profile p = empty();
    p.segments[HWV_TIME_DESCHEDULED] = 250'000;
    EXPECT_DOUBLE_EQ(find(advise(p), "descheduled")->time_share, 0.2);
}

TEST(Advise, leaves_out_what_is_small_and_says_when_nothing_is_left) {
    Profile p = empty();
    EXPECT_THAT(advice_text(p, advise(p)), testing::HasSubstr("Nothing in it"));
    add(p, HWV_EXIT_CPUID, 0, 1000, 1, false);
    add(p, HWV_EXIT_WBINVD, 0, 1, 1, false);
    EXPECT_EQ(find(advise(p), "cache"), nullptr);
    EXPECT_NE(find(advise(p, 0), "cache"), nullptr);
}

TEST(Advise, json_says_the_same) {
    Profile p = empty();
    add(p, HWV_EXIT_HLT, 0, 4, 10, false);
    const auto json = advice_json(p, advise(p));
    EXPECT_EQ(json["advice"][0]["id"], "halt");
    EXPECT_EQ(json["advice"][0]["exit_share"], 1.0);
}

// A rule behind a wider one of its reason would never be asked.
TEST(AdviseRules, none_is_hidden_by_an_earlier_one) {
    for (std::size_t i = 0; i < std::size(rules); ++i) {
        EXPECT_LE(rules[i].first, rules[i].last) << i;
        for (std::size_t k = 0; k < i; ++k)
            EXPECT_FALSE(rules[k].reason == rules[i].reason && rules[k].first <= rules[i].first &&
                         rules[k].last >= rules[i].last)
                << rules[k].id << " hides " << rules[i].id;
    }
}

} // namespace
} // namespace records
