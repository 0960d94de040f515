// SPDX-License-Identifier: GPL-2.0-only
#define VIRTIO_RING_NO_LEGACY
#include "machine/virtio/vhost_net.hpp"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <map>
#include <sys/eventfd.h>

#include "driver.hpp"
#include "machine/fakes.hpp"
#include "machine/timers.hpp"

namespace machine::virtio {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t version_1 = std::uint64_t{1} << 32, event_index = 1u << 29,
                        indirect = 1u << 28, merged = 1u << 15;

// The host's kernel: what it was asked for, in words.
struct Kernel {
    std::uint64_t offers = version_1 | event_index | indirect | merged | 1u << 24;
    std::vector<std::string> asked;
    std::string refuses; // a request that starts so
    std::map<std::string, int> events;
    std::map<unsigned, vhost_vring_addr> rings;
    std::vector<vhost_memory_region> memory;

    int operator()(unsigned long request, void *argument) {
        const std::string text = say(request, argument);
        if (!refuses.empty() && text.starts_with(refuses)) {
            errno = EFAULT;
            return -1;
        }
        asked.push_back(text);
        return 0;
    }
    std::string say(unsigned long request, void *argument) {
        const auto file = [&](const std::string &name) {
            const auto *of = static_cast<vhost_vring_file *>(argument);
            const std::string text = name + std::to_string(of->index);
            events[text] = of->fd;
            return text;
        };
        const auto state = [&](const std::string &name) {
            const auto *of = static_cast<vhost_vring_state *>(argument);
            return name + std::to_string(of->index) + "=" + std::to_string(of->num);
        };
        switch (request) {
        case TUNSETVNETHDRSZ: return "header=" + std::to_string(*static_cast<int *>(argument));
        case TUNSETOFFLOAD:
            return "offload=" + std::to_string(reinterpret_cast<std::uintptr_t>(argument));
        case VHOST_SET_OWNER: return "owner";
        case VHOST_GET_FEATURES: *static_cast<std::uint64_t *>(argument) = offers; return "offers";
        case VHOST_SET_FEATURES:
            return "features=" + std::to_string(*static_cast<std::uint64_t *>(argument));
        case VHOST_SET_MEM_TABLE: {
            const auto *table = static_cast<vhost_memory *>(argument);
            memory.assign(table->regions, table->regions + table->nregions);
            return "memory";
        }
        case VHOST_SET_VRING_NUM: return state("size");
        case VHOST_SET_VRING_BASE: return state("base");
        case VHOST_SET_VRING_ADDR: {
            const auto *of = static_cast<vhost_vring_addr *>(argument);
            rings[of->index] = *of;
            return "rings" + std::to_string(of->index);
        }
        case VHOST_SET_VRING_KICK: return file("kick");
        case VHOST_SET_VRING_CALL: return file("call");
        case VHOST_SET_VRING_ERR: return file("error");
        case VHOST_NET_SET_BACKEND:
            return file("tap") +
                   (static_cast<vhost_vring_file *>(argument)->fd < 0 ? " off" : " on");
        default: return "unknown request";
        }
    }
};

struct Card final : Signals {
    void queue_used(unsigned queue) noexcept override { used.push_back(queue); }
    void configuration_changed() noexcept override {}
    void needs_reset() noexcept override { ++resets; }
    int event(unsigned queue) const noexcept override { return messages[queue].get(); }
    std::vector<unsigned> used;
    unsigned resets = 0;
    std::array<Fd, 2> messages;
};

Fd event() { return Fd(eventfd(0, EFD_NONBLOCK)); }

bool signalled(int fd) {
    eventfd_t count = 0;
    return eventfd_read(fd, &count) == 0;
}

class VhostNetTest : public testing::Test {
  protected:
    VhostNetTest() {
        for (const unsigned i : {0u, 1u}) {
            queues_.push_back(std::make_unique<Queue>(i, 256, card_));
            card_.messages[i] = event();
        }
    }
    std::unique_ptr<net::Vhost> vhost() {
        return std::make_unique<net::Vhost>(event(), event(), driver_.ram(),
                                            [this](int, unsigned long request, void *argument) {
                                                return kernel_(request, argument);
                                            });
    }
    VhostNet &net() {
        if (!net_)
            net_ = std::make_unique<VhostNet>(loop_, vhost(), net::Mac{2, 0, 0, 0, 0, 1},
                                              [this](const std::string &t) { told_.push_back(t); });
        return *net_;
    }
    bool start(std::uint64_t features, unsigned running = 2) {
        for (unsigned i = 0; i < running; ++i)
            EXPECT_TRUE(queues_[i]->start(driver_.ram(), driver_.rings(), true));
        VhostNet &card = net();
        kernel_.asked.clear();
        return card.start(queues_, features, card_);
    }
    void turn() {
        for (unsigned i = 0; i < 5; ++i)
            loop_.run_ready();
    }
    ManualClock clock_;
    std::mutex lock_;
    TimerQueue timers_{clock_};
    EventLoop loop_{lock_, timers_};
    Driver driver_{8};
    Kernel kernel_;
    Card card_;
    Queues queues_;
    std::vector<std::string> told_;
    std::unique_ptr<VhostNet> net_;
};

TEST_F(VhostNetTest, ShowsTheKernelTheMemoryAndTheHeader) {
    net();
    EXPECT_THAT(kernel_.asked, ElementsAre("header=12", "owner", "offers", "memory"));
    ASSERT_EQ(kernel_.memory.size(), 1u);
    EXPECT_EQ(kernel_.memory[0].guest_phys_addr, Driver::base);
    EXPECT_EQ(kernel_.memory[0].memory_size, driver_.ram().size());
    EXPECT_EQ(kernel_.memory[0].userspace_addr,
              reinterpret_cast<std::uintptr_t>(driver_.ram().regions()[0].bytes.data()));
    EXPECT_EQ(net().configuration()[5], std::byte{1});
}

TEST_F(VhostNetTest, AKernelThatDoesNotDoIsRefused) {
    for (const char *request : {"header", "owner", "offers", "memory"}) {
        kernel_.refuses = request;
        EXPECT_THROW(vhost(), std::runtime_error) << request;
    }
    kernel_.refuses.clear();
    kernel_.offers &= ~merged;
    EXPECT_THROW(vhost(), std::runtime_error);
}

TEST_F(VhostNetTest, GivesTheQueuesAndTakesThemBack) {
    const std::uint64_t known = version_1 | merged | event_index;
    ASSERT_TRUE(start(known | net_features | 1));
    EXPECT_THAT(kernel_.asked,
                ElementsAre("offload=0", "features=" + std::to_string(known), "size0=8", "base0=0",
                            "rings0", "kick0", "error0", "call0", "tap0 on", "size1=8", "base1=0",
                            "rings1", "kick1", "error1", "call1", "tap1 on"));
    const auto *ram = driver_.ram().regions()[0].bytes.data();
    EXPECT_EQ(kernel_.rings[1].desc_user_addr, reinterpret_cast<std::uintptr_t>(ram));
    EXPECT_EQ(kernel_.rings[1].avail_user_addr, reinterpret_cast<std::uintptr_t>(ram) + 0x1000);
    EXPECT_EQ(kernel_.rings[1].used_user_addr, reinterpret_cast<std::uintptr_t>(ram) + 0x2000);
    for (const unsigned i : {0u, 1u}) {
        EXPECT_EQ(kernel_.events["call" + std::to_string(i)], card_.messages[i].get());
        EXPECT_EQ(kernel_.events["kick" + std::to_string(i)], queues_[i]->doorbell());
        EXPECT_TRUE(signalled(queues_[i]->doorbell())) << "what was there before is not seen";
    }
    kernel_.asked.clear();
    net().stop();
    EXPECT_THAT(kernel_.asked, ElementsAre("tap0 off", "tap1 off", "offload=0", "features=0"));
    kernel_.asked.clear();
    net().stop();
    EXPECT_TRUE(kernel_.asked.empty());
    EXPECT_TRUE(start(version_1));
    kernel_.asked.clear();
    net_.reset();
    EXPECT_THAT(kernel_.asked, testing::Contains("tap1 off"));
    EXPECT_TRUE(told_.empty());
}

TEST_F(VhostNetTest, AQueueThatDoesNotRunStaysHere) {
    ASSERT_TRUE(start(version_1, 1));
    EXPECT_THAT(kernel_.asked, testing::Contains("tap0 on"));
    EXPECT_THAT(kernel_.asked, testing::Not(testing::Contains("size1=8")));
}

// The kernel takes no segmentation without checksums, and no congestion without segmentation.
TEST_F(VhostNetTest, OffloadsAreThoseThatGoTogether) {
    constexpr std::uint64_t sums = 1u << 1, tso4 = 1u << 7, tso6 = 1u << 8, ecn = 1u << 9;
    const std::map<std::uint64_t, unsigned> expected{
        {0, 0},
        {sums, TUN_F_CSUM},
        {tso4 | ecn, 0},
        {sums | ecn, TUN_F_CSUM},
        {sums | tso4, TUN_F_CSUM | TUN_F_TSO4},
        {sums | tso4 | tso6 | ecn, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN}};
    for (const auto &[features, offloads] : expected) {
        ASSERT_TRUE(start(version_1 | features));
        EXPECT_EQ(kernel_.asked[0], "offload=" + std::to_string(offloads));
        net().stop();
    }
}

TEST_F(VhostNetTest, WithoutMessagesTheLoopInterrupts) {
    card_.messages = {};
    ASSERT_TRUE(start(version_1));
    eventfd_write(kernel_.events["call1"], 1);
    turn();
    EXPECT_THAT(card_.used, ElementsAre(1));
    kernel_.asked.clear();
    net().events_moved();
    EXPECT_TRUE(kernel_.asked.empty());
    // The driver turns MSI-X on: what was signalled before that is not lost.
    card_.messages = {event(), event()};
    net().events_moved();
    EXPECT_THAT(kernel_.asked, ElementsAre("call0", "call1"));
    EXPECT_EQ(kernel_.events["call0"], card_.messages[0].get());
    EXPECT_TRUE(signalled(card_.messages[0].get()));
    net().stop();
    net().events_moved();
    eventfd_write(kernel_.events["call1"], 1);
    turn();
    EXPECT_EQ(card_.used.size(), 1u);
}

TEST_F(VhostNetTest, BrokenQueuesWaitForAReset) {
    ASSERT_TRUE(start(version_1));
    for (unsigned round = 1; round < 3; ++round) {
        kernel_.asked.clear();
        eventfd_write(kernel_.events["error0"], 3);
        turn();
        EXPECT_EQ(card_.resets, round);
        EXPECT_THAT(kernel_.asked, ElementsAre("tap0 off", "tap1 off"));
        EXPECT_EQ(told_.size(), 1u) << "said more than once";
        net().stop();
        ASSERT_TRUE(start(version_1));
    }
    // One that came with the end of the last driver is not of the next.
    net().stop();
    eventfd_write(kernel_.events["error0"], 1);
    net().stop();
    turn();
    EXPECT_EQ(card_.resets, 2u);
}

TEST_F(VhostNetTest, WhatTheKernelRefusesIsSaidOnce) {
    for (const char *request : {"features", "size1", "base0", "rings1", "kick0", "error1", "call0",
                                "tap1 on", "offload"}) {
        net();
        kernel_.refuses = request;
        EXPECT_FALSE(start(version_1)) << request;
        EXPECT_EQ(kernel_.asked.end(),
                  std::find(kernel_.asked.begin(), kernel_.asked.end(), "tap1 on"));
        const auto times = [this](const char *what) {
            return std::count(kernel_.asked.begin(), kernel_.asked.end(), what);
        };
        EXPECT_EQ(times("tap0 off"), times("tap0 on")) << request;
    }
    ASSERT_EQ(told_.size(), 1u);
    EXPECT_THAT(told_[0], testing::HasSubstr("VHOST_SET_FEATURES: Bad address"));
    kernel_.refuses.clear();
    EXPECT_TRUE(start(version_1));
    kernel_.refuses = "call1";
    card_.messages[1] = event();
    net().events_moved();
    EXPECT_EQ(card_.resets, 1u);
}

} // namespace
} // namespace machine::virtio
