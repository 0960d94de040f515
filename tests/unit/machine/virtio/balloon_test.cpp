// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/balloon.hpp"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>

#include "driver.hpp"
#include "machine/manual_loop.hpp"

namespace machine::virtio {
namespace {

// Pages of their own, full of something; the driver's rings are elsewhere.
class Pages {
  public:
    static constexpr std::uint64_t at = 0x100000, count = 16;
    Pages() : bytes_(static_cast<std::byte *>(std::aligned_alloc(4096, count * 4096))) {
        std::fill_n(bytes_, count * 4096, std::byte{0x5a});
    }
    ~Pages() { std::free(bytes_); }
    Pages(const Pages &) = delete;
    Pages &operator=(const Pages &) = delete;
    RamRegion region() { return {at, {bytes_, count * 4096}}; }
    // One letter for each page: full, zero, mixed.
    std::string text() const {
        std::string out;
        for (std::uint64_t page = 0; page < count; ++page) {
            const std::byte *first = bytes_ + page * 4096;
            const auto zeroes = std::count(first, first + 4096, std::byte{0});
            out += zeroes == 0 ? 'F' : zeroes == 4096 ? '.' : '?';
        }
        return out;
    }

  private:
    std::byte *bytes_;
};

constexpr std::uint64_t statistics = 2, oom = 4, reporting = 32;

class BalloonTest : public testing::Test, protected ManualLoop {
  protected:
    BalloonTest() {
        for (unsigned i = 0; i < 5; ++i)
            queues_.push_back(std::make_unique<Queue>(i, 16, signals_));
    }
    ~BalloonTest() override { balloon_.stop(); }
    void start(unsigned queue, std::uint64_t features) {
        queue_ = queue;
        queues_[queue]->start(ram_, driver_.rings(), false);
        balloon_.start(queues_, features, signals_);
    }
    void offer(const std::vector<Driver::Piece> &pieces) {
        driver_.offer(0, pieces);
        queues_[queue_]->ring();
        turn();
    }
    void turn() {
        for (unsigned i = 0; i < 8; ++i)
            loop_.run_ready();
    }
    void send(const std::vector<std::uint32_t> &numbers) {
        ram_.write(Driver::data_at, std::as_bytes(std::span{numbers}));
        offer({{Driver::data_at, static_cast<std::uint32_t>(4 * numbers.size()), false}});
    }
    static constexpr std::uint32_t first = Pages::at / 4096;

    Driver driver_{16};
    Pages pages_;
    GuestMemory ram_{{driver_.ram().regions()[0], pages_.region()}};
    RecordingSignals signals_;
    Queues queues_;
    Balloon balloon_{loop_, ram_};
    unsigned queue_ = 0;
};

TEST_F(BalloonTest, PagesThatAreGivenAreTheHosts) {
    start(0, oom);
    send({first + 9, first + 1, first + 3, first + 2});
    EXPECT_EQ(pages_.text(), "F...FFFFF.FFFFFF");
    EXPECT_EQ(balloon_.state().inflated, 4 * 4096u);
    EXPECT_EQ(driver_.used_index(), 1);
    EXPECT_TRUE(balloon_.state().driven);
}

TEST_F(BalloonTest, WhatIsNoRamIsLeftAlone) {
    start(0, oom);
    send({0, 0xffffffff, first - 1, first + 15, first + 16, 0x80000000});
    EXPECT_EQ(pages_.text(), "FFFFFFFFFFFFFFF.");
    EXPECT_EQ(balloon_.state().inflated, 4096u);
    offer({{Driver::data_at, 3, false}});
    EXPECT_EQ(balloon_.state().inflated, 4096u);
}

TEST_F(BalloonTest, DeflatingTakesNothing) {
    start(1, oom);
    send({first, first + 1});
    EXPECT_EQ(pages_.text(), "FFFFFFFFFFFFFFFF");
    EXPECT_EQ(driver_.used_index(), 1);
}

TEST_F(BalloonTest, ReportedPagesGoByWholePages) {
    start(2, reporting);
    offer({{Pages::at + 4096, 2 * 4096, true}, {Pages::at + 5 * 4096 + 1, 2 * 4096, true}});
    EXPECT_EQ(pages_.text(), "F..FFF.FFFFFFFFF");
    EXPECT_EQ(balloon_.state().reported, 3 * 4096u);
    EXPECT_TRUE(balloon_.state().reporting);
}

TEST_F(BalloonTest, TheLastQueueReportsTooWhateverIsBetween) {
    start(4, statistics | reporting);
    offer({{Pages::at, 4096, true}});
    EXPECT_EQ(pages_.text(), ".FFFFFFFFFFFFFFF");
}

TEST_F(BalloonTest, WithoutReportingNothingIsTaken) {
    start(4, statistics);
    offer({{Pages::at, 4096, true}});
    EXPECT_EQ(pages_.text(), "FFFFFFFFFFFFFFFF");
}

TEST_F(BalloonTest, TheTargetIsToldAndWhatTheGuestSaysKept) {
    balloon_.set_target(1 << 20);
    start(0, oom);
    EXPECT_EQ(balloon_.state().target, ram_.size()) << "no more than there is";
    balloon_.set_target(8 * 4096 + 1);
    EXPECT_EQ(signals_.changes, 1u);
    std::array<std::uint32_t, 2> shown{};
    std::memcpy(shown.data(), balloon_.configuration().data(), sizeof shown);
    EXPECT_EQ(shown[0], 8u);
    const std::uint32_t actual = 5;
    balloon_.write_configuration(4, std::as_bytes(std::span{&actual, 1}));
    balloon_.write_configuration(0, std::as_bytes(std::span{&actual, 1}));
    balloon_.write_configuration(6, std::as_bytes(std::span{&actual, 1}));
    balloon_.write_configuration(0xffffffff, std::as_bytes(std::span{&actual, 1}));
    EXPECT_EQ(balloon_.state().actual, 5 * 4096u);
    EXPECT_EQ(balloon_.state().target, 8 * 4096u);
    balloon_.stop();
    EXPECT_EQ(balloon_.state().actual, 0u);
    EXPECT_FALSE(balloon_.state().driven);
}

TEST_F(BalloonTest, StatisticsComeWhenAskedFor) {
    EXPECT_FALSE(balloon_.refresh());
    start(2, statistics);
    const auto tell = [&](std::uint64_t free) {
        std::string text;
        for (const auto &[tag, value] :
             std::vector<std::pair<std::uint16_t, std::uint64_t>>{{4, free}, {5, 77}, {99, 1}}) {
            text.append(reinterpret_cast<const char *>(&tag), 2);
            text.append(reinterpret_cast<const char *>(&value), 8);
        }
        driver_.put(Driver::data_at, text);
        offer({{Driver::data_at, static_cast<std::uint32_t>(text.size()), false}});
    };
    EXPECT_FALSE(balloon_.fresh());
    tell(1000);
    EXPECT_TRUE(balloon_.fresh());
    EXPECT_EQ(balloon_.state().guest.free, 1000u);
    EXPECT_EQ(balloon_.state().guest.total, 77u);
    EXPECT_FALSE(balloon_.state().guest.available);
    EXPECT_EQ(driver_.used_index(), 0) << "is kept";
    EXPECT_TRUE(balloon_.refresh());
    EXPECT_TRUE(balloon_.refresh());
    EXPECT_EQ(driver_.used_index(), 1);
    EXPECT_FALSE(balloon_.fresh());
    tell(2000);
    EXPECT_EQ(balloon_.state().guest.free, 2000u);
    tell(3000);
    EXPECT_EQ(driver_.used_index(), 2) << "one is kept, not two";
}

} // namespace
} // namespace machine::virtio
