// SPDX-License-Identifier: GPL-2.0-only
// Arrivals from other threads while the owner serves: every vector that was accepted is served,
// none twice.
#include <gtest/gtest.h>
#include <array>
#include <atomic>
#include <thread>
#include <vector>
#include "cpu/apic.hpp"
#include "cpu/fake_machine.hpp"

namespace {

using namespace hwv::cpu;

TEST(ApicRace, no_interrupt_is_lost_or_doubled) {
    fake::reset();
    LocalApic apic{0, nullptr};
    apic.reset();
    apic.write(0xf0, 0x1ff);
    constexpr unsigned senders = 3, each = 20'000;
    std::array<std::atomic<unsigned>, 256> accepted{};
    std::array<unsigned, 256> served{};
    std::atomic<unsigned> running{senders};
    std::vector<std::thread> threads;
    for (unsigned s = 0; s < senders; ++s)
        threads.emplace_back([&, s] {
            for (unsigned i = 0; i < each; ++i) {
                const auto vector = static_cast<std::uint8_t>(32 + (i * 7 + s * 31) % 224);
                if (apic.accept(vector, false) == Acceptance::accepted) ++accepted[vector];
            }
            --running;
        });
    const auto serve = [&] {
        while (const std::uint8_t vector = apic.pending()) {
            apic.acknowledge(vector);
            ++served[vector];
            EXPECT_EQ(apic.end_of_interrupt().vector, vector);
        }
    };
    while (running)
        serve();
    for (auto &t : threads)
        t.join();
    serve();
    for (unsigned v = 0; v < 256; ++v)
        EXPECT_EQ(served[v], accepted[v]) << v;
    EXPECT_EQ(apic.events(), 0u);
}

TEST(ApicRace, nmis_neither_vanish_nor_stay) {
    fake::reset();
    LocalApic apic{0, nullptr};
    apic.reset();
    std::atomic<unsigned> accepted{0};
    std::atomic<bool> running{true};
    unsigned taken = 0;
    std::thread sender{[&] {
        for (unsigned i = 0; i < 50'000; ++i)
            accepted += apic.accept({.mode = DeliveryMode::nmi}) == Acceptance::accepted;
        running = false;
    }};
    while (running)
        taken += apic.take_nmi();
    sender.join();
    while (apic.take_nmi())
        ++taken;
    EXPECT_EQ(taken, accepted);
    apic.sync();
    EXPECT_EQ(apic.events(), 0u) << "nothing to wake up for";
    EXPECT_EQ(apic.nmis(), 0);
}

TEST(ApicRace, extint_offered_taken_and_taken_back) {
    fake::reset();
    LocalApic apic{0, nullptr};
    apic.set_features({.present = false});
    apic.reset();
    std::atomic<unsigned> offered{0}, cancelled{0};
    std::atomic<unsigned> running{2};
    unsigned taken = 0;
    std::thread giver{[&] {
        for (unsigned i = 0; i < 50'000; ++i)
            offered += apic.offer_extint(0x30);
        --running;
    }};
    std::thread canceller{[&] {
        for (unsigned i = 0; i < 50'000; ++i)
            cancelled += apic.cancel_extint();
        --running;
    }};
    std::uint8_t vector = 0;
    while (running)
        if (apic.take_extint(vector)) {
            ++taken;
            EXPECT_EQ(vector, 0x30);
        }
    giver.join();
    canceller.join();
    taken += apic.take_extint(vector);
    EXPECT_EQ(taken + cancelled, offered);
    apic.sync();
    EXPECT_EQ(apic.events(), 0u);
}

} // namespace
