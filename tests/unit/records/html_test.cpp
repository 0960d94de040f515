// SPDX-License-Identifier: GPL-2.0-only
#include "records/html_report.hpp"
#include <gmock/gmock.h>
#include <regex>
#include "records/fixture.hpp"
#include "records/pictures.hpp"

namespace records {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string page(const std::string &path, const Symbols *symbols = nullptr) {
    const Recording r = Recording::open(path);
    return html_report(r, {}, profile_of(r), symbols, 10);
}

std::string sample_page(const Identity &identity = an_identity(),
                        const Symbols *symbols = nullptr) {
    const TemporaryFile file;
    write_sample(file.path(), identity);
    return page(file.path(), symbols);
}

// Every tag that wants an end has one, in order; table rows and cells may leave theirs out.
std::string unbalanced(const std::string &html) {
    std::vector<std::string> open;
    const std::regex tag{"<(/?)([a-zA-Z0-9]+)((?:\"[^\"]*\"|[^>\"])*)>"};
    for (std::sregex_iterator it{html.begin(), html.end(), tag}, end; it != end; ++it) {
        const std::string name = (*it)[2], rest = (*it)[3];
        if (name == "meta" || name == "td" || name == "th" || (!rest.empty() && rest.back() == '/'))
            continue;
        if ((*it)[1].length() == 0)
            open.push_back(name);
        else if (open.empty() || open.back() != name)
            return "</" + name + "> in <" + (open.empty() ? "" : open.back()) + ">";
        else
            open.pop_back();
    }
    return open.empty() ? "" : "<" + open.back() + "> is open";
}

TEST(Html, has_tables_and_pictures_and_is_well_formed) {
    const Symbols symbols =
        Symbols::parse_text("ffffffff81000000 T a<b\nffffffff81000100 T outb\n", "map");
    std::string html = sample_page(an_identity(), &symbols);
    EXPECT_THAT(html, HasSubstr("exits over time"));
    EXPECT_THAT(html, HasSubstr("latency heat map"));
    EXPECT_THAT(html, HasSubstr("<td>outb+0x23<td>io<td>2<td>33.3 %"));
    EXPECT_THAT(html, HasSubstr("a&lt;b+0x0"));
    html = std::regex_replace(html, std::regex{"</t[dh]>"}, "");
    EXPECT_EQ(unbalanced(html), "");
}

TEST(Html, needs_nothing_from_outside) {
    const std::string html = sample_page();
    EXPECT_THAT(html, Not(HasSubstr("http")));
    EXPECT_THAT(html, Not(HasSubstr("<script")));
    EXPECT_THAT(html, Not(HasSubstr("src=")));
    EXPECT_THAT(html, Not(HasSubstr("href=")));
    EXPECT_THAT(html, Not(HasSubstr("url(")));
}

TEST(Html, a_guests_words_are_text) {
    Identity identity = an_identity();
    identity.name = "<script>alert('x')</script>";
    identity.host = "\"><img src=x>";
    const std::string html = sample_page(identity);
    EXPECT_THAT(html, Not(HasSubstr("<script")));
    EXPECT_THAT(html, Not(HasSubstr("<img")));
    EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)"));
}

TEST(Html, is_a_page_without_any_record_too) {
    const TemporaryFile file;
    Writer{file.path(), an_identity()}.finish();
    EXPECT_THAT(page(file.path()), HasSubstr("0 exits"));
}

TEST(Timeline, every_record_is_in_one_bin) {
    const TemporaryFile file;
    write_sample(file.path());
    const Recording r = Recording::open(file.path());
    const Profile p = profile_of(r);
    const Timeline t = timeline_of(r, {}, *p.records);
    std::uint64_t exits = 0, heat = 0;
    for (unsigned reason = 0; reason < HWV_EXIT_CPU_REASONS; ++reason) {
        for (const std::uint32_t n : t.exits[reason])
            exits += n;
        for (const Timeline::Row &row : t.took[reason])
            for (const std::uint32_t n : row)
                heat += n;
    }
    EXPECT_EQ(exits, 6u);
    EXPECT_EQ(heat, 6u);
    EXPECT_EQ(t.bin(0), 0u);
    EXPECT_EQ(t.bin(~0ull), Timeline::bins - 1);
}

TEST(Duration, has_a_fitting_unit) {
    EXPECT_EQ(duration(0.0004), "0 ns");
    EXPECT_EQ(duration(0.25), "250 ns");
    EXPECT_EQ(duration(12.5), "12.5 us");
    EXPECT_EQ(duration(12500), "12.5 ms");
    EXPECT_EQ(duration(2.5e6), "2.5 s");
}

} // namespace
} // namespace records
