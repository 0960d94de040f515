// SPDX-License-Identifier: GPL-2.0-only
#include "records/profile.hpp"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include "records/fixture.hpp"
#include "records/text_report.hpp"

namespace records {
namespace {

using testing::HasSubstr;

Recording sample() {
    const TemporaryFile file;
    write_sample(file.path());
    return Recording::open(file.path()); // the mapping outlives the name
}

TEST(Profile, counts_are_those_of_the_statistics_between_begin_and_end) {
    const Profile p = profile_of(sample());
    EXPECT_TRUE(p.from_statistics);
    EXPECT_EQ(p.count(), 6u);
    EXPECT_EQ(p.to_user(), 2u);
    EXPECT_EQ(p.exits[HWV_EXIT_IO].cycles, 1600u) << "own time, not until the entry";
    EXPECT_EQ(p.records->exits[HWV_EXIT_IO].cycles, 6000u);
    EXPECT_EQ(p.records->records, 6u);
    EXPECT_TRUE(p.records->complete);
    EXPECT_TRUE(p.agrees());
    EXPECT_EQ(p.keys.at({HWV_EXIT_IO, 0x3f8}).count, 2u);
    EXPECT_EQ(p.records->places.at(0xffffffff81000123).reason(), HWV_EXIT_IO);
}

// Statistics in the midst of a HLT at the beginning, and of a CPUID at the end; the HLT has a
// record or has none.
// unfinished: the vCPU ended in the last exit, whose record was written then.
Profile between_exits(bool recorded, bool unfinished = false) {
    const TemporaryFile file;
    Writer writer{file.path(), an_identity()};
    hwv_vcpu_stats begin = empty_stats(), end = empty_stats();
    begin.open_reason = HWV_EXIT_HLT; // as StatsPage::read() has it: counted already
    begin.open_cycles = 64;
    begin.last_tsc = 500;
    count_exit(begin, HWV_EXIT_HLT, 64);
    count_exit(end, HWV_EXIT_HLT, 90);
    count_exit(end, HWV_EXIT_IO, 90);
    count_exit(end, HWV_EXIT_CPUID, 20);
    end.open_reason = HWV_EXIT_CPUID;
    end.open_cycles = 20;
    writer.snapshot(0, Phase::begin, 0, begin);
    std::vector<hwv_record> records{a_record(HWV_EXIT_HLT, 400), a_record(HWV_EXIT_IO, 600)};
    if (!recorded) records.erase(records.begin());
    if (unfinished) records.push_back(a_record(HWV_EXIT_CPUID, 800));
    if (unfinished) records.back().flags = HWV_RECORD_UNFINISHED;
    writer.records(0, numbered(records));
    writer.ring(0, {records.size(), records.size(), 0, 0});
    writer.snapshot(0, Phase::end, 9, end);
    writer.finish();
    return profile_of(Recording::open(file.path()));
}

TEST(Profile, an_exit_under_way_counts_where_its_record_is) {
    for (const auto &[recorded, unfinished] :
         {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
        const Profile p = between_exits(recorded, unfinished);
        EXPECT_EQ(p.exits[HWV_EXIT_HLT].count, recorded ? 1u : 0u);
        EXPECT_EQ(p.exits[HWV_EXIT_CPUID].count, unfinished ? 1u : 0u);
        for (const unsigned r : {HWV_EXIT_HLT, HWV_EXIT_IO, HWV_EXIT_CPUID})
            EXPECT_EQ(p.exits[r].count, p.records->exits[r].count) << recorded;
    }
}

TEST(Profile, a_filter_leaves_records_alone_to_count) {
    const Filter filter = Filter::parse("reason=io");
    const Profile p = profile_of(sample(), &filter);
    EXPECT_FALSE(p.from_statistics);
    EXPECT_EQ(p.count(), 2u);
    EXPECT_FALSE(p.records->complete);
}

TEST(Profile, gaps_are_counted_against_what_was_dropped) {
    const TemporaryFile file;
    Writer writer{file.path(), an_identity()};
    std::vector<hwv_record> records = numbered({a_record(5, 1), a_record(5, 2), a_record(5, 3)});
    records[1].sequence = 4;
    records[2].sequence = 5;
    writer.records(0, records);
    writer.ring(0, {3, 8, 5, 0}); // the last two came after the last that found room
    writer.finish();
    const Recording r = Recording::open(file.path());
    const Profile p = profile_of(r);
    EXPECT_EQ(p.records->gaps, 5u);
    EXPECT_FALSE(p.records->complete);
    EXPECT_THAT(warnings(r, p), testing::ElementsAre(HasSubstr("5 exits have no record")));
}

TEST(Profile, numbers_that_are_missing_without_a_drop_are_a_defect) {
    const TemporaryFile file;
    Writer writer{file.path(), an_identity()};
    std::vector<hwv_record> records = numbered({a_record(5, 1), a_record(5, 2)});
    records[1].sequence = 2;
    writer.records(0, records);
    writer.ring(0, {2, 3, 0, 0});
    writer.finish();
    const Recording r = Recording::open(file.path());
    EXPECT_THAT(warnings(r, profile_of(r)), testing::ElementsAre(HasSubstr("defect")));
}

TEST(Profile, json_comes_back) {
    const Profile p = profile_of(sample());
    const Profile back = profile_from_json(to_json(p), "F");
    EXPECT_EQ(back.count(), p.count());
    EXPECT_EQ(back.exits[HWV_EXIT_HLT].histogram, p.exits[HWV_EXIT_HLT].histogram);
    EXPECT_EQ(back.segments, p.segments);
    EXPECT_EQ(back.keys.at({HWV_EXIT_IO, 0x3f8}).count, 2u);
    EXPECT_EQ(back.entries, p.entries);
}

TEST(Profile, json_of_several_vcpus_is_summed_up) {
    const Profile p = profile_from_json(
        R"({"tsc_khz":1000,"vcpus":[{"exits":[{"reason":"hlt","count":2}]},
            {"exits":[{"reason":"hlt","count":3,"cycles":9}]}]})",
        "F");
    EXPECT_EQ(p.exits[HWV_EXIT_HLT].count, 5u);
}

TEST(Profile, json_of_stat_has_keys_beside_their_exits) {
    const Profile p = profile_from_json(
        R"({"tsc_khz":1000,"vcpus":1,"exits":[{"reason":"io","count":5,
            "keys":[{"port":1016,"name":"COM1","count":3}],"other":2}]})",
        "F");
    EXPECT_EQ(p.count(), 5u);
    EXPECT_EQ(p.keys.at({HWV_EXIT_IO, 0x3f8}).count, 3u);
}

TEST(Profile, other_json_is_refused_by_name) {
    for (const char *text : {"", "[]", "{", R"({"tsc_khz":1})", R"({"tsc_khz":0,"exits":[]})",
                             R"({"tsc_khz":1,"exits":[{"reason":"nope","count":1}]})"}) {
        try {
            profile_from_json(text, "F");
            ADD_FAILURE() << text;
        } catch (const Error &e) {
            EXPECT_THAT(e.what(), testing::StartsWith("F: "));
        }
    }
}

TEST(TextReport, has_counts_keys_places_and_completeness) {
    const Recording r = sample();
    const Symbols symbols = Symbols::parse_text("ffffffff81000000 T start\n"
                                                "ffffffff81000100 T outb\n",
                                                "map");
    const std::string text = text_report(r, profile_of(r), &symbols, 10);
    EXPECT_THAT(text, HasSubstr("VM 7 'guest', 2 vCPUs"));
    EXPECT_THAT(text, testing::ContainsRegex("\nio  *2  *33.3%  *2 "));
    EXPECT_THAT(text, testing::ContainsRegex("\ntotal  *6  *2\n"));
    EXPECT_THAT(text, testing::ContainsRegex("\nio port 0x3f8 \\(COM1\\)  *2 "));
    EXPECT_THAT(text, testing::ContainsRegex("\noutb\\+0x23  *2 "));
    EXPECT_THAT(text, HasSubstr("records: 6 of 6 exits, 0 dropped, 0 numbers missing"));
    EXPECT_THAT(text, HasSubstr("each exit that the statistics counted has its record"));
}

TEST(Folded, has_a_line_for_each_stack) {
    const Recording r = sample();
    EXPECT_EQ(folded(r, {}, nullptr, false),
              "guest;vCPU 0;kernel;0xffffffff81000000;cpuid;leaf 0x0 (vendor) 1\n"
              "guest;vCPU 0;kernel;0xffffffff81000123;io;port 0x3f8 (COM1) 1\n"
              "guest;vCPU 0;user;0xffffffff81000000;hlt 1\n"
              "guest;vCPU 1;kernel;0xffffffff81000000;cpuid;leaf 0x0 (vendor) 1\n"
              "guest;vCPU 1;kernel;0xffffffff81000123;io;port 0x3f8 (COM1) 1\n"
              "guest;vCPU 1;user;0xffffffff81000000;hlt 1\n");
    EXPECT_THAT(folded(r, Filter::parse("reason=io vcpu=1"), nullptr, true),
                HasSubstr("(COM1) 3000\n"));
}

} // namespace
} // namespace records
