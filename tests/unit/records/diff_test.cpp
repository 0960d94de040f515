// SPDX-License-Identifier: GPL-2.0-only
#include "records/diff.hpp"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include "records/fixture.hpp"

namespace records {
namespace {

using testing::HasSubstr;

Profile profile(std::uint64_t ios, std::uint64_t hlts, std::uint64_t took = 1000) {
    Profile p;
    p.name = "P";
    p.tsc_khz = 1'000'000;
    p.from_statistics = true;
    for (std::uint64_t i = 0; i < ios; ++i)
        p.exits[HWV_EXIT_IO].add(took, true);
    for (std::uint64_t i = 0; i < hlts; ++i)
        p.exits[HWV_EXIT_HLT].add(500, false);
    p.segments[HWV_TIME_GUEST] = 2'000'000'000; // two seconds
    return p;
}

bool holds(const std::string &condition, const Profile &a, const Profile &b) {
    return Condition::parse(condition).holds(a, b);
}

std::string complaint(const std::string &condition) {
    try {
        Condition::parse(condition);
        return {};
    } catch (const std::invalid_argument &e) {
        return e.what();
    }
}

TEST(Diff, metrics_are_of_all_or_of_one_reason) {
    const Profile p = profile(100, 20);
    EXPECT_EQ(metric(p, "exits"), 120);
    EXPECT_EQ(metric(p, "exits.hlt"), 20);
    EXPECT_EQ(metric(p, "user"), 100);
    EXPECT_EQ(metric(p, "time.io"), 100);
    EXPECT_EQ(metric(p, "mean.io"), 1);
    EXPECT_EQ(metric(p, "max"), 1);
    EXPECT_EQ(metric(p, "rate"), 60);
    EXPECT_EQ(metric(p, "guest"), 2e6);
    EXPECT_EQ(metric(p, "mean.cpuid"), 0);
    EXPECT_EQ(metric(p, "exits.nope"), std::nullopt);
    EXPECT_EQ(metric(p, "nope"), std::nullopt);
}

TEST(Condition, percentages_are_of_a) {
    EXPECT_FALSE(holds("exits>+5%", profile(100, 0), profile(105, 0))) << "just as much is allowed";
    EXPECT_TRUE(holds("exits>+5%", profile(100, 0), profile(106, 0)));
    EXPECT_TRUE(holds("exits<-5%", profile(100, 0), profile(90, 0)));
    EXPECT_FALSE(holds("exits<-5%", profile(100, 0), profile(95, 0)));
    EXPECT_TRUE(holds("exits.hlt>+500%", profile(1, 0), profile(1, 1))) << "from nothing";
    EXPECT_FALSE(holds("exits.hlt>+0%", profile(1, 0), profile(1, 0)));
}

TEST(Condition, numbers_are_differences_or_b_itself) {
    EXPECT_TRUE(holds("exits.io>+5", profile(10, 0), profile(16, 0)));
    EXPECT_FALSE(holds("exits.io>+6", profile(10, 0), profile(16, 0)));
    EXPECT_TRUE(holds("exits.io>15", profile(99, 0), profile(16, 0)));
    EXPECT_TRUE(holds("mean.io<1.5", profile(1, 0), profile(1, 0)));
}

TEST(Condition, says_what_is_wrong) {
    EXPECT_THAT(complaint("exits"), HasSubstr("METRIC>VALUE"));
    EXPECT_THAT(complaint("exit>5"), HasSubstr("'exit' is no metric"));
    EXPECT_THAT(complaint("exits.foo>5"), HasSubstr("'exits.foo' is no metric"));
    EXPECT_THAT(complaint("exits>"), HasSubstr("no threshold"));
    EXPECT_THAT(complaint("exits>+"), HasSubstr("no threshold"));
    EXPECT_THAT(complaint("exits>+5x"), HasSubstr("no threshold"));
    EXPECT_THAT(complaint("exits>+nan"), HasSubstr("no threshold"));
    EXPECT_THAT(complaint("exits>5%"), HasSubstr("wants + or -"));
}

TEST(Diff, text_has_both_sides_and_the_change) {
    const std::string text = diff_text(profile(100, 20), profile(150, 0));
    EXPECT_THAT(text, testing::ContainsRegex("\nio  *100  *150  *50  *\\+50.0 %\n"));
    EXPECT_THAT(text, testing::ContainsRegex("\nhlt  *20  *0  *-20  *-100.0 %\n"));
    EXPECT_THAT(diff_text(profile(1, 0), profile(1, 3)),
                testing::ContainsRegex("\nhlt  *0  *3  *3  *new\n"));
}

TEST(Diff, json_has_the_conditions_verdicts) {
    const auto json = nlohmann::json::parse(
        diff_json(profile(100, 0), profile(120, 1),
                  {Condition::parse("exits>+5%"), Condition::parse("exits.hlt>7")}));
    EXPECT_EQ(json["conditions"][0]["holds"], true);
    EXPECT_EQ(json["conditions"][1]["holds"], false);
    EXPECT_TRUE(json["conditions"][1]["change_percent"].is_null());
    EXPECT_EQ(json["metrics"][0]["b"], 121);
}

} // namespace
} // namespace records
