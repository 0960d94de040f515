// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/policy_text.hpp"

#include <gtest/gtest.h>
#include "hwvctl/command.hpp"
#include "hwvctl/stops.hpp"

namespace hwvctl {
namespace {

hwv_rule rule(const std::string &text) { return parse_policy(text, "p").rules.at(0); }

std::string complaint(const std::string &text) {
    try {
        parse_policy(text, "p");
    } catch (const UsageError &e) {
        return e.message;
    }
    return "understood";
}

TEST(PolicyText, AllOfARule) {
    const hwv_rule r =
        rule("msr_write 0x10-0x1f cpl=0,3 cr3=0x5000 rip=0x1000-0x1fff every=7 -> skip # why");
    EXPECT_EQ(r.reason, static_cast<unsigned>(HWV_EXIT_MSR_WRITE));
    EXPECT_EQ(r.action, static_cast<unsigned>(HWV_ACTION_SKIP));
    EXPECT_EQ(r.flags, HWV_RULE_CPL | HWV_RULE_CR3 | HWV_RULE_RIP | HWV_RULE_KEY | HWV_RULE_EVERY);
    EXPECT_EQ(r.key_first, 0x10u);
    EXPECT_EQ(r.key_last, 0x1fu);
    EXPECT_EQ(r.cpl_mask, 9);
    EXPECT_EQ(r.cr3, 0x5000u);
    EXPECT_EQ(r.rip_first, 0x1000u);
    EXPECT_EQ(r.rip_last, 0x1fffu);
    EXPECT_EQ(r.every, 7u);
}

TEST(PolicyText, Answers) {
    EXPECT_EQ(rule("rdtsc -> answer 0x1234567890").value[0], 0x1234567890u);
    const hwv_rule r = rule("cpuid 0x40000000 -> answer ecx=3 eax=1 edx=0xffffffff");
    EXPECT_EQ(r.value[0], 1u);
    EXPECT_EQ(r.value[1], 0xffffffff00000003u);
}

TEST(PolicyText, Injections) {
    const hwv_rule gp = rule("rdpmc -> inject GP");
    EXPECT_EQ(gp.vector, 13);
    EXPECT_EQ(gp.flags, HWV_RULE_ERROR_CODE) << "which #GP has, even if nothing is said of it";
    const hwv_rule ud = rule("hypercall -> inject 6");
    EXPECT_EQ(ud.vector, 6);
    EXPECT_EQ(ud.flags, 0u);
    const hwv_rule pf = rule("page_fault 0x1000 -> inject PF error=2 cr2=0xdead000");
    EXPECT_EQ(pf.error_code, 2u);
    EXPECT_EQ(pf.value[0], 0xdead000u);
}

TEST(PolicyText, KeysByName) {
    EXPECT_EQ(rule("exception PF -> count").key_first, 14u);
    EXPECT_EQ(rule("cr_write cr3 -> count").key_first, 3u);
    EXPECT_EQ(rule("dr_access dr0-dr3 -> count").key_last, 3u);
}

TEST(PolicyText, LinesAndComments) {
    const PolicyText p =
        parse_policy("# nothing\n\nrdtsc -> count\n  stop-timeout 250\nhlt -> stop #x\n", "p");
    EXPECT_EQ(p.lines, (std::vector<unsigned>{3, 5}));
    EXPECT_EQ(p.stop_timeout_ms, 250u);
    EXPECT_TRUE(p.stops());
    EXPECT_FALSE(parse_policy("rdtsc -> count", "p").stops());
    EXPECT_TRUE(parse_policy("", "p").rules.empty());
}

TEST(PolicyText, ErrorsNameTheirLine) {
    const std::pair<const char *, const char *> wrong[] = {
        {"rdtsc -> count\ncpuidd -> count", "p:2: there is no exit 'cpuidd'"},
        {"rdtsc count", "p:1: 'rdtsc' has no key, so 'count'"},
        {"cpuid 1", "p:1: '-> ACTION' is missing"},
        {"cpuid 1 ->", "p:1: behind '->' an action is missing"},
        {"cpuid 1 -> deny", "p:1: 'deny' is no action"},
        {"cpuid 5-4 -> count", "p:1: '5-4': the range is upside down"},
        {"cpuid x -> count", "p:1: 'x' is no leaf"},
        {"io 1 2 -> count", "p:1: '2' is no filter"},
        {"io cpl=4 -> count", "p:1: '4' is too large for a privilege level"},
        {"io cpl= -> count", "p:1: cpl= wants levels"},
        {"io every=0 -> count", "p:1: every=0"},
        {"io rip=9-8 -> count", "p:1: 'rip=9-8'"},
        {"io ring=3 -> count", "p:1: 'ring=3' is no filter"},
        {"rdtsc -> answer", "p:1: answer wants a value"},
        {"rdtsc -> answer 1 2", "p:1: '2' is too much"},
        {"cpuid -> answer rax=1", "p:1: cpuid's answer is"},
        {"cpuid -> answer eax=0x100000000", "p:1: '0x100000000' is too large"},
        {"hlt -> inject", "p:1: inject wants a vector"},
        {"hlt -> inject 32", "p:1: exceptions are vectors 0 to 31"},
        {"hlt -> inject UD error=1", "p:1: this exception has no 'error=1'"},
        {"stop-timeout soon", "p:1: 'soon' is no time in ms"},
    };
    for (const auto &[text, message] : wrong)
        EXPECT_EQ(complaint(text).substr(0, std::string{message}.size()), message);
}

TEST(PolicyText, NoMoreRulesThanTheKernelTakes) {
    std::string text;
    for (unsigned i = 0; i < HWV_MAX_RULES; ++i)
        text += "hlt -> count\n";
    EXPECT_EQ(parse_policy(text, "p").rules.size(), std::size_t{HWV_MAX_RULES});
    EXPECT_EQ(complaint(text + "hlt -> count"), "p:65: a policy has at most 64 rules");
}

TEST(PolicyText, WrittenRulesReadTheSame) {
    for (const char *text :
         {"rdtsc -> count", "cpuid 0x1-0x7 cpl=0,3 -> answer eax=0x1 ebx=0x2 ecx=0x3 edx=0x4",
          "io 0x61 every=5 -> record", "cr_write 0x3 cr3=0x1000 rip=0x10-0x20 -> stop",
          "rdpmc -> inject 13 error=0x8", "page_fault 0x1000 -> inject 14 error=0x2 cr2=0x3000",
          "msr_read 0x10 -> answer 0x5"})
        EXPECT_EQ(rule_text(rule(text)), text);
}

TEST(StopReply, IsAnActionOrPass) {
    EXPECT_EQ(parse_reply("pass").action, static_cast<unsigned>(HWV_STOP_PASS));
    EXPECT_EQ(parse_reply("skip").action, static_cast<unsigned>(HWV_STOP_SKIP));
    EXPECT_EQ(parse_reply("answer 5").value[0], 5u);
    EXPECT_EQ(parse_reply("answer ebx=1").value[0], 1ull << 32);
    const hwv_stop_reply gp = parse_reply("inject GP error=3");
    EXPECT_EQ(gp.vector, 13);
    EXPECT_EQ(gp.has_error_code, 1);
    EXPECT_EQ(gp.error_code, 3u);
    EXPECT_THROW(parse_reply("stop"), UsageError);
    EXPECT_THROW(parse_reply(""), UsageError);
}

} // namespace
} // namespace hwvctl
