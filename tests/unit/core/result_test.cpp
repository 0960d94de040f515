// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include "core/result.hpp"

namespace {

using hwv::Error;
using hwv::Result;
using hwv::Status;

Status check(int value) { return value < 0 ? Status{Error::invalid} : Status{}; }

Result<int> doubled(int value) {
    TRY(check(value));
    return 2 * value;
}

TEST(Result, holds_a_value) {
    const Result<int> r = doubled(21);
    ASSERT_TRUE(static_cast<bool>(r));
    EXPECT_EQ(*r, 42);
    EXPECT_EQ(r.error(), Error::none);
}

TEST(Result, try_returns_the_error_of_the_callee) {
    const Result<int> r = doubled(-1);
    EXPECT_FALSE(static_cast<bool>(r));
    EXPECT_EQ(hwv::to_errno(r.error()), -22);
}

TEST(Result, errno_of_the_host_survives_the_round_trip) {
    EXPECT_EQ(hwv::to_errno(hwv::from_errno(-133)), -133);
    EXPECT_TRUE(static_cast<bool>(hwv::from_errno(0)));
    EXPECT_TRUE(static_cast<bool>(hwv::from_errno(7)));
}

} // namespace
