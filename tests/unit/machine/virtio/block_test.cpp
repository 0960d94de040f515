// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/block.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <thread>

#include "driver.hpp"

namespace machine::virtio {
namespace {

constexpr std::uint64_t header = Driver::data_at, body = header + 0x1000, status = header + 0x800;

struct MemoryDisk final : storage::Disk {
    std::uint64_t bytes() const override { return content.size(); }
    bool read_only() const override { return locked; }
    int read(std::span<const iovec> to, std::uint64_t offset) noexcept override {
        for (const iovec &segment : to) {
            std::memcpy(segment.iov_base, content.data() + offset, segment.iov_len);
            offset += segment.iov_len;
        }
        return error;
    }
    int write(std::span<const iovec> from, std::uint64_t offset) noexcept override {
        for (const iovec &segment : from) {
            std::memcpy(content.data() + offset, segment.iov_base, segment.iov_len);
            offset += segment.iov_len;
        }
        return error;
    }
    int flush() noexcept override {
        ++flushes;
        return error;
    }
    int discard(std::uint64_t offset, std::uint64_t length) noexcept override {
        std::memset(content.data() + offset, 'd', length);
        return error;
    }
    int write_zeroes(std::uint64_t offset, std::uint64_t length, bool) noexcept override {
        std::memset(content.data() + offset, 0, length);
        return error;
    }
    std::string content = std::string(8192, 'c');
    bool locked = false;
    int error = 0;
    unsigned flushes = 0;
};

struct BlockTest : testing::Test {
    BlockTest() { EXPECT_TRUE(queue.start(driver.ram(), driver.rings(), false)); }
    void put_header(std::uint32_t type, std::uint64_t sector) {
        driver.ram().put(header, type);
        driver.ram().put(header + 8, sector);
        driver.ram().put(status, std::uint8_t{0xee});
    }
    // One request by hand: the status byte, 0xee if none was written.
    unsigned request(std::uint32_t type, std::uint64_t sector,
                     const std::vector<Driver::Piece> &data, std::uint32_t written) {
        put_header(type, sector);
        std::vector<Driver::Piece> pieces{{header, 16, false}};
        pieces.insert(pieces.end(), data.begin(), data.end());
        pieces.push_back({status, 1, true});
        driver.offer(0, pieces);
        BlockRequest request;
        EXPECT_TRUE(queue.pop(request.chain));
        request.transfer(disk, request.begin(disk, "serial"));
        EXPECT_EQ(request.written(), written);
        return driver.ram().get<std::uint8_t>(status);
    }
    RecordingSignals signals;
    Driver driver{16};
    Queue queue{0, 256, signals};
    MemoryDisk disk;
};

TEST_F(BlockTest, ReadsAndWrites) {
    driver.put(body, std::string(1024, 'w'));
    EXPECT_EQ(request(1, 2, {{body, 1000, false}, {body + 1000, 24, false}}, 1), 0u);
    EXPECT_EQ(disk.content.substr(1023, 1026), "c" + std::string(1024, 'w') + "c");
    EXPECT_EQ(request(0, 3, {{body + 0x1000, 512, true}, {body + 0x1200, 512, true}}, 1025), 0u);
    EXPECT_EQ(driver.text(body + 0x1000, 1024), std::string(512, 'w') + std::string(512, 'c'));
}

TEST_F(BlockTest, RefusesWhatLeavesTheDisk) {
    EXPECT_EQ(request(0, 16, {{body, 512, true}}, 1), 1u);
    EXPECT_EQ(request(0, 15, {{body, 1024, true}}, 1), 1u);
    EXPECT_EQ(request(0, ~std::uint64_t{0}, {{body, 512, true}}, 1), 1u);
    EXPECT_EQ(request(1, std::uint64_t{1} << 55, {{body, 512, false}}, 1), 1u);
    EXPECT_EQ(request(0, 0, {{body, 100, true}}, 1), 1u);
    EXPECT_EQ(request(0, 0, {}, 1), 1u);
    EXPECT_EQ(request(99, 0, {}, 1), 2u);
    disk.locked = true;
    EXPECT_EQ(request(1, 0, {{body, 512, false}}, 1), 1u);
    EXPECT_EQ(disk.content, std::string(8192, 'c'));
    disk.error = EIO;
    EXPECT_EQ(request(0, 0, {{body, 512, true}}, 1), 1u);
}

TEST_F(BlockTest, RequestsWithoutHeaderOrStatusEnd) {
    BlockRequest request;
    driver.offer(0, {{header, 15, false}, {status, 1, true}});
    ASSERT_TRUE(queue.pop(request.chain));
    EXPECT_EQ(request.begin(disk, ""), BlockRequest::Next::done);
    EXPECT_EQ(driver.ram().get<std::uint8_t>(status), 1u);
    driver.offer(0, {{header, 16, false}});
    ASSERT_TRUE(queue.pop(request.chain));
    EXPECT_EQ(request.begin(disk, ""), BlockRequest::Next::done);
    EXPECT_EQ(request.written(), 0u);
}

TEST_F(BlockTest, FlushSerialAndRanges) {
    EXPECT_EQ(request(4, 0, {}, 1), 0u);
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_EQ(request(8, 0, {{body, 20, true}}, 21), 0u);
    EXPECT_EQ(driver.text(body, 7), std::string("serial\0", 7));
    const auto range = [&](std::uint64_t sector, std::uint32_t count, std::uint32_t flags) {
        driver.ram().put(body, sector);
        driver.ram().put(body + 8, count);
        driver.ram().put(body + 12, flags);
    };
    range(1, 2, 0);
    EXPECT_EQ(request(11, 0, {{body, 16, false}}, 1), 0u);
    EXPECT_EQ(disk.content.substr(512, 1024), std::string(1024, 'd'));
    range(1, 1, 1);
    EXPECT_EQ(request(11, 0, {{body, 16, false}}, 1), 2u);
    EXPECT_EQ(request(13, 0, {{body, 16, false}}, 1), 0u);
    EXPECT_EQ(disk.content.substr(512, 513), std::string(512, '\0') + "d");
    range(15, 2, 0);
    EXPECT_EQ(request(13, 0, {{body, 16, false}}, 1), 1u);
    range(0, 1, 0);
    EXPECT_EQ(request(13, 0, {{body, 15, false}}, 1), 1u);
    EXPECT_EQ(request(13, 0, {{body, 16, false}, {body, 16, false}}, 1), 1u);
}

// The thread: every request that is offered comes back, also those on their way when it ends.
TEST(BlockWorker, AnswersAllAndEnds) {
    for (const char *aio : {",aio=uring", ",aio=threads"}) {
        std::string path = testing::TempDir() + "hwv-worker-XXXXXX";
        ::close(mkstemp(path.data()));
        ASSERT_EQ(truncate(path.c_str(), 1 << 20), 0);
        const auto options = storage::parse_disk(path + aio);
        const auto disk = storage::open_disk(options);
        RecordingSignals signals;
        Driver driver{16};
        Queue queue{0, 256, signals};
        ASSERT_TRUE(queue.start(driver.ram(), driver.rings(), true));
        std::uint16_t offered = 0;
        for (unsigned round = 0; round < 20; ++round) {
            BlockWorker worker(queue, *disk, "", options.io_uring);
            for (unsigned i = 0; i < 4; ++i, ++offered) {
                driver.ram().put(header, std::uint32_t{offered % 2u});
                driver.ram().put(header + 8, std::uint64_t{i});
                driver.set_used_event(offered);
                driver.offer(
                    0, {{header, 16, false}, {body, 512, offered % 2 == 0}, {status, 1, true}});
                queue.ring();
                for (unsigned wait = 0; wait < 5000 && driver.used_index() == offered; ++wait)
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                ASSERT_EQ(driver.used_index(), offered + 1) << aio;
            }
        }
        EXPECT_EQ(signals.used, offered);
        EXPECT_EQ(signals.resets, 0u);
        std::remove(path.c_str());
    }
}

} // namespace
} // namespace machine::virtio
