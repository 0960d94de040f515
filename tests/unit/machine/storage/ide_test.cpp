// SPDX-License-Identifier: GPL-2.0-only
#include <cstring>
#include <gtest/gtest.h>
#include <string>

#include "machine/fakes.hpp"
#include "machine/storage/ata_disk.hpp"
#include "machine/storage/atapi_cd.hpp"
#include "machine/storage/ide_channel.hpp"
#include "machine/storage/memory_disk.hpp"

namespace machine::storage {
namespace {

constexpr std::uint16_t base = 0x1f0, control = 0x3f6;
constexpr std::uint8_t ready = 0x50, asks = 0x58, failed = 0x51;

class IdeTest : public testing::Test {
  protected:
    IdeTest() {
        EXPECT_TRUE(channel_.attach(bus_, base, control));
        auto disk = std::make_unique<MemoryDisk>(4096);
        disk_ = disk.get();
        channel_.plug(0, std::make_unique<AtaDisk>(std::move(disk), "S1"));
        auto disc = std::make_unique<MemoryDisk>(400);
        disc_ = disc.get();
        channel_.plug(1, std::make_unique<AtapiCd>(std::move(disc)));
    }
    void out(unsigned at, unsigned value) {
        bus_.write(static_cast<std::uint16_t>(base + at), 1, value);
    }
    unsigned in(unsigned at) { return bus_.read(static_cast<std::uint16_t>(base + at), 1); }
    unsigned status() { return bus_.read(control, 1); }
    void command(unsigned code, std::uint32_t lba, unsigned count, unsigned device = 0xe0) {
        out(6, device | lba >> 24);
        out(2, count);
        out(3, lba);
        out(4, lba >> 8);
        out(5, lba >> 16);
        out(7, code);
    }
    // Words from the data port, the first byte of each.
    std::string words(unsigned count) {
        std::string text;
        for (; count > 0; --count)
            text += static_cast<char>(bus_.read(base, 2));
        return text;
    }
    void packet(std::initializer_list<unsigned> bytes, unsigned limit = 0xfffe, bool dma = false) {
        out(6, 0xb0);
        out(1, dma ? 1 : 0);
        out(4, limit);
        out(5, limit >> 8);
        out(7, 0xa0);
        EXPECT_EQ(status() & 0x89, 0x08u);
        EXPECT_EQ(in(2), 1u);
        std::array<std::uint8_t, 12> all{};
        std::copy(bytes.begin(), bytes.end(), all.begin());
        for (unsigned at = 0; at < 12; at += 2)
            bus_.write(base, 2, all[at] | all[at + 1] << 8);
    }
    unsigned take_interrupt() {
        const unsigned before = irqs_.level();
        in(7);
        EXPECT_FALSE(irqs_.level());
        return before;
    }
    // A descriptor table at 0x1000.
    void regions(std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> list) {
        std::uint64_t at = 0x1000;
        for (const auto &[address, count] : list) {
            memory_.put(at, address);
            memory_.put(at + 4, count);
            at += 8;
        }
        for (unsigned byte = 0; byte < 4; ++byte)
            channel_.write_master(4 + byte, static_cast<std::uint8_t>(0x1000u >> (8 * byte)));
    }

    std::vector<std::byte> ram_ = std::vector<std::byte>(0x80000);
    GuestMemory memory_{{{0, ram_}}};
    RecordingIrqs irqs_;
    PortBus bus_;
    IdeChannel channel_{IrqLine{irqs_, 14}, memory_};
    MemoryDisk *disk_ = nullptr, *disc_ = nullptr;
};

constexpr std::uint32_t last_region = 1u << 31;

TEST_F(IdeTest, SignaturesTellTheDrivesApart) {
    bus_.write(control, 1, 4);
    EXPECT_EQ(status(), 0x80u);
    bus_.write(control, 1, 0);
    EXPECT_EQ(in(7), ready);
    EXPECT_EQ(in(4) | in(5) << 8, 0u);
    out(6, 0xb0);
    EXPECT_EQ(in(4) | in(5) << 8, 0xeb14u);
    EXPECT_EQ(in(6) & 0x10, 0x10u);
}

TEST_F(IdeTest, ADriveThatIsNotThereReadsAsZero) {
    IdeChannel empty{IrqLine{irqs_, 15}, memory_};
    ASSERT_TRUE(empty.attach(bus_, 0x170, 0x376));
    bus_.write(0x177, 1, 0xec);
    EXPECT_EQ(bus_.read(0x177, 1), 0u);
    EXPECT_EQ(bus_.read(0x170, 2), 0u);
    EXPECT_EQ(irqs_.rises(), 0u);
}

TEST_F(IdeTest, Identify) {
    command(0xec, 0, 0);
    EXPECT_EQ(take_interrupt(), 1u);
    std::array<std::uint16_t, 256> word{};
    for (auto &w : word)
        w = static_cast<std::uint16_t>(bus_.read(base, 2));
    EXPECT_EQ(word[60] | word[61] << 16, 4096);
    EXPECT_EQ(word[100], 4096);
    EXPECT_EQ(word[10], 'S' << 8 | '1');
    EXPECT_EQ(word[3] * word[6] * word[1], 4 * 16 * 63);
    EXPECT_EQ(status(), ready);
}

TEST_F(IdeTest, SectorsAreReadOneInterruptEach) {
    command(0x20, 7, 2);
    EXPECT_EQ(status(), asks);
    EXPECT_EQ(take_interrupt(), 1u);
    EXPECT_EQ(words(256), std::string(256, 7));
    EXPECT_EQ(take_interrupt(), 1u);
    EXPECT_EQ(status(), asks);
    EXPECT_EQ(words(256), std::string(256, 8));
    EXPECT_EQ(status(), ready);
    EXPECT_EQ(take_interrupt(), 0u);
    EXPECT_EQ(words(1), std::string(1, 0)) << "nothing is left";
}

TEST_F(IdeTest, ByCylinderHeadAndSector) {
    out(6, 0xa1); // head 1
    out(2, 1);
    out(3, 2); // sectors count from 1
    out(4, 1); // cylinder
    out(5, 0);
    out(7, 0x20);
    EXPECT_EQ(words(1)[0], static_cast<char>((1 * 16 + 1) * 63 + 1));
    out(3, 0);
    out(7, 0x20);
    EXPECT_EQ(status(), failed);
    EXPECT_EQ(in(1), 0x10u);
}

TEST_F(IdeTest, WritesAndFlushes) {
    command(0x30, 9, 1);
    EXPECT_EQ(status(), asks);
    EXPECT_EQ(take_interrupt(), 0u);
    for (int word = 0; word < 256; ++word)
        bus_.write(base, 2, 0x4141);
    EXPECT_EQ(take_interrupt(), 1u);
    EXPECT_EQ(disk_->contents[9 * 512], std::byte{0x41});
    EXPECT_EQ(disk_->contents[10 * 512 - 1], std::byte{0x41});
    EXPECT_EQ(disk_->contents[10 * 512], std::byte{10});
    out(7, 0xe7);
    EXPECT_EQ(disk_->flushes, 1u);
}

TEST_F(IdeTest, ErrorsOfTheHostAndOfTheGuest) {
    command(0x20, 4096, 1);
    EXPECT_EQ(status(), failed);
    EXPECT_EQ(in(1), 0x10u);
    command(0x20, 4095, 2);
    EXPECT_EQ(status(), failed);
    command(0x03, 0, 0);
    EXPECT_EQ(in(1), 0x04u);
    disk_->broken = true;
    command(0x20, 0, 1);
    EXPECT_EQ(in(1), 0x40u);
    out(7, 0xe7);
    EXPECT_EQ(status(), failed);
    disk_->broken = false;
    disk_->locked = true;
    command(0x30, 0, 1);
    EXPECT_EQ(in(1), 0x04u);
}

TEST_F(IdeTest, WideAddresses) {
    out(6, 0xe0);
    for (unsigned at : {2u, 3u, 4u, 5u})
        out(at, 0); // the upper halves
    out(2, 1);
    out(3, 0x34);
    out(4, 0x02);
    out(5, 0);
    out(7, 0x24);
    EXPECT_EQ(words(1)[0], 0x34);
    EXPECT_EQ(in(3), 0x34u);
    bus_.write(control, 1, 0x80);
    EXPECT_EQ(in(3), 0u);
}

TEST_F(IdeTest, TheBusMasterMovesSectors) {
    regions({{0x20000, 512}, {0x30000, 512 | last_region}});
    channel_.write_master(2, 0x66);
    command(0xc8, 3, 2);
    EXPECT_EQ(channel_.read_master(2), 0x60);
    channel_.write_master(0, 9);
    EXPECT_EQ(channel_.read_master(2), 0x64);
    EXPECT_EQ(status(), ready);
    EXPECT_EQ(take_interrupt(), 1u);
    EXPECT_EQ(memory_.get<std::uint8_t>(0x201ff), 3);
    EXPECT_EQ(memory_.get<std::uint8_t>(0x20200), 0);
    EXPECT_EQ(memory_.get<std::uint8_t>(0x30000), 4);
    channel_.write_master(0, 0);
    channel_.write_master(2, 4);
    regions({{0x20000, 1024 | last_region}});
    channel_.write_master(0, 1); // the master first, then the command
    command(0xca, 20, 2);
    EXPECT_EQ(channel_.read_master(2) & 7, 4);
    EXPECT_EQ(disk_->contents[20 * 512], std::byte{3});
}

TEST_F(IdeTest, TheBusMasterStopsAtWhatIsNoMemory) {
    regions({{0x20000, 512}, {0x7ff00, 512 | last_region}});
    command(0xc8, 3, 2);
    channel_.write_master(0, 9);
    EXPECT_EQ(channel_.read_master(2) & 7, 6);
    EXPECT_EQ(status(), failed);
    channel_.write_master(0, 0);
    regions({{0x20000, 512 | last_region}}); // too little
    command(0xc8, 3, 2);
    channel_.write_master(0, 9);
    EXPECT_EQ(channel_.read_master(2) & 3, 2);
    channel_.write_master(0, 0);
    for (unsigned byte = 4; byte < 8; ++byte)
        channel_.write_master(byte, 0xff);
    command(0xc8, 3, 1);
    channel_.write_master(0, 9);
    EXPECT_EQ(status(), failed);
}

TEST_F(IdeTest, InterruptsCanBeForbidden) {
    bus_.write(control, 1, 2);
    command(0x20, 0, 1);
    EXPECT_FALSE(irqs_.level());
    bus_.write(control, 1, 0);
    EXPECT_TRUE(irqs_.level());
}

TEST_F(IdeTest, ADiscIsReadInBlocksOfItsOwn) {
    packet({0x28, 0, 0, 0, 0, 5, 0, 0, 1}, 1024);
    EXPECT_EQ(in(2), 2u);
    EXPECT_EQ(in(4) | in(5) << 8, 1024u);
    EXPECT_EQ(words(512).substr(255, 2), std::string("\x14\x15"));
    EXPECT_EQ(words(512).substr(511), std::string("\x17"));
    EXPECT_EQ(in(2), 3u);
    EXPECT_EQ(status() & 0x89, 0u);
}

TEST_F(IdeTest, ADiscByDma) {
    regions({{0x20000, 2048 | last_region}});
    packet({0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 0, true);
    channel_.write_master(0, 9);
    EXPECT_EQ(channel_.read_master(2) & 7, 4);
    EXPECT_EQ(memory_.get<std::uint8_t>(0x20000), 4);
    EXPECT_EQ(memory_.get<std::uint8_t>(0x207ff), 7);
}

TEST_F(IdeTest, SenseSaysWhatWasWrong) {
    packet({0x28, 0, 0, 0, 0, 100, 0, 0, 1});
    EXPECT_EQ(status() & 0x89, 1u);
    EXPECT_EQ(in(1) >> 4, 5u);
    packet({0x03, 0, 0, 0, 18});
    const std::string sense = words(9);
    EXPECT_EQ(sense[1], 5);
    EXPECT_EQ(sense[6], 0x21);
    packet({0xff});
    EXPECT_EQ(status() & 0x89, 1u);
    disc_->broken = true;
    packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
    EXPECT_EQ(in(1) >> 4, 3u);
}

TEST_F(IdeTest, CapacityTableOfContentsAndKind) {
    packet({0x25});
    EXPECT_EQ(words(4), std::string("\0\0\0\x08", 4)); // 99 as the last block: low bytes of words
    packet({0x43, 0, 0, 0, 0, 0, 0, 0, 20});
    EXPECT_EQ(in(4), 20u);
    words(10);
    packet({0x43, 0, 0, 0, 0, 0, 0, 0, 4}); // no more than asked for
    EXPECT_EQ(in(4), 4u);
    words(2);
    packet({0x12, 0, 0, 0, 36});
    EXPECT_EQ(bus_.read(base, 2), 0x8005u);
    out(6, 0xb0);
    out(7, 0xec);
    EXPECT_EQ(in(4) | in(5) << 8, 0xeb14u);
    EXPECT_EQ(status() & 0x89, 1u);
}

} // namespace
} // namespace machine::storage
