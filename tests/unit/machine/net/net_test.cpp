// SPDX-License-Identifier: GPL-2.0-only
#include <cstdlib>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include "machine/fakes.hpp"
#include "machine/net/link.hpp"
#include "machine/manual_loop.hpp"

namespace machine::net {
namespace {

TEST(NetOptions, AreTakenApart) {
    const auto user =
        parse_net("user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-10.0.2.20:5353,"
                  "restrict=on,mac=52:54:00:0a:0b:0c");
    EXPECT_TRUE(user.restrict);
    ASSERT_EQ(user.forwards.size(), 2u);
    EXPECT_EQ(user.forwards[0].host_address, 0x7f000001u);
    EXPECT_EQ(user.forwards[0].host_port, 2222);
    EXPECT_EQ(user.forwards[0].guest_address, 0u);
    EXPECT_EQ(user.forwards[0].guest_port, 22);
    EXPECT_TRUE(user.forwards[1].udp);
    EXPECT_EQ(user.forwards[1].guest_address, 0x0a000214u);
    EXPECT_EQ(*user.mac, (Mac{0x52, 0x54, 0, 0xa, 0xb, 0xc}));
    EXPECT_EQ(parse_net("unix:/a/b").name, "/a/b");
    EXPECT_EQ(parse_net("tap,ifname=hwv0").name, "hwv0");
    EXPECT_FALSE(parse_net("tap,ifname=hwv0").vhost);
    EXPECT_TRUE(*parse_net("tap,vhost=on,ifname=hwv0").vhost);
    EXPECT_FALSE(*parse_net("tap,ifname=hwv0,vhost=off").vhost);
    for (const char *bad : {"",
                            "bridge",
                            "user,vhost=on",
                            "unix:/a,vhost=off",
                            "tap,ifname=hwv0,vhost=",
                            "tap,vhost=on",
                            "unix:",
                            "tap",
                            "tap,restrict=on",
                            "unix:/a,hostfwd=tcp::1-:2",
                            "user,",
                            "user,restrict=yes",
                            "user,hostfwd=tcp:80",
                            "user,hostfwd=tcp::0-:1",
                            "user,hostfwd=tcp::70000-:1",
                            "user,hostfwd=sctp::1-:1",
                            "user,hostfwd=tcp:x:1-:1",
                            "user,mac=52:54:00:0a:0b",
                            "user,mac=52-54-00-0a-0b-0c",
                            "user,mac=53:54:00:0a:0b:0c"})
        EXPECT_THROW(parse_net(bad), std::invalid_argument) << bad;
}

struct Sink final : Receiver {
    bool ready() const noexcept override { return open; }
    void receive(std::span<const std::byte> frame) noexcept override {
        frames.emplace_back(reinterpret_cast<const char *>(frame.data()), frame.size());
    }
    std::vector<std::string> frames;
    bool open = true;
};

class LinkTest : public testing::Test, protected ManualLoop {
  protected:
    void turn() {
        for (unsigned i = 0; i < 5; ++i)
            loop_.run_ready();
    }
    static void send(Link &link, const std::string &text) {
        link.send(std::as_bytes(std::span{text}));
    }
};

TEST_F(LinkTest, ACableCarriesWholeFramesBothWays) {
    const std::string path = testing::TempDir() + "hwv-cable-" + std::to_string(getpid());
    const auto first = open_socket(path, loop_);
    Sink one, two;
    first->connect(&one);
    send(*first, "nobody is there yet");
    for (unsigned round = 0; round < 2; ++round) {
        const auto second = open_socket(path, loop_);
        second->connect(&two);
        turn();
        send(*first, "hello");
        send(*first, "there");
        send(*second, std::string(1500, 'x'));
        turn();
        EXPECT_EQ(two.frames, (std::vector<std::string>{"hello", "there"}));
        EXPECT_EQ(one.frames, (std::vector<std::string>{std::string(1500, 'x')}));
        one.frames.clear();
        two.frames.clear();
        // What finds no room waits.
        two.open = false;
        send(*first, "later");
        turn();
        EXPECT_TRUE(two.frames.empty());
        two.open = true;
        second->room();
        turn();
        EXPECT_EQ(two.frames.size(), 1u);
        two.frames.clear();
        second->connect(nullptr);
        if (round == 1) send(*second, "the last words");
    }
    turn(); // the peer left
    send(*first, "alone");
    turn();
}

TEST_F(LinkTest, WhatCannotBeOpenedIsSaid) {
    EXPECT_THROW(open_socket("/nowhere/at/all", loop_), std::runtime_error);
    EXPECT_THROW(open_socket(std::string(200, 'p'), loop_), std::runtime_error);
    EXPECT_THROW(open_tap(std::string(30, 'n'), loop_), std::runtime_error);
}

TEST_F(LinkTest, AFileInTheWayStays) {
    char path[] = "/tmp/hwv-net-XXXXXX";
    close(mkstemp(path));
    EXPECT_THROW(open_socket(path, loop_), std::runtime_error);
    EXPECT_EQ(unlink(path), 0) << "it is gone";
}

// The stack's own machine answers who asks for its address by ARP.
TEST_F(LinkTest, TheUsersNetworkAnswers) {
    const auto link = open_user(parse_net("user"), lock_);
    Sink guest;
    link->connect(&guest);
    std::string who(42, '\0');
    who.replace(0, 6, 6, '\xff');
    who.replace(6, 22, std::string("\x52\x54\0\0\0\1\x08\6\0\1\x08\0\6\4\0\1\x52\x54\0\0\0\1", 22));
    who.replace(28, 4, std::string("\x0a\0\2\x0f", 4));
    who.replace(38, 4, std::string("\x0a\0\2\2", 4));
    {
        const std::lock_guard guard(lock_);
        send(*link, who);
        ASSERT_FALSE(guest.frames.empty());
        EXPECT_EQ(guest.frames[0].substr(28, 4), std::string("\x0a\0\2\2", 4));
        link->connect(nullptr);
    }
}

} // namespace
} // namespace machine::net
