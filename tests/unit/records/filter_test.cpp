// SPDX-License-Identifier: GPL-2.0-only
#include "records/filter.hpp"
#include <gmock/gmock.h>
#include <stdexcept>
#include "records/fixture.hpp"

namespace records {
namespace {

constexpr std::uint32_t ghz = 1'000'000;

bool takes(const std::string &filter, const hwv_record &r) {
    return Filter::parse(filter).matches(r, ghz);
}

std::string complaint(const std::string &filter) {
    try {
        Filter::parse(filter);
        return {};
    } catch (const std::invalid_argument &e) {
        return e.what();
    }
}

TEST(Filter, an_empty_one_takes_all) {
    EXPECT_TRUE(takes("", a_record(HWV_EXIT_IO, 1)));
    EXPECT_EQ(Filter::parse("").reasons(), ~0ull);
}

TEST(Filter, values_are_alternatives_and_terms_must_all_hold) {
    hwv_record r = a_record(HWV_EXIT_IO, 1);
    r.key = 0x3f9;
    r.flags = 3;
    EXPECT_TRUE(takes("reason=cpuid,io", r));
    EXPECT_TRUE(takes("reason=io key=0x3f8-0x3ff cpl=3", r));
    EXPECT_FALSE(takes("reason=io key=0x3f8", r));
    EXPECT_FALSE(takes("reason=io; cpl=0", r));
    EXPECT_TRUE(takes("reason!=cpuid", r));
    EXPECT_FALSE(takes("key!=0x3f8-0x3ff", r));
    EXPECT_TRUE(takes("rip=0xffffffff80000000-0xffffffffffffffff vcpu=0 cr3=0 data=0", r));
}

TEST(Filter, times_and_flags) {
    hwv_record r = a_record(HWV_EXIT_HLT, 1, 5000);
    r.flags = HWV_RECORD_HALTED;
    EXPECT_TRUE(takes("took>4us", r));
    EXPECT_FALSE(takes("took>5us", r));
    EXPECT_TRUE(takes("took<6us halted !user", r));
    EXPECT_FALSE(takes("user", r));
    EXPECT_FALSE(takes("!halted", r));
}

TEST(Filter, says_which_reasons_the_kernel_must_record) {
    EXPECT_EQ(Filter::parse("reason=io,cpuid cpl=3").reasons(),
              1ull << HWV_EXIT_IO | 1ull << HWV_EXIT_CPUID);
    EXPECT_EQ(Filter::parse("reason!=hlt").reasons(), ~(1ull << HWV_EXIT_HLT));
}

TEST(Filter, says_what_is_wrong) {
    using testing::HasSubstr;
    EXPECT_THAT(complaint("reason=foo"), HasSubstr("'foo' is no exit reason"));
    EXPECT_THAT(complaint("port=3"), HasSubstr("'port' is none of reason"));
    EXPECT_THAT(complaint("key=0x"), HasSubstr("'0x' is no number"));
    EXPECT_THAT(complaint("key=9-3"), HasSubstr("ends before it begins"));
    EXPECT_THAT(complaint("took>5"), HasSubstr("'5' is no duration"));
    EXPECT_THAT(complaint("took=5us"), HasSubstr("took wants < or >"));
    EXPECT_THAT(complaint("cpl>1"), HasSubstr("took wants < or >"));
    EXPECT_THAT(complaint("key="), HasSubstr("has no value"));
    EXPECT_THAT(complaint("fast"), HasSubstr("'fast' is no term"));
    EXPECT_THAT(complaint("=3"), HasSubstr("'' is none of"));
    EXPECT_THAT(complaint("!"), HasSubstr("'!' is no term"));
}

} // namespace
} // namespace records
