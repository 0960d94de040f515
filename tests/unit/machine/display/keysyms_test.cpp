// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/keysyms.hpp"

#include <gtest/gtest.h>

namespace machine {
namespace {

TEST(Keysyms, AreKeysOfAUsKeyboard) {
    EXPECT_EQ(key_of_keysym('a'), 0x1e);
    EXPECT_EQ(key_of_keysym('A'), 0x1e) << "Shift comes apart";
    EXPECT_EQ(key_of_keysym('"'), 0x28);
    EXPECT_EQ(key_of_keysym(0xff0d), 0x1c);
    EXPECT_EQ(key_of_keysym(0xffff), key_by_name("delete"));
    EXPECT_EQ(key_of_keysym(0xffe1), shift_key);
    EXPECT_FALSE(key_of_keysym(0));
    EXPECT_FALSE(key_of_keysym(0x20ac)) << "no key has the euro sign";
    for (std::uint32_t keysym = 0xff00; keysym <= 0xffff; ++keysym) {
        const auto key = key_of_keysym(keysym);
        EXPECT_TRUE(!key || !key_name(*key).empty()) << keysym;
    }
}

} // namespace
} // namespace machine
