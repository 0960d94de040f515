// SPDX-License-Identifier: GPL-2.0-only
#include "any_bytes.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <vector>

namespace machine {
namespace {

using Seconds = std::chrono::duration<double>;

// The sanitizers are the judges, and end the program where they stand: the seed is printed first.
void run_random(bool legacy, double budget) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    std::mt19937_64 random(seed);
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t rounds = 0;
    while (Seconds(std::chrono::steady_clock::now() - start).count() < budget) {
        AnyBytes machine(legacy);
        std::vector<std::uint8_t> bytes(8192);
        for (std::uint8_t &byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        machine.run(bytes);
        ++rounds;
    }
    EXPECT_GT(rounds, 0u);
}

TEST(AnyBytes, LegacyMachineTakesThem) { run_random(true, 1.0); }

TEST(AnyBytes, MinimalMachineTakesThem) { run_random(false, 0.5); }

TEST(AnyBytes, SameBytesSameMachine) {
    std::vector<std::uint8_t> bytes(100'000);
    std::mt19937_64 random(1);
    for (std::uint8_t &byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    AnyBytes first(true);
    AnyBytes second(true);
    first.run(bytes);
    second.run(bytes);
    EXPECT_EQ(first.power_events(), second.power_events());
    EXPECT_GT(first.power_events(), 0u);
}

TEST(AnyBytes, SeveralProcessorsAndTheEventLoopAtOnce) {
    RecordingEois eois;
    struct CountingMessages final : MsiSink {
        std::atomic<unsigned> sent = 0;
        void deliver(std::uint64_t, std::uint32_t) noexcept override { ++sent; }
    } messages;
    struct CountingIntr final : ExtIntSink {
        std::atomic<unsigned> changes = 0;
        void raise(bool) noexcept override { ++changes; }
    } intr;
    Machine pc({}, {messages, eois, intr, [](PowerEvent) {}});
    pc.start();
    const auto processor = [&pc](unsigned seed) {
        std::mt19937 random(seed);
        std::uint32_t value = 0;
        for (int step = 0; step < 20'000; ++step) {
            value = random();
            const auto port = static_cast<std::uint16_t>(value >> 8 & 0x7ff);
            pc.handle_port(port, 1u << (value & 1), (value & 4) != 0, &value);
            if (pc.pic_pending()) pc.acknowledge_pic();
        }
    };
    {
        std::vector<std::jthread> processors;
        for (unsigned seed = 0; seed < 3; ++seed)
            processors.emplace_back(processor, seed);
    }
    pc.stop();
    EXPECT_GT(pc.unclaimed_ports().reads, 0u);
}

} // namespace
} // namespace machine
