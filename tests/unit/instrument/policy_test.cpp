// SPDX-License-Identifier: GPL-2.0-only
// Rules: what is accepted, which exits they need, what they match and who decides.
#include "instrument/policies.hpp"
#include <gtest/gtest.h>
#include <cstddef>
#include <memory>
#include <vector>
#include "instrument/stop.hpp"

namespace hwv::instrument {
namespace {

hwv_rule rule(hwv_exit_reason reason, hwv_action action = HWV_ACTION_COUNT) {
    hwv_rule r{};
    r.reason = reason;
    r.action = action;
    return r;
}

struct PolicyTest : testing::Test {
    bool set(std::vector<hwv_rule> rules, const Traps &can = every_trap) {
        policy = std::make_unique<Policy>(1, 0);
        return policy->set(rules.data(), static_cast<std::uint32_t>(rules.size()), can, fault);
    }
    // The rule alone is refused, for that field.
    void refused(const hwv_rule &r, std::size_t field) {
        EXPECT_FALSE(set({rule(HWV_EXIT_CPUID), r}));
        EXPECT_EQ(fault.rule, 1u);
        EXPECT_EQ(fault.field, field);
        EXPECT_FALSE(fault.unsupported);
    }
    Verdict ask(const Question &q) {
        Verdict v;
        record = policy->ask(q, v);
        return v;
    }
    std::unique_ptr<Policy> policy;
    RuleFault fault;
    bool record = false;
};

constexpr Question cpuid{HWV_EXIT_CPUID, 3, 7, 0x1000, 0x2000};

TEST_F(PolicyTest, rules_that_make_no_sense_are_refused_by_field) {
    hwv_rule r = rule(HWV_EXIT_NONE);
    refused(r, offsetof(hwv_rule, reason));
    r = rule(HWV_EXIT_CPU_REASONS);
    refused(r, offsetof(hwv_rule, reason));
    r = rule(HWV_EXIT_CPUID);
    r.action = HWV_ACTION_STOP + 1;
    refused(r, offsetof(hwv_rule, action));
    refused(rule(HWV_EXIT_HLT, HWV_ACTION_ANSWER), offsetof(hwv_rule, action));
    refused(rule(HWV_EXIT_PAGE_FAULT, HWV_ACTION_SKIP), offsetof(hwv_rule, action));
    refused(rule(HWV_EXIT_HOST_INTERRUPT, HWV_ACTION_INJECT), offsetof(hwv_rule, action));
    r = rule(HWV_EXIT_CPUID);
    r.flags = 1u << 30;
    refused(r, offsetof(hwv_rule, flags));
    r.flags = HWV_RULE_EVERY;
    refused(r, offsetof(hwv_rule, every));
    r.flags = HWV_RULE_CPL;
    refused(r, offsetof(hwv_rule, cpl_mask));
    r.cpl_mask = 0x10;
    refused(r, offsetof(hwv_rule, cpl_mask));
    r = rule(HWV_EXIT_CPUID);
    r.reserved = 1;
    refused(r, offsetof(hwv_rule, reserved));
    r = rule(HWV_EXIT_CPUID);
    r.flags = HWV_RULE_KEY;
    r.key_first = 2, r.key_last = 1;
    refused(r, offsetof(hwv_rule, key_last));
    r.flags = HWV_RULE_RIP;
    r.rip_first = 2;
    refused(r, offsetof(hwv_rule, rip_last));
}

TEST_F(PolicyTest, exceptions_that_no_cpu_raises_are_refused) {
    for (unsigned v = 0; v < 256; ++v) {
        for (const bool code : {false, true}) {
            hwv_rule r = rule(HWV_EXIT_CPUID, HWV_ACTION_INJECT);
            r.vector = static_cast<__u8>(v);
            r.flags = code ? HWV_RULE_ERROR_CODE : 0u;
            const bool pushes = v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21;
            const bool exists = v < 32 && (trap::exceptions >> v & 1);
            EXPECT_EQ(set({r}), exists && code == pushes) << v;
            r.error_code = 0x8000;
            EXPECT_FALSE(set({r})) << v;
        }
    }
    hwv_rule r = rule(HWV_EXIT_CPUID);
    r.flags = HWV_RULE_ERROR_CODE;
    refused(r, offsetof(hwv_rule, flags));
}

TEST_F(PolicyTest, every_filter_must_let_it_pass) {
    hwv_rule r = rule(HWV_EXIT_CPUID);
    r.flags = HWV_RULE_CPL | HWV_RULE_KEY | HWV_RULE_RIP | HWV_RULE_CR3;
    r.cpl_mask = 1u << 3;
    r.key_first = 5, r.key_last = 7;
    r.rip_first = r.rip_last = 0x1000;
    r.cr3 = 0x2fff;
    ASSERT_TRUE(set({r}));
    const auto matched = [&](Question q) {
        const std::uint64_t before = policy->counts(0).matched;
        ask(q);
        return policy->counts(0).matched - before;
    };
    EXPECT_EQ(matched(cpuid), 1u);
    EXPECT_EQ(matched({HWV_EXIT_CPUID, 3, 5, 0x1000, 1ull << 63 | 0x2018}), 1u);
    EXPECT_EQ(matched({HWV_EXIT_CPUID, 0, 7, 0x1000, 0x2000}), 0u);
    EXPECT_EQ(matched({HWV_EXIT_CPUID, 3, 8, 0x1000, 0x2000}), 0u);
    EXPECT_EQ(matched({HWV_EXIT_CPUID, 3, 4, 0x1000, 0x2000}), 0u);
    EXPECT_EQ(matched({HWV_EXIT_CPUID, 3, 7, 0x1001, 0x2000}), 0u);
    EXPECT_EQ(matched({HWV_EXIT_CPUID, 3, 7, 0x1000, 0x3000}), 0u);
    EXPECT_EQ(matched({HWV_EXIT_RDTSC, 3, 7, 0x1000, 0x2000}), 0u);
}

TEST_F(PolicyTest, one_of_n_acts_and_all_are_counted) {
    hwv_rule r = rule(HWV_EXIT_CPUID, HWV_ACTION_SKIP);
    r.flags = HWV_RULE_EVERY;
    r.every = 3;
    ASSERT_TRUE(set({r}));
    std::string acts;
    for (unsigned i = 0; i < 7; ++i)
        acts += ask(cpuid).decided() ? 'x' : '.';
    EXPECT_EQ(acts, "..x..x.");
    EXPECT_EQ(policy->counts(0).matched, 7u);
    EXPECT_EQ(policy->counts(0).acted, 2u);
}

TEST_F(PolicyTest, the_first_that_decides_does_and_the_others_count) {
    hwv_rule answer = rule(HWV_EXIT_CPUID, HWV_ACTION_ANSWER);
    answer.value[0] = 42;
    ASSERT_TRUE(
        set({rule(HWV_EXIT_CPUID), rule(HWV_EXIT_RDTSC, HWV_ACTION_SKIP), answer,
             rule(HWV_EXIT_CPUID, HWV_ACTION_STOP), rule(HWV_EXIT_CPUID, HWV_ACTION_RECORD)}));
    const Verdict v = ask(cpuid);
    EXPECT_EQ(v.action, HWV_ACTION_ANSWER);
    EXPECT_EQ(v.value[0], 42u);
    EXPECT_EQ(v.rule, 2u);
    EXPECT_EQ(v.timeout_ms, unsigned{HWV_STOP_TIMEOUT_MS});
    EXPECT_TRUE(record);
    const std::uint64_t matched[] = {1, 0, 1, 1, 1}, acted[] = {1, 0, 1, 0, 1};
    for (unsigned i = 0; i < 5; ++i) {
        EXPECT_EQ(policy->counts(i).matched, matched[i]) << i;
        EXPECT_EQ(policy->counts(i).acted, acted[i]) << i;
    }
}

TEST_F(PolicyTest, a_full_policy) {
    ASSERT_TRUE(set(std::vector<hwv_rule>(HWV_MAX_RULES, rule(HWV_EXIT_CPUID))));
    ask(cpuid);
    for (unsigned i = 0; i < HWV_MAX_RULES; ++i)
        EXPECT_EQ(policy->counts(i).matched, 1u);
}

TEST_F(PolicyTest, rules_need_exits) {
    hwv_rule cr = rule(HWV_EXIT_CR_WRITE), msr = rule(HWV_EXIT_MSR_READ),
             dr = rule(HWV_EXIT_DR_ACCESS);
    cr.flags = msr.flags = dr.flags = HWV_RULE_KEY;
    cr.key_first = cr.key_last = 3;
    msr.key_first = 0xc000'0080, msr.key_last = ~0ull;
    dr.key_first = 6, dr.key_last = 7;
    ASSERT_TRUE(set({cr, msr, dr, rule(HWV_EXIT_RDTSCP), rule(HWV_EXIT_PAUSE), rule(HWV_EXIT_CPUID),
                     rule(HWV_EXIT_EXCEPTION)}));
    const Traps &t = policy->traps();
    EXPECT_EQ(t.cr_writes, 1u << 3);
    EXPECT_EQ(t.cr_reads, 0u);
    EXPECT_EQ(t.dr_reads | t.dr_writes, 0xc0);
    EXPECT_EQ(t.instructions, trap::rdtsc | trap::pause);
    EXPECT_EQ(t.exceptions, trap::exceptions);
    EXPECT_TRUE(t.reads_msr(0xc000'0080) && t.reads_msr(~0u));
    EXPECT_FALSE(t.reads_msr(0xc000'007f) || t.writes_msr(0xc000'0080));
    ASSERT_TRUE(set({rule(HWV_EXIT_CPUID), rule(HWV_EXIT_HLT), rule(HWV_EXIT_IO)}));
    EXPECT_FALSE(policy->traps().instructions || policy->traps().msr_ranges);
}

TEST_F(PolicyTest, what_this_cpu_cannot_trap_is_said) {
    Traps can = every_trap;
    can.cr_reads = 1u << 3;
    hwv_rule r = rule(HWV_EXIT_CR_READ);
    EXPECT_TRUE(set({r}, can)) << "what it can";
    r.flags = HWV_RULE_KEY;
    EXPECT_FALSE(set({r}, can));
    EXPECT_TRUE(fault.unsupported);
    r = rule(HWV_EXIT_EXCEPTION);
    r.flags = HWV_RULE_KEY;
    r.key_first = r.key_last = 2;
    EXPECT_FALSE(set({r}));
    EXPECT_TRUE(fault.unsupported);
}

TEST(PoliciesTest, the_older_observer_is_asked_first) {
    const hwv_rule skip = rule(HWV_EXIT_CPUID, HWV_ACTION_SKIP),
                   stop = rule(HWV_EXIT_CPUID, HWV_ACTION_STOP),
                   record = rule(HWV_EXIT_CPUID, HWV_ACTION_RECORD);
    auto young = std::make_unique<Policy>(9, 0), old = std::make_unique<Policy>(4, 70),
         watcher = std::make_unique<Policy>(2, 0);
    RuleFault fault;
    ASSERT_TRUE(young->set(&skip, 1, every_trap, fault) && old->set(&stop, 1, every_trap, fault) &&
                watcher->set(&record, 1, every_trap, fault));
    Policies all;
    EXPECT_FALSE(all.any());
    all.set(0, young.get());
    all.set(5, old.get());
    all.set(6, watcher.get());
    EXPECT_TRUE(all.any());
    Verdict v;
    EXPECT_EQ(all.ask(cpuid, v), 1u << 6);
    EXPECT_EQ(v.action, HWV_ACTION_STOP);
    EXPECT_EQ(v.observer, 4u);
    EXPECT_EQ(v.timeout_ms, 70u);
    EXPECT_EQ(young->counts(0).matched, 1u);
    EXPECT_EQ(all.set(5, nullptr), old.get());
    v = {};
    all.ask(cpuid, v);
    EXPECT_EQ(v.action, HWV_ACTION_SKIP);
}

TEST(StopTest, replies_are_for_one_stop_and_one_observer) {
    Stop stop;
    hwv_stop what{};
    stop.begin({.id = 7, .reason = HWV_EXIT_CPUID}, 3);
    EXPECT_TRUE(stop.waiting());
    EXPECT_FALSE(stop.get(2, what));
    ASSERT_TRUE(stop.get(3, what));
    EXPECT_EQ(what.id, 7u);
    EXPECT_FALSE(stop.is(3, 6) || stop.is(2, 7));
    stop.let_go(2);
    EXPECT_TRUE(stop.waiting());
    Verdict v;
    v.action = HWV_ACTION_SKIP;
    stop.reply(v);
    EXPECT_FALSE(stop.waiting() || stop.is(3, 7));
    EXPECT_EQ(stop.end().action, HWV_ACTION_SKIP);
    stop.begin({.id = 8, .reason = HWV_EXIT_CPUID}, 3);
    stop.let_go(3);
    EXPECT_FALSE(stop.end().decided());
}

TEST(StopTest, replies_are_validated) {
    Verdict v;
    hwv_stop_reply r{.action = HWV_STOP_INJECT, .vector = 13, .has_error_code = 1};
    EXPECT_TRUE(verdict_of(r, HWV_EXIT_CPUID, v));
    EXPECT_TRUE(v.action == HWV_ACTION_INJECT && v.has_error_code);
    EXPECT_FALSE(verdict_of(r, HWV_EXIT_HOST_INTERRUPT, v));
    r.has_error_code = 0;
    EXPECT_FALSE(verdict_of(r, HWV_EXIT_CPUID, v));
    EXPECT_FALSE(verdict_of({.action = HWV_STOP_INJECT + 1}, HWV_EXIT_CPUID, v));
    EXPECT_FALSE(verdict_of({.action = HWV_STOP_ANSWER}, HWV_EXIT_HLT, v));
    EXPECT_TRUE(verdict_of({.action = HWV_STOP_PASS}, HWV_EXIT_HOST_INTERRUPT, v));
    EXPECT_FALSE(verdict_of({.reserved1 = 1}, HWV_EXIT_CPUID, v));
}

} // namespace
} // namespace hwv::instrument
