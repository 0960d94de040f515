// SPDX-License-Identifier: GPL-2.0-only
#include "machine/legacy_ports.hpp"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace machine {
namespace {

class LegacyPortsTest : public testing::Test {
  protected:
    PowerSink sink() {
        return [this](PowerEvent event) { power_.push_back(event); };
    }
    PortBus bus_;
    std::vector<PowerEvent> power_;
    LowMemory low_memory_{GuestMemory{{}}, nullptr, false};
};

TEST_F(LegacyPortsTest, FastResetOnARisingEdge) {
    ResetControl reset(sink(), low_memory_);
    ASSERT_TRUE(reset.attach(bus_));
    EXPECT_EQ(bus_.read(0x92, 1), 0x02u);
    bus_.write(0x92, 1, 0x00);
    EXPECT_TRUE(power_.empty());
    bus_.write(0x92, 1, 0x03);
    bus_.write(0x92, 1, 0x03);
    EXPECT_EQ(power_.size(), 1u);
}

TEST_F(LegacyPortsTest, ResetControlRegisterNeedsARisingEdge) {
    ResetControl reset(sink(), low_memory_);
    ASSERT_TRUE(reset.attach(bus_));
    bus_.write(0xcf9, 1, 0x02);
    EXPECT_TRUE(power_.empty());
    bus_.write(0xcf9, 1, 0x06);
    ASSERT_EQ(power_.size(), 1u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::reset);
    EXPECT_EQ(bus_.read(0xcf9, 1), 0x06u);
    bus_.write(0xcf9, 1, ResetControl::reset_value);
    EXPECT_EQ(power_.size(), 1u);
}

TEST_F(LegacyPortsTest, DebugExitCodesAreOdd) {
    DebugExit exit(sink());
    ASSERT_TRUE(exit.attach(bus_));
    bus_.write(0xf4, 1, 0);
    bus_.write(0xf4, 4, 0x80000001);
    ASSERT_EQ(power_.size(), 2u);
    EXPECT_EQ(power_[0].code, 1u);
    EXPECT_EQ(power_[1].code, 3u);
    EXPECT_EQ(bus_.read(0xf4, 4), 0xffffffffu);
}

TEST_F(LegacyPortsTest, PanicIsReportedACrashKernelIsNot) {
    PanicReport panic(sink());
    ASSERT_TRUE(panic.attach(bus_));
    EXPECT_EQ(bus_.read(0x505, 1), 3u);
    bus_.write(0x505, 1, 2);
    EXPECT_TRUE(power_.empty());
    bus_.write(0x505, 1, 1);
    ASSERT_EQ(power_.size(), 1u);
    EXPECT_EQ(power_[0].kind, PowerEvent::Kind::panic);
}

TEST_F(LegacyPortsTest, DebugConsoleOnBothPorts) {
    std::string text;
    DebugConsole console(
        [&](std::span<const std::uint8_t> bytes) { text.append(bytes.begin(), bytes.end()); });
    ASSERT_TRUE(console.attach(bus_));
    EXPECT_EQ(bus_.read(0xe9, 1), 0xe9u);
    bus_.write(0xe9, 1, 'a');
    bus_.write(0x402, 1, 'b');
    EXPECT_EQ(text, "ab");
    DebugConsole deaf(nullptr);
    deaf.write(0, 1, 'x');
}

TEST_F(LegacyPortsTest, PostCodeIsKept) {
    PostCode post;
    ASSERT_TRUE(post.attach(bus_));
    bus_.write(0x80, 1, 0x5a);
    bus_.write(0xed, 1, 0xff);
    EXPECT_EQ(post.last(), 0x5a);
    EXPECT_EQ(bus_.read(0x80, 1), 0x5au);
    EXPECT_EQ(bus_.unclaimed().writes, 0u);
}

} // namespace
} // namespace machine
