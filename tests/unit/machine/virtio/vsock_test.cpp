// SPDX-License-Identifier: GPL-2.0-only
#include "vsock_guest.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <random>

#include "any_packets.hpp"

namespace machine::virtio {
namespace {

using vsock::Operation;
using vsock::Ports;

class VsockTest : public testing::Test {
  protected:
    VsockTest() { guest_.give_buffers(); }
    // The operation of the next packet for the guest.
    Operation told() {
        const auto packet = guest_.next();
        guest_.give_buffers();
        last_ = packet ? *packet : VsockGuest::Packet{};
        return last_.header.operation;
    }
    // A stream that a program of the host's began.
    Fd begun_by_host(Ports &ports) {
        Fd client = host_.connect();
        HostSide::say(client, "CONNECT 99\n");
        guest_.turn();
        EXPECT_EQ(told(), Operation::request);
        EXPECT_EQ(last_.header.to_port, 99u);
        ports = {last_.header.from_port, last_.header.to_port};
        guest_.send(Operation::response, ports);
        EXPECT_EQ(HostSide::hear(client), "OK " + std::to_string(ports.host) + "\n");
        return client;
    }

    HostSide host_;
    VsockGuest guest_{host_.path()};
    VsockGuest::Packet last_;
};

TEST_F(VsockTest, TheHostReachesTheGuest) {
    Ports ports;
    Fd client = begun_by_host(ports);
    HostSide::say(client, "hello");
    guest_.turn();
    EXPECT_EQ(told(), Operation::data);
    EXPECT_EQ(last_.data, "hello");
    EXPECT_EQ(last_.header.to_cid, VsockGuest::cid);
    EXPECT_EQ(last_.header.space, vsock::Stream::buffer_bytes);
    guest_.send(Operation::data, ports, "and back");
    EXPECT_EQ(HostSide::hear(client), "and back");
    client = Fd{};
    guest_.turn();
    EXPECT_EQ(told(), Operation::shutdown);
    EXPECT_EQ(last_.header.flags, 3u);
    EXPECT_EQ(last_.header.taken, 8u);
    guest_.send(Operation::reset, ports);
    EXPECT_EQ(guest_.device().streams(), 0u);
    EXPECT_EQ(told(), Operation::invalid) << "no reset for a reset";
}

TEST_F(VsockTest, TheGuestReachesTheHost) {
    const Fd listener = host_.listen(1234);
    const Ports ports{1234, 5000};
    guest_.send(Operation::request, ports);
    EXPECT_EQ(told(), Operation::response);
    guest_.send(Operation::data, ports, "first");
    const Fd program(accept(listener.get(), nullptr, nullptr));
    ASSERT_TRUE(program);
    EXPECT_EQ(HostSide::hear(program), "first");
    guest_.send(Operation::shutdown, ports, {}, vsock::sends_no_more);
    EXPECT_EQ(HostSide::hear(program), std::nullopt) << "its half is over";
    HostSide::say(program, "answer");
    guest_.turn();
    EXPECT_EQ(told(), Operation::data);
    EXPECT_EQ(last_.data, "answer");
    guest_.send(Operation::shutdown, ports, {}, 3);
    EXPECT_EQ(told(), Operation::reset);
    EXPECT_EQ(guest_.device().streams(), 0u);
}

TEST_F(VsockTest, WhereNobodyListensThereIsAReset) {
    guest_.send(Operation::request, {1, 2});
    EXPECT_EQ(told(), Operation::reset);
    EXPECT_EQ(last_.header.from_port, 1u);
    EXPECT_EQ(last_.header.to_port, 2u);
    guest_.send(Operation::data, {3, 4}, "nothing");
    EXPECT_EQ(told(), Operation::reset);
    guest_.send(Operation::reset, {3, 4});
    EXPECT_EQ(told(), Operation::invalid);
}

TEST_F(VsockTest, GreetingsAreTakenInPieces) {
    const Fd client = host_.connect();
    HostSide::say(client, "CONN");
    guest_.turn();
    EXPECT_EQ(guest_.device().streams(), 1u);
    HostSide::say(client, "ECT 7\nafter");
    guest_.turn();
    EXPECT_EQ(told(), Operation::request);
    EXPECT_EQ(last_.header.to_port, 7u);
    guest_.send(Operation::response, {last_.header.from_port, 7});
    EXPECT_EQ(told(), Operation::data);
    EXPECT_EQ(last_.data, "after");
    for (const char *bad : {"GET / HTTP/1.1\n", "CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n",
                            "CONNECT 1 2\n", "CONNECT 1111111111111111111111111111111"}) {
        const Fd stranger = host_.connect();
        HostSide::say(stranger, bad);
        guest_.turn();
        EXPECT_EQ(guest_.device().streams(), 1u) << bad;
        EXPECT_EQ(HostSide::hear(stranger).value_or(""), "") << bad;
    }
}

TEST_F(VsockTest, RefusedByTheGuest) {
    const Fd client = host_.connect();
    HostSide::say(client, "CONNECT 99\n");
    guest_.turn();
    EXPECT_EQ(told(), Operation::request);
    guest_.send(Operation::reset, {last_.header.from_port, 99});
    EXPECT_EQ(HostSide::hear(client), std::nullopt);
}

TEST_F(VsockTest, NoMoreIsSentThanTheGuestHasRoomFor) {
    Ports ports;
    const Fd client = begun_by_host(ports);
    HostSide::say(client, std::string(VsockGuest::space + 10, 'x'));
    guest_.turn();
    std::uint32_t got = 0;
    while (told() == Operation::data)
        got += last_.header.length;
    EXPECT_EQ(got, VsockGuest::space);
    EXPECT_EQ(last_.header.operation, Operation::credit_request);
    EXPECT_EQ(told(), Operation::invalid) << "asks once";
    guest_.taken = got;
    guest_.send(Operation::credit_update, ports);
    EXPECT_EQ(told(), Operation::data);
    EXPECT_EQ(last_.header.length, 10u);
    guest_.taken = got + 1000;
    guest_.send(Operation::credit_update, ports);
    HostSide::say(client, "y");
    guest_.turn();
    EXPECT_EQ(told(), Operation::credit_request) << "who took more than came has no room";
}

TEST_F(VsockTest, AGuestThatSendsMoreThanThereIsRoomForIsCutOff) {
    Ports ports;
    const Fd client = begun_by_host(ports);
    const std::string piece(32 << 10, 'z');
    // Nobody reads: the host's socket takes some, then the buffer fills up.
    std::uint32_t sent = 0;
    for (unsigned i = 0; i < 100 && guest_.device().streams() > 0; ++i, sent += 1)
        guest_.send(Operation::data, ports, piece);
    EXPECT_EQ(guest_.device().streams(), 0u);
    EXPECT_GT(sent, 2u);
    Operation last = told();
    while (last == Operation::credit_update)
        last = told();
    EXPECT_EQ(last, Operation::reset);
}

TEST_F(VsockTest, ReadersGiveRoomBack) {
    Ports ports;
    const Fd client = begun_by_host(ports);
    const std::string piece(16 << 10, 'z');
    std::string heard;
    for (unsigned i = 0; i < 64; ++i) {
        guest_.send(Operation::data, ports, piece);
        heard += HostSide::hear(client).value_or("");
        guest_.turn();
    }
    EXPECT_EQ(heard.size(), 64u * piece.size());
    std::uint32_t taken = 0;
    for (Operation what = told(); what != Operation::invalid; what = told())
        taken = what == Operation::credit_update ? last_.header.taken : 0;
    EXPECT_GE(taken + vsock::Stream::buffer_bytes / 2, heard.size());
    guest_.send(Operation::credit_request, ports);
    EXPECT_EQ(told(), Operation::credit_update);
    EXPECT_EQ(last_.header.taken, heard.size());
}

TEST_F(VsockTest, WhatBreaksTheRulesIsReset) {
    Ports ports;
    const Fd client = begun_by_host(ports);
    vsock::Header wrong;
    wrong.from_cid = VsockGuest::cid;
    wrong.to_cid = vsock::host_cid;
    wrong.from_port = ports.guest;
    wrong.to_port = ports.host;
    wrong.operation = Operation::data;
    wrong.length = 10; // and none there
    guest_.send(wrong, "12345");
    EXPECT_EQ(told(), Operation::reset);
    EXPECT_EQ(HostSide::hear(client), std::nullopt);
    wrong.from_cid = 8;
    guest_.send(wrong);
    EXPECT_EQ(told(), Operation::invalid) << "not its address";
    wrong.from_cid = VsockGuest::cid;
    wrong.to_cid = 3;
    guest_.send(wrong);
    EXPECT_EQ(told(), Operation::reset) << "another guest";
    guest_.send(Operation::response, ports);
    EXPECT_EQ(told(), Operation::reset);
}

TEST_F(VsockTest, StreamsAreCountedAndEndWithTheDriver) {
    std::vector<Fd> clients;
    for (unsigned i = 0; i < Vsock::most_streams + 5; ++i) {
        clients.push_back(host_.connect());
        guest_.turn();
    }
    EXPECT_EQ(guest_.device().streams(), Vsock::most_streams);
    EXPECT_EQ(HostSide::hear(clients.back()), std::nullopt);
    static_cast<void>(host_.listen(5));
    guest_.send(Operation::request, {5, 6});
    EXPECT_EQ(told(), Operation::reset);
    guest_.device().stop();
    EXPECT_EQ(guest_.device().streams(), 0u);
    EXPECT_EQ(HostSide::hear(clients.front()), std::nullopt);
    const Fd late = host_.connect();
    guest_.turn();
    EXPECT_EQ(HostSide::hear(late), std::nullopt) << "no driver";
}

TEST(VsockOptions, AreTakenApart) {
    EXPECT_EQ(parse_vsock("path=/a/b").cid, 3u);
    EXPECT_EQ(parse_vsock("cid=42,path=v").path, "v");
    EXPECT_EQ(parse_vsock("cid=42,path=v").cid, 42u);
    for (const char *bad : {"", "cid=3", "path=", "cid=2,path=v", "cid=4294967295,path=v",
                            "cid=x,path=v", "cid=3x,path=v", "port=1,path=v"})
        EXPECT_THROW(parse_vsock(bad), std::invalid_argument) << bad;
}

TEST(VsockOptions, ASocketThatIsUsedIsNotTakenAway) {
    HostSide host;
    VsockGuest first(host.path());
    EXPECT_THROW(VsockGuest second(host.path()), std::system_error);
    EXPECT_NO_THROW(host.connect());
    HostSide other;
    close(open(other.path().c_str(), O_CREAT | O_WRONLY, 0600));
    EXPECT_THROW(VsockGuest third(other.path()), std::system_error);
    EXPECT_EQ(unlink(other.path().c_str()), 0) << "a file stays";
}

TEST(AnyPackets, AreTaken) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random(seed);
    AnyPackets packets;
    std::vector<std::uint8_t> bytes(20000);
    for (std::uint8_t &byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    packets.run(bytes);
    EXPECT_GT(packets.heard(), 0u);
}

} // namespace
} // namespace machine::virtio
