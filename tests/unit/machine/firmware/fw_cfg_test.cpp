// SPDX-License-Identifier: GPL-2.0-only
#include "machine/firmware/fw_cfg.hpp"

#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <vector>

namespace machine::firmware {
namespace {

constexpr std::uint16_t selector = 0x510, data = 0x511, dma_high = 0x514, dma_low = 0x518;

class FwCfgTest : public testing::Test {
  protected:
    FwCfgTest() { EXPECT_TRUE(config_.attach(bus_)); }

    std::string bytes(unsigned count) {
        std::string text;
        for (; count > 0; --count)
            text += static_cast<char>(bus_.read(data, 1));
        return text;
    }
    // Runs an access structure at 0x1000 and returns its control word.
    std::uint32_t dma(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
        memory_.put(0x1000, __builtin_bswap32(control));
        memory_.put(0x1004, __builtin_bswap32(length));
        memory_.put(0x1008, __builtin_bswap64(address));
        bus_.write(dma_low, 4, __builtin_bswap32(0x1000));
        return __builtin_bswap32(memory_.get<std::uint32_t>(0x1000));
    }
    std::string ram(std::uint64_t gpa, unsigned count) {
        std::string text(count, '?');
        memory_.read(gpa, std::as_writable_bytes(std::span{text}));
        return text;
    }

    std::vector<std::byte> ram_ = std::vector<std::byte>(0x4000);
    GuestMemory memory_{{{0, ram_}}};
    PortBus bus_;
    FwCfg config_{memory_};
};

TEST_F(FwCfgTest, SaysWhoItIs) {
    bus_.write(selector, 2, FwCfg::signature);
    EXPECT_EQ(bytes(5), std::string("QEMU\0", 5));
    bus_.write(selector, 2, FwCfg::features);
    EXPECT_EQ(bytes(4), std::string("\3\0\0\0", 4));
    EXPECT_EQ(bus_.read(dma_high, 4), __builtin_bswap32(0x51454d55));
    EXPECT_EQ(bus_.read(dma_low, 4), __builtin_bswap32(0x20434647));
    EXPECT_EQ(bus_.read(selector, 2), 0xffffu);
}

TEST_F(FwCfgTest, AnItemThatIsNotThereIsZero) {
    bus_.write(selector, 2, 0x1234);
    EXPECT_EQ(bytes(2), std::string(2, '\0'));
}

TEST_F(FwCfgTest, FilesAreInTheDirectory) {
    config_.set_file("b", "second");
    config_.set_file("a", "first");
    config_.set_file("b", "2nd");
    bus_.write(selector, 2, FwCfg::file_directory);
    EXPECT_EQ(bytes(4), std::string("\0\0\0\2", 4));
    EXPECT_EQ(bytes(64), std::string("\0\0\0\5\0\x21\0\0a", 9) + std::string(55, '\0'));
    EXPECT_EQ(bytes(64), std::string("\0\0\0\3\0\x20\0\0b", 9) + std::string(55, '\0'));
    bus_.write(selector, 2, 0x20);
    EXPECT_EQ(bytes(4), std::string("2nd\0", 4));
}

TEST_F(FwCfgTest, NamesAreBounded) {
    EXPECT_NO_THROW(config_.set_file(std::string(55, 'x'), "."));
    EXPECT_THROW(config_.set_file(std::string(56, 'x'), "."), std::length_error);
    for (int file = 0; file < 255; ++file)
        config_.set_file(std::to_string(file), ".");
    EXPECT_THROW(config_.set_file("one too many", "."), std::length_error);
}

TEST_F(FwCfgTest, DmaSelectsSkipsReadsAndFillsWithZeros) {
    config_.set_file("f", "abcdef");
    memory_.put(0x2000, ~std::uint64_t{0});
    EXPECT_EQ(dma(0x20 << 16 | 8 | 4, 2, 0), 0u); // select and skip
    EXPECT_EQ(dma(2, 3, 0x2000), 0u);
    EXPECT_EQ(ram(0x2000, 4), "cde\xff");
    EXPECT_EQ(dma(2, 4, 0x2000), 0u);
    EXPECT_EQ(ram(0x2000, 5), std::string("f\0\0\0\xff", 5));
}

TEST_F(FwCfgTest, DmaRefusesWhatIsNoMemoryAndWhatWouldWrite) {
    config_.set_file("f", "abcdef");
    EXPECT_EQ(dma(0x20 << 16 | 8 | 2, 3, 0x3fff), 1u);
    EXPECT_EQ(dma(0x20 << 16 | 8 | 2, 0xffffffff, 0), 1u);
    EXPECT_EQ(dma(0x20 << 16 | 8 | 2, 4, ~std::uint64_t{0} - 1), 1u);
    EXPECT_EQ(dma(0x20 << 16 | 8 | 16, 4, 0x2000), 1u);
    EXPECT_EQ(dma(0x20 << 16 | 8, 0, 0), 0u);
    EXPECT_EQ(bytes(2), "ab"); // a refused read has moved nothing
}

TEST_F(FwCfgTest, AStructureOutsideOfMemoryIsIgnored) {
    bus_.write(dma_high, 4, 0xffffffff);
    bus_.write(dma_low, 4, 0xffffffff);
    bus_.write(dma_low, 4, __builtin_bswap32(0x3ffc));
    EXPECT_EQ(dma(0, 0, 0), 0u); // and the upper half of its address is forgotten
}

} // namespace
} // namespace machine::firmware
