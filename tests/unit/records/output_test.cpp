// SPDX-License-Identifier: GPL-2.0-only
#include "records/output.hpp"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include "records/fixture.hpp"
#include "records/merge.hpp"

namespace records {
namespace {

using nlohmann::json;
using testing::HasSubstr;

hwv_record mark(const char *text) {
    hwv_record r = a_record(HWV_EXIT_HYPERCALL, 5000);
    r.key = HWV_HYPERCALL_MARK;
    std::strncpy(reinterpret_cast<char *>(&r.data), text, 8);
    return r;
}

std::string shown(const std::string &format, const std::vector<hwv_record> &records,
                  const Identity &identity = an_identity()) {
    const TemporaryFile file;
    const Symbols symbols = Symbols::parse_text("ffffffff81000000 T start\n"
                                                "ffffffff81000100 T outb\n",
                                                "map");
    Sink sink{file.path()};
    const auto output = make_output(format, sink, &symbols);
    output->begin(identity);
    for (const hwv_record &r : records)
        output->record(r);
    output->dropped(0, 9000, 3);
    output->end();
    return file.text();
}

hwv_record an_out() {
    hwv_record r = a_record(HWV_EXIT_IO, 2000, 1234);
    r.key = 0x3f8;
    r.data = 0x41;
    r.cr3 = 0x1000;
    r.flags = HWV_RECORD_TO_USER | HWV_RECORD_DESCHEDULED | 3;
    return r;
}

TEST(Output, text_is_a_line_as_trace_cmd_prints_it) {
    EXPECT_EQ(
        shown("text", {an_out(), mark("boot")}),
        "            guest-42 [000]     0.000001000: hwv_exit: reason io port 0x3f8 (COM1) out "
        "0x41 rip 0xffffffff81000000 <start+0x0> cpl 3 cr3 0x1000 took 1.234 us "
        "[user,descheduled]\n"
        "            guest-42 [000]     0.000004000: hwv_mark: \"boot\" rip "
        "0xffffffff81000000 <start+0x0> cpl 0 cr3 0x0 took 0.100 us\n"
        "            guest-42 [000]     0.000008000: hwv_lost: 3 records\n");
}

TEST(Output, csv_has_as_many_fields_in_each_line) {
    const std::string text = shown("csv", {an_out(), mark("a,\"b")});
    std::size_t lines = 0, at = 0;
    for (std::size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1, ++lines)
        EXPECT_EQ(std::count(text.begin() + static_cast<std::ptrdiff_t>(at),
                             text.begin() + static_cast<std::ptrdiff_t>(end), ','),
                  14)
            << text;
    EXPECT_EQ(lines, 3u);
    EXPECT_THAT(text,
                HasSubstr("0.000001000,0,0,io,0x3f8,0x41,0xffffffff81000000,start+0x0,0x1000,3,0x0,"
                          "1.234,user descheduled,2000,3234\n"));
}

TEST(Output, json_lines_are_each_an_object) {
    const std::string text = shown("json", {an_out(), mark("boot")});
    std::istringstream in{text};
    std::vector<json> lines;
    for (std::string line; std::getline(in, line);)
        lines.push_back(json::parse(line));
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0]["reason"], "io");
    EXPECT_EQ(lines[0]["rip"].get<std::uint64_t>(), 0xffffffff81000000);
    EXPECT_EQ(lines[1]["mark"], "\"boot\"");
    EXPECT_EQ(lines[2]["lost"], 3);
}

TEST(Output, perfetto_is_one_chrome_trace) {
    Identity identity = an_identity();
    identity.name = "a\"b\\\n\xff";
    const json all = json::parse(shown("perfetto", {an_out(), mark("boot")}, identity));
    std::map<std::string, int> kinds;
    for (const json &e : all["traceEvents"]) {
        ++kinds[e["ph"].get<std::string>()];
        if (e["ph"] != "X") continue;
        EXPECT_TRUE(e["ts"].is_number() && e["dur"].is_number() && e["tid"] == 0 && e["pid"] == 1);
    }
    EXPECT_EQ(kinds, (std::map<std::string, int>{{"M", 2}, {"X", 2}, {"i", 2}}));
    const json &io = all["traceEvents"][2];
    EXPECT_EQ(io["name"], "io");
    EXPECT_EQ(io["dur"], 1.234);
    EXPECT_EQ(io["args"]["symbol"], "start+0x0");
}

TEST(Output, perfetto_without_a_record_is_json_too) {
    const TemporaryFile file;
    Sink sink{file.path()};
    const auto output = make_output("perfetto", sink, nullptr);
    output->begin(an_identity());
    output->end();
    EXPECT_EQ(json::parse(file.text())["traceEvents"].size(), 1u);
}

TEST(Output, there_are_no_other_formats) {
    const TemporaryFile file;
    Sink sink{file.path()};
    EXPECT_EQ(make_output("xml", sink, nullptr), nullptr);
}

TEST(Mark, is_text_or_a_number) {
    EXPECT_EQ(mark_text(mark("boot")), "\"boot\"");
    EXPECT_EQ(mark_text(mark("eightchr")), "\"eightchr\"");
    hwv_record r = mark("");
    EXPECT_EQ(mark_text(r), "0x0");
    r.data = 0x100;
    EXPECT_EQ(mark_text(r), "0x100") << "characters end at the first zero";
    r.data = 0x41220041;
    EXPECT_EQ(mark_text(r), "0x41220041");
    r.key = 10;
    EXPECT_EQ(mark_text(r), std::nullopt);
}

} // namespace
} // namespace records
