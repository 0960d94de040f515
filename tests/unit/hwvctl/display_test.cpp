// SPDX-License-Identifier: GPL-2.0-only
// --vga, --display, and what other commands ask of a launcher.
#include <gtest/gtest.h>

#include "hwvctl/command.hpp"
#include "hwvctl/control_requests.hpp"
#include "hwvctl/display_options.hpp"
#include "machine/fakes.hpp"

namespace hwvctl {
namespace {

using nlohmann::json;

TEST(DisplayOptions, Vga) {
    EXPECT_EQ(parse_vga("text").width, 0u);
    EXPECT_EQ(parse_vga("1024x768").height, 768u);
    EXPECT_EQ(parse_vga("1024x768").bits, 32u);
    EXPECT_EQ(parse_vga("800x600x16").bits, 16u);
    for (const char *wrong : {"", "x", "1024", "1024x", "1024x768x", "1024x768x32x", "1024x768x8",
                              "1022x768", "4096x4096", "-1x5", "1024x768 ", "100x100"})
        EXPECT_THROW(parse_vga(wrong), UsageError) << wrong;
}

TEST(DisplayOptions, Vnc) {
    EXPECT_FALSE(parse_display("none"));
    EXPECT_EQ(parse_display("vnc=:3")->number, 3u);
    EXPECT_EQ(parse_display("vnc=:3")->address, "127.0.0.1");
    EXPECT_EQ(parse_display("vnc=0.0.0.0:1")->address, "0.0.0.0");
    EXPECT_EQ(parse_display("vnc=unix:/tmp/a:b,c")->path, "/tmp/a:b,c");
    EXPECT_EQ(parse_display("vnc=unix:/tmp/a,password=/etc/p")->path, "/tmp/a");
    EXPECT_EQ(parse_display("vnc=:0,password=/etc/p")->password_file, "/etc/p");
    for (const char *wrong : {"", "vnc", "vnc=", "vnc=1", "vnc=:", "vnc=:x", "vnc=:1000",
                              "vnc=unix:", "gtk", "vnc=:1,password=", "vnc=:1,pass=x"})
        EXPECT_THROW(parse_display(wrong), UsageError) << wrong;
}

class ControlTest : public testing::Test {
  protected:
    explicit ControlTest(bool vga = true) {
        machine::MachineConfig config;
        config.vga = config.keyboard = vga;
        config.clock = &clock_;
        pc_ = std::make_unique<machine::Machine>(
            std::move(config),
            machine::MachineSinks{messages_, eois_, intr_, [](machine::PowerEvent) {}});
        if (vga) pc_->vga()->start_text({});
    }
    ControlMessage ask(json request) {
        request["protocol"] = control_protocol;
        return answer_control({*pc_, {}}, request);
    }

    machine::ManualClock clock_;
    machine::RecordingMessages messages_;
    machine::RecordingEois eois_;
    machine::RecordingIntr intr_;
    std::unique_ptr<machine::Machine> pc_;
};

class BlindControlTest : public ControlTest {
  protected:
    BlindControlTest() : ControlTest(false) {}
};

TEST_F(ControlTest, ScreenAndPicture) {
    std::uint64_t hi = 0x0769'0748;
    pc_->handle_mmio(0xb8000, 4, true, &hi);
    const json screen = ask({{"request", "screen"}}).head;
    EXPECT_EQ(screen.value("ok", false), true);
    EXPECT_EQ(screen.value("columns", 0), 80);
    EXPECT_EQ(screen.value("text", "").substr(0, 3), "Hi\n");
    const ControlMessage picture = ask({{"request", "picture"}});
    EXPECT_EQ(picture.body.size(), 720u * 400 * 3);
    EXPECT_EQ(picture.head.value("width", 0), 720);
}

TEST_F(ControlTest, KeysUntilTheGuestHasTooMany) {
    json key{{"request", "key"}, {"chord", "ctrl-alt-delete"}};
    json reply = ask(key).head;
    for (unsigned n = 0; n < 100 && reply.value("ok", false); ++n)
        reply = ask(key).head;
    EXPECT_EQ(reply.value("ok", true), false);
    EXPECT_EQ(reply.value("retry", false), true);
    std::uint8_t first = 0;
    pc_->handle_port(0x60, 1, false, &first);
    EXPECT_EQ(first, 0x1d);
}

TEST_F(ControlTest, AnyRequestHasAReply) {
    for (const json &request :
         {json::object(), json{{"request", 5}}, json{{"request", "key"}},
          json{{"request", "key"}, {"chord", 7}}, json{{"request", "key"}, {"chord", "no"}},
          json{{"request", "fly"}}, json{{"request", "msrs"}, {"which", {-1}}},
          json{{"request", "msrs"}, {"which", {16}}}}) {
        EXPECT_EQ(ask(request).head.value("ok", true), false) << request;
        EXPECT_FALSE(ask(request).head.value("error", "").empty());
    }
    EXPECT_EQ(
        answer_control({*pc_, {}}, {{"protocol", 2}, {"request", "screen"}}).head.value("ok", true),
        false);
    EXPECT_EQ(ask({{"request", "power-button"}}).head.value("ok", false), true);
}

TEST_F(BlindControlTest, WithoutScreenOrKeyboardSaysSo) {
    EXPECT_NE(ask({{"request", "screen"}}).head.value("error", "").find("no screen"),
              std::string::npos);
    EXPECT_NE(ask({{"request", "key"}, {"chord", "a"}}).head.value("error", "").find("no keyboard"),
              std::string::npos);
}

} // namespace
} // namespace hwvctl
