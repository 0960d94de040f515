// SPDX-License-Identifier: GPL-2.0-only
#include "machine/keys.hpp"

#include <gtest/gtest.h>

#include "machine/scan_codes.hpp"

namespace machine {
namespace {

using Keys = std::vector<Key>;

TEST(Keys, ChordsByName) {
    EXPECT_EQ(key_chord("ctrl-alt-delete"), (Keys{0x1d, 0x38, 0x153}));
    EXPECT_EQ(key_chord("shift-a"), (Keys{0x2a, 0x1e}));
    EXPECT_EQ(key_chord("ret"), Keys{0x1c});
    EXPECT_FALSE(key_chord("ctrl-"));
    EXPECT_FALSE(key_chord(""));
    EXPECT_FALSE(key_chord("any"));
}

TEST(Keys, CharactersOfAUsKeyboard) {
    EXPECT_EQ(keys_for('a'), Keys{0x1e});
    EXPECT_EQ(keys_for('A'), (Keys{0x2a, 0x1e}));
    EXPECT_EQ(keys_for('|'), (Keys{0x2a, 0x2b}));
    EXPECT_EQ(keys_for('?'), (Keys{0x2a, 0x35}));
    EXPECT_EQ(keys_for('\n'), Keys{0x1c});
    EXPECT_EQ(keys_for('0'), Keys{0x0b});
    EXPECT_FALSE(keys_for('\x01'));
    for (char c = ' '; c <= '~'; ++c)
        EXPECT_TRUE(keys_for(c)) << c;
}

TEST(Keys, EachHasACodeInBothSets) {
    for (unsigned code = 1; code <= 0x58; ++code) {
        const auto set1 = static_cast<std::uint8_t>(code);
        EXPECT_NE(to_set2(set1), 0) << code;
        EXPECT_EQ(to_set1(to_set2(set1)), set1);
    }
}

} // namespace
} // namespace machine
