// SPDX-License-Identifier: GPL-2.0-only
#include "machine/terminal.hpp"

#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace machine {
namespace {

class EscapeTest : public testing::Test {
  protected:
    std::string type(std::string text) {
        const std::span bytes(reinterpret_cast<std::uint8_t *>(text.data()), text.size());
        text.resize(filter_.filter(bytes));
        return text;
    }
    unsigned quits_ = 0;
    unsigned helps_ = 0;
    EscapeFilter filter_{{.quit = [this] { ++quits_; }, .help = [this] { ++helps_; }}};
};

TEST_F(EscapeTest, OrdinaryTextPasses) {
    EXPECT_EQ(type("ls -x\r\x03\x04"), "ls -x\r\x03\x04");
    EXPECT_EQ(type(""), "");
}

TEST_F(EscapeTest, CommandsAreTakenOut) {
    EXPECT_EQ(type("a\x01xb"), "ab");
    EXPECT_EQ(quits_, 1u);
    EXPECT_EQ(type("\x01hx"), "x");
    EXPECT_EQ(helps_, 1u);
    EXPECT_EQ(quits_, 1u);
}

TEST_F(EscapeTest, TwiceIsOnce) {
    EXPECT_EQ(type("\x01\x01x"), "\x01x");
    EXPECT_EQ(quits_, 0u);
}

TEST_F(EscapeTest, UnknownCommandsVanish) { EXPECT_EQ(type("a\x01qb"), "ab"); }

TEST_F(EscapeTest, ACommandMayArriveInTwoPieces) {
    EXPECT_EQ(type("a\x01"), "a");
    EXPECT_EQ(type("xb"), "b");
    EXPECT_EQ(quits_, 1u);
}

TEST(RawTerminal, LeavesAloneWhatIsNoTerminal) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    {
        const RawTerminal raw(ends[0]);
        EXPECT_FALSE(raw.active());
    }
    RawTerminal::restore();
    close(ends[0]);
    close(ends[1]);
}

} // namespace
} // namespace machine
