// SPDX-License-Identifier: GPL-2.0-only
// Intel SDM vol. 3, "Format of the VM-Entry Interruption-Information Field", "Format of the
// IDT-Vectoring Information Field".
#include <gtest/gtest.h>
#include "vmx/event.hpp"

using namespace hwv;
using namespace hwv::vmx;

namespace {

constexpr std::uint32_t valid = 1u << 31, error_code = 1u << 11;
constexpr std::uint32_t type(unsigned n) { return n << 8; }

struct Case {
    const char *what;
    Event event;
    Injection injection;
};

const Case cases[] = {
    {"interrupt", {HWV_EVENT_INTERRUPT, 0xff}, {valid | 0xff, 0, 0}},
    {"NMI", {HWV_EVENT_NMI, 2}, {valid | type(2) | 2, 0, 0}},
    {"#UD", exception(6), {valid | type(3) | 6, 0, 0}},
    {"#PF", exception(14, 0x8001), {valid | type(3) | error_code | 14, 0x8001, 0}},
    {"#DF", exception(8, 0), {valid | type(3) | error_code | 8, 0, 0}},
    {"INT 0x80", {HWV_EVENT_SOFTWARE, 0x80, false, 2}, {valid | type(4) | 0x80, 0, 2}},
    {"INT 3", {HWV_EVENT_SOFTWARE, 3, false, 2}, {valid | type(4) | 3, 0, 2}},
    {"INT1", {HWV_EVENT_SOFTWARE, 1, false, 1}, {valid | type(5) | 1, 0, 1}},
    {"INT3", {HWV_EVENT_SOFTWARE, 3, false, 1}, {valid | type(6) | 3, 0, 1}},
    {"INTO", {HWV_EVENT_SOFTWARE, 4, false, 1}, {valid | type(6) | 4, 0, 1}},
};

TEST(VmxEvent, GoesInAsTheManualSays) {
    for (const Case &c : cases) {
        const Injection in = from_event(c.event, true);
        EXPECT_EQ(in.interruption, c.injection.interruption) << c.what;
        EXPECT_EQ(in.error_code, c.injection.error_code) << c.what;
        EXPECT_EQ(in.length, c.injection.length) << c.what;
    }
    EXPECT_EQ(from_event({}, true), Injection{});
}

TEST(VmxEvent, ComesBackAsItWentIn) {
    for (const Case &c : cases) {
        const Injection &in = c.injection;
        EXPECT_EQ(to_event(in.interruption, in.error_code, in.length), c.event) << c.what;
    }
}

TEST(VmxEvent, WithoutTheValidBitThereIsNone) {
    for (const Case &c : cases)
        EXPECT_FALSE(to_event(c.injection.interruption & ~valid, 0, 1)) << c.what;
}

TEST(VmxEvent, WhatIsLeftFromBeforeIsNotTakenOver) {
    EXPECT_EQ(to_event(valid | 0x31, 0x99, 7), (Event{HWV_EVENT_INTERRUPT, 0x31}));
    EXPECT_EQ(to_event(valid | type(2) | 2, 0x99, 7), (Event{HWV_EVENT_NMI, 2}));
    EXPECT_EQ(to_event(valid | type(3) | 6, 0x99, 7), exception(6));
    EXPECT_EQ(to_event(valid | type(3) | error_code | 14, 0x99, 7), exception(14, 0x99));
    EXPECT_EQ(to_event(valid | type(4) | 0x80, 0x99, 2),
              (Event{HWV_EVENT_SOFTWARE, 0x80, false, 2}));
}

TEST(VmxEvent, ReservedTypesAreNone) {
    EXPECT_FALSE(to_event(valid | type(1) | 0x20, 0, 0));
    EXPECT_FALSE(to_event(valid | type(7), 0, 0));
}

TEST(VmxEvent, RealModeHasNoErrorCodes) {
    EXPECT_EQ(from_event(exception(13, 8), false), (Injection{valid | type(3) | 13, 0, 0}));
    EXPECT_EQ(from_event(exception(6), false), from_event(exception(6), true));
}

TEST(VmxEvent, OnlyExceptionsHaveErrorCodes) {
    EXPECT_EQ(from_event({HWV_EVENT_INTERRUPT, 0x20, true, 0, 5}, true),
              (Injection{valid | 0x20, 0, 0}));
}

TEST(VmxEvent, ASoftwareEventWithoutLengthRunsAgain) {
    EXPECT_EQ(from_event({HWV_EVENT_SOFTWARE, 0x80}, true), Injection{});
}

TEST(VmxEvent, SoftwareTypesAreKnown) {
    for (unsigned t = 0; t < 8; t++)
        EXPECT_EQ(is_software(valid | type(t)), t >= 4 && t <= 6) << t;
}

} // namespace
