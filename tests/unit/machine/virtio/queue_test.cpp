// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <random>

#include "driver.hpp"

namespace machine::virtio {
namespace {

constexpr std::uint64_t data = Driver::data_at;

struct QueueTest : testing::Test {
    bool start(bool event_index = false) {
        return queue.start(driver.ram(), driver.rings(), event_index);
    }
    RecordingSignals signals;
    Driver driver{8};
    Queue queue{0, 8, signals};
    Chain chain;
};

TEST_F(QueueTest, RefusesRingsThatTheSpecificationForbids) {
    EXPECT_TRUE(start());
    for (const Rings &rings : {Rings{3, Driver::table_at, Driver::avail_at, Driver::used_at},
                               Rings{0, Driver::table_at, Driver::avail_at, Driver::used_at},
                               Rings{16, Driver::table_at, Driver::avail_at, Driver::used_at},
                               Rings{8, Driver::table_at + 8, Driver::avail_at, Driver::used_at},
                               Rings{8, Driver::table_at, Driver::avail_at + 1, Driver::used_at},
                               Rings{8, Driver::table_at, Driver::avail_at, Driver::used_at + 2},
                               Rings{8, Driver::base + 0x1fff0, Driver::avail_at, Driver::used_at},
                               Rings{8, Driver::table_at, ~std::uint64_t{1}, Driver::used_at},
                               Rings{8, Driver::table_at, Driver::avail_at, 0}}) {
        Queue other(0, 8, signals);
        EXPECT_FALSE(other.start(driver.ram(), rings, false));
        EXPECT_FALSE(other.pop(chain));
    }
}

TEST_F(QueueTest, ChainsComeInOrderAndGoBack) {
    ASSERT_TRUE(start());
    EXPECT_FALSE(queue.pop(chain));
    driver.put(data, "hello world");
    driver.offer(3, {{data, 5, false}, {data + 5, 6, false}, {data + 0x100, 16, true}});
    ASSERT_TRUE(queue.pop(chain));
    EXPECT_EQ(chain.head, 3);
    EXPECT_EQ(Chain::bytes(chain.readable()), 11u);
    std::string first(7, ' ');
    ASSERT_TRUE(chain.take(std::as_writable_bytes(std::span{first})));
    EXPECT_EQ(first, "hello w");
    std::string rest(20, ' ');
    EXPECT_FALSE(chain.take(std::as_writable_bytes(std::span{rest})));
    EXPECT_EQ(gather(std::as_writable_bytes(std::span{rest}), chain.readable()), 4u);
    EXPECT_EQ(rest.substr(0, 4), "orld");
    std::byte *last = chain.take_last();
    ASSERT_NE(last, nullptr);
    *last = std::byte{'!'};
    const std::string answer = "0123456789abcdefgh";
    EXPECT_EQ(scatter(chain.writable(), std::as_bytes(std::span{answer})), 15u);
    EXPECT_EQ(driver.text(data + 0x100, 16), "0123456789abcde!");
    queue.push(chain.head, 16);
    EXPECT_EQ(driver.used_index(), 0);
    queue.publish();
    EXPECT_EQ(driver.used_index(), 1);
    EXPECT_EQ(driver.used(0), (std::pair<std::uint32_t, std::uint32_t>{3, 16}));
    EXPECT_EQ(signals.used, 1u);
    EXPECT_FALSE(queue.pop(chain));
    EXPECT_EQ(signals.resets, 0u);
}

TEST_F(QueueTest, IndirectTables) {
    ASSERT_TRUE(start());
    driver.descriptor(Driver::indirect_at, 0, data, 4, 1, 2);
    driver.descriptor(Driver::indirect_at, 2, data + 64, 4, 2, 0);
    driver.descriptor(Driver::table_at, 1, Driver::indirect_at, 48, 4, 0);
    driver.make_available(1);
    ASSERT_TRUE(queue.pop(chain));
    EXPECT_EQ(Chain::bytes(chain.readable()), 4u);
    EXPECT_EQ(Chain::bytes(chain.writable()), 4u);
}

TEST_F(QueueTest, WhateverBreaksTheRulesStopsTheQueue) {
    const auto breaks = [&](const char *what, auto prepare) {
        RecordingSignals told;
        Driver guest{8};
        Queue broken{0, 8, told};
        ASSERT_TRUE(broken.start(guest.ram(), guest.rings(), false));
        prepare(guest);
        EXPECT_FALSE(broken.pop(chain)) << what;
        EXPECT_EQ(told.resets, 1u) << what;
        EXPECT_FALSE(broken.running()) << what;
        EXPECT_FALSE(broken.wait_for_more()) << what;
    };
    breaks("loop", [](Driver &g) {
        g.descriptor(Driver::table_at, 0, data, 1, 1, 0);
        g.make_available(0);
    });
    breaks("head outside", [](Driver &g) { g.make_available(8); });
    breaks("next outside", [](Driver &g) {
        g.descriptor(Driver::table_at, 0, data, 1, 1, 9);
        g.make_available(0);
    });
    breaks("no memory", [](Driver &g) { g.offer(0, {{0x100, 1, false}}); });
    breaks("past memory", [](Driver &g) { g.offer(0, {{data, 0xffff'ffff, false}}); });
    breaks("read after write", [](Driver &g) { g.offer(0, {{data, 1, true}, {data, 1, false}}); });
    breaks("indirect in indirect", [](Driver &g) {
        g.descriptor(Driver::indirect_at, 0, Driver::indirect_at, 16, 4, 0);
        g.descriptor(Driver::table_at, 0, Driver::indirect_at, 16, 4, 0);
        g.make_available(0);
    });
    breaks("indirect with next", [](Driver &g) {
        g.descriptor(Driver::table_at, 0, Driver::indirect_at, 16, 5, 1);
        g.make_available(0);
    });
    breaks("odd indirect table", [](Driver &g) {
        g.descriptor(Driver::table_at, 0, Driver::indirect_at, 17, 4, 0);
        g.make_available(0);
    });
    breaks("loop in an indirect table", [](Driver &g) {
        g.descriptor(Driver::indirect_at, 0, data, 1, 1, 0);
        g.descriptor(Driver::table_at, 0, Driver::indirect_at, 0xc000, 4, 0);
        g.make_available(0);
    });
    breaks("more available than there are",
           [](Driver &g) { g.ram().put<std::uint16_t>(Driver::avail_at + 2, 9); });
}

TEST_F(QueueTest, SignalsOnlyWhenWanted) {
    ASSERT_TRUE(start());
    driver.ram().put<std::uint16_t>(Driver::avail_at, 1);
    driver.offer(0, {{data, 1, true}});
    ASSERT_TRUE(queue.pop(chain));
    queue.push(0, 0);
    queue.publish();
    EXPECT_EQ(signals.used, 0u);
    queue.dont_signal();
    EXPECT_EQ(driver.ram().get<std::uint16_t>(Driver::used_at), 1u);
    EXPECT_FALSE(queue.wait_for_more());
    EXPECT_EQ(driver.ram().get<std::uint16_t>(Driver::used_at), 0u);
    driver.make_available(0);
    EXPECT_TRUE(queue.wait_for_more());
}

TEST_F(QueueTest, EventIndexNamesTheOneThatIsWaitedFor) {
    ASSERT_TRUE(start(true));
    driver.set_used_event(2); // after the third
    for (unsigned round = 0; round < 3; ++round) {
        driver.offer(0, {{data, 1, true}});
        ASSERT_TRUE(queue.pop(chain));
        queue.push(0, 0);
        queue.publish();
        EXPECT_EQ(signals.used, round == 2 ? 1u : 0u);
    }
    EXPECT_FALSE(queue.wait_for_more());
    EXPECT_EQ(driver.avail_event(), 3);
    // Several at once, the awaited one among them.
    driver.set_used_event(4);
    for (unsigned round = 0; round < 3; ++round) {
        driver.make_available(0);
        ASSERT_TRUE(queue.pop(chain));
        queue.push(0, 0);
    }
    queue.publish();
    EXPECT_EQ(signals.used, 2u);
    EXPECT_EQ(driver.used_index(), 6);
}

TEST_F(QueueTest, IndicesWrap) {
    ASSERT_TRUE(start(true));
    for (unsigned round = 0; round < 70000; ++round) {
        driver.set_used_event(static_cast<std::uint16_t>(round));
        driver.offer(static_cast<std::uint16_t>(round % 8), {{data, 1, true}});
        ASSERT_TRUE(queue.pop(chain));
        queue.push(chain.head, round);
        queue.publish();
        ASSERT_EQ(driver.used(round).second, round);
        ASSERT_EQ(signals.used, round + 1);
    }
}

TEST_F(QueueTest, AnyMemoryIsSurvived) {
    std::mt19937 random(20261121);
    for (unsigned round = 0; round < 3000; ++round) {
        ASSERT_TRUE(start(round % 2 != 0));
        for (unsigned i = 0; i < 200; ++i) {
            const auto at = Driver::base + random() % 0x3100;
            driver.ram().put(at, static_cast<std::uint8_t>(random() % 4 ? random() % 8 : random()));
            if (random() % 3 == 0)
                driver.ram().put(Driver::table_at + 16 * (random() % 8) + 0,
                                 data + random() % 0x100);
        }
        for (unsigned i = 0; i < 10 && queue.pop(chain); ++i) {
            static_cast<void>(chain.take_last());
            std::array<std::byte, 16> header;
            chain.take(header);
            for (const iovec &segment : chain.writable())
                std::memset(segment.iov_base, 0xee, segment.iov_len);
            queue.push(chain.head, 1);
            queue.publish();
        }
    }
}

} // namespace
} // namespace machine::virtio
