// SPDX-License-Identifier: GPL-2.0-only
// Segment registers, each in every mode. Intel SDM vol. 3, "Checks on Guest Segment Registers".
#include <functional>
#include "vmx/checker_states.hpp"

namespace hwv::vmx::test {
namespace {

using namespace access_rights;

struct VmxSegments : testing::Test {
    // The state with segment `i` changed.
    Rule with(Maker make, unsigned i, const std::function<void(SegmentState &)> &how) {
        EntryState s = make();
        how(s.guest.segments[i]);
        return check(s, facts());
    }
    Rule rights(Maker make, unsigned i, std::uint32_t value) {
        return with(make, i, [=](SegmentState &s) { s.access_rights = value; });
    }
    static constexpr unsigned data[] = {HWV_ES, HWV_DS, HWV_FS, HWV_GS};
    static constexpr Maker flat[] = {protected_mode, pae_mode, long_mode};
};

TEST_F(VmxSegments, Virtual8086IsExact) {
    for (unsigned i = HWV_ES; i <= HWV_GS; i++) {
        EXPECT_EQ(with(v8086_mode, i, [](auto &s) { s.base += 16; }), Rule::segment_v8086_base + i);
        EXPECT_EQ(with(v8086_mode, i, [](auto &s) { s.limit = 0xfffff; }),
                  Rule::segment_v8086_limit + i);
        for (std::uint32_t value : {0x93u, 0xf7u, 0xf3u | unusable, 0xf3u | avl})
            EXPECT_EQ(rights(v8086_mode, i, value), Rule::segment_v8086_rights + i);
    }
}

TEST_F(VmxSegments, BasesHaveTheirWidth) {
    for (unsigned i : {HWV_FS, HWV_GS, HWV_LDTR, HWV_TR})
        EXPECT_EQ(with(long_mode, i, [](auto &s) { s.base = 1ull << 47; }), Rule::segment_base + i);
    for (unsigned i : {HWV_ES, HWV_CS, HWV_SS, HWV_DS})
        for (Maker make : {real_mode, protected_mode, long_mode})
            EXPECT_EQ(with(make, i, [](auto &s) { s.base |= 1ull << 32; }), Rule::segment_base + i);
}

TEST_F(VmxSegments, FsAndGsKeepTheirBaseWithoutADescriptor) {
    for (unsigned i : {HWV_FS, HWV_GS})
        EXPECT_EQ(with(long_mode, i,
                       [](auto &s) {
                           s.access_rights = unusable;
                           s.base = 1ull << 47;
                       }),
                  Rule::segment_base + i);
}

TEST_F(VmxSegments, WhatIsUnusableIsNotLookedAt) {
    for (unsigned i : {HWV_ES, HWV_SS, HWV_DS, HWV_LDTR})
        for (Maker make : flat)
            EXPECT_EQ(with(make, i,
                           [](auto &s) {
                               s.selector = 0x27;
                               s.access_rights = unusable | 0xfffe'0f00; // SS.DPL stays 0
                               s.limit = 0xfff0'0000;
                               s.base = 1ull << 47;
                           }),
                      Rule::none)
                << i;
}

TEST_F(VmxSegments, CodeTypes) {
    for (std::uint32_t t = 0; t < 16; t++) {
        const bool right = t == 3 || t == 9 || t == 11 || t == 13 || t == 15;
        for (Maker make : {real_mode, protected_mode, pae_mode})
            EXPECT_EQ(rights(make, HWV_CS, 0x90 | t | (make == real_mode ? 0 : g)),
                      right ? Rule::none : Rule::segment_type + HWV_CS)
                << t;
    }
}

TEST_F(VmxSegments, StackTypes) {
    for (std::uint32_t t = 0; t < 16; t++)
        EXPECT_EQ(rights(long_mode, HWV_SS, 0xc090 | t),
                  t == 3 || t == 7 ? Rule::none : Rule::segment_type + HWV_SS)
            << t;
}

TEST_F(VmxSegments, DataTypes) {
    for (unsigned i : data)
        for (std::uint32_t t = 0; t < 16; t++) {
            const bool right = (t & 1) && (t < 8 || (t & 2)); // accessed; code is readable
            EXPECT_EQ(rights(long_mode, i, 0xc090 | t), right ? Rule::none : Rule::segment_type + i)
                << t;
        }
}

TEST_F(VmxSegments, SystemTypes) {
    for (std::uint32_t t = 0; t < 16; t++) {
        EXPECT_EQ(rights(long_mode, HWV_LDTR, 0x80 | t),
                  t == 2 ? Rule::none : Rule::segment_type + HWV_LDTR);
        EXPECT_EQ(rights(long_mode, HWV_TR, 0x80 | t),
                  t == 11 ? Rule::none : Rule::segment_type + HWV_TR);
        EXPECT_EQ(rights(protected_mode, HWV_TR, 0x80 | t),
                  t == 11 || t == 3 ? Rule::none : Rule::segment_type + HWV_TR);
    }
}

TEST_F(VmxSegments, RightsThatAllHaveInCommon) {
    for (unsigned i = 0; i < HWV_SEGMENTS; i++)
        for (Maker make : flat) {
            EXPECT_EQ(with(make, i, [](auto &x) { x.access_rights ^= s; }),
                      Rule::segment_system + i);
            EXPECT_EQ(with(make, i, [](auto &x) { x.access_rights ^= present; }),
                      Rule::segment_present + i);
            for (unsigned bit : {8, 11, 17, 31})
                EXPECT_EQ(with(make, i, [=](auto &x) { x.access_rights |= 1u << bit; }),
                          Rule::segment_reserved + i)
                    << bit;
            EXPECT_EQ(with(make, i, [](auto &x) { x.access_rights |= avl; }), Rule::none);
        }
}

TEST_F(VmxSegments, GranularityGoesWithTheLimit) {
    for (unsigned i = 0; i < HWV_SEGMENTS; i++)
        for (Maker make : flat) {
            auto limited = [&](std::uint32_t limit, bool pages) {
                return with(make, i, [=](SegmentState &x) {
                    x.limit = limit;
                    x.access_rights = (x.access_rights & ~g) | (pages ? g : 0);
                });
            };
            EXPECT_EQ(limited(0xffff'fffe, true), Rule::segment_granularity + i);
            EXPECT_EQ(limited(0x0010'0fff, false), Rule::segment_granularity + i);
            EXPECT_EQ(limited(0x000f'ffff, false), Rule::none);
            EXPECT_EQ(limited(0x000f'ffff, true), Rule::none);
            EXPECT_EQ(limited(0xffff'ffff, true), Rule::none);
            EXPECT_EQ(limited(0, false), Rule::none);
        }
}

TEST_F(VmxSegments, SystemSegmentsAreInTheGdt) {
    for (unsigned i : {HWV_TR, HWV_LDTR})
        for (const auto &[name, make] : modes)
            EXPECT_EQ(with(make, i, [](auto &s) { s.selector |= 4; }), Rule::segment_table + i)
                << name;
}

TEST_F(VmxSegments, TheTaskRegisterIsAlwaysThere) {
    for (const auto &[name, make] : modes)
        EXPECT_EQ(with(make, HWV_TR, [](auto &s) { s.access_rights |= unusable; }),
                  Rule::segment_unusable + HWV_TR)
            << name;
}

TEST_F(VmxSegments, CodeOfLongModeIsOf64Or32Bits) {
    EXPECT_EQ(rights(long_mode, HWV_CS, 0xe09b), Rule::segment_l_and_d + HWV_CS);
    EXPECT_EQ(rights(pae_mode, HWV_CS, 0xe09b), Rule::none);
}

// CS and SS with these types and privilege levels.
Rule privileges(Maker make, std::uint32_t cs, unsigned cs_dpl, unsigned ss_dpl) {
    EntryState state = make();
    const std::uint32_t above = make == real_mode ? 0 : make == long_mode ? 0xa000 : 0xc000;
    state.guest.segments[HWV_CS].access_rights = above | 0x90 | cs | cs_dpl << dpl_shift;
    state.guest.segments[HWV_SS].access_rights =
        (make == real_mode ? 0 : 0xc000) | 0x93 | ss_dpl << dpl_shift;
    return check(state, facts());
}

TEST_F(VmxSegments, CodeHasTheStacksPrivilege) {
    for (Maker make : flat)
        for (unsigned cs_dpl = 0; cs_dpl < 4; cs_dpl++)
            for (unsigned ss_dpl = 0; ss_dpl < 4; ss_dpl++) {
                const Rule wrong = Rule::segment_privilege + HWV_CS;
                EXPECT_EQ(privileges(make, 0xb, cs_dpl, ss_dpl),
                          cs_dpl == ss_dpl ? Rule::none : wrong);
                EXPECT_EQ(privileges(make, 0xf, cs_dpl, ss_dpl), // conforming
                          cs_dpl <= ss_dpl ? Rule::none : wrong);
            }
}

TEST_F(VmxSegments, DataAsCodeIsForTheKernel) {
    EXPECT_EQ(privileges(protected_mode, 3, 0, 0), Rule::none);
    EXPECT_EQ(privileges(protected_mode, 3, 3, 0), Rule::segment_privilege + HWV_CS);
    EXPECT_EQ(privileges(protected_mode, 3, 0, 3), Rule::segment_privilege + HWV_SS);
}

TEST_F(VmxSegments, RealModeHasNoPrivilege) {
    EXPECT_EQ(privileges(real_mode, 0xb, 0, 0), Rule::none);
    EXPECT_EQ(privileges(real_mode, 0xb, 3, 3), Rule::segment_privilege + HWV_SS);
}

TEST_F(VmxSegments, TheStacksPrivilegeCountsWithoutADescriptor) {
    EntryState s = long_mode();
    s.guest.segments[HWV_SS].access_rights = unusable | dpl;
    EXPECT_EQ(check(s, facts()), Rule::segment_privilege + HWV_CS);
    s.guest.segments[HWV_CS].access_rights |= dpl;
    EXPECT_EQ(check(s, facts()), Rule::none);
}

} // namespace
} // namespace hwv::vmx::test
