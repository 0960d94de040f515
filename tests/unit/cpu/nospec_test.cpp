// SPDX-License-Identifier: GPL-2.0-only
// An index below its bound is itself, any other one 0.
#include "cpu/nospec.hpp"
#include <gtest/gtest.h>

namespace {

using hwv::cpu::nospec;

TEST(Nospec, what_is_below_the_bound_stays) {
    for (std::uint64_t i = 0; i < 64; ++i)
        EXPECT_EQ(nospec(i, 64), i);
    EXPECT_EQ(nospec(~1ull, ~0ull), ~1ull);
}

TEST(Nospec, what_is_not_becomes_0) {
    for (std::uint64_t index : {64ull, 65ull, 1ull << 31, 1ull << 32, 1ull << 63, ~0ull})
        EXPECT_EQ(nospec(index, 64), 0u) << index;
    EXPECT_EQ(nospec(0, 0), 0u);
    EXPECT_EQ(nospec(5, 0), 0u);
}

TEST(Nospec, a_mask_is_a_bound_too) {
    EXPECT_EQ(nospec<64>(63), 63u);
    EXPECT_EQ(nospec<64>(64 + 5), 5u);
}

} // namespace
