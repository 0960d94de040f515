// SPDX-License-Identifier: GPL-2.0-only
#include "assist/string_io.hpp"

#include "assist/control_bits.hpp"
#include <cstring>

#include "fixture.hpp"

namespace assist_test {
namespace {

class FakePorts final : public assist::PortAccess {
  public:
    std::uint32_t in(std::uint16_t port, unsigned size) override {
        log.push_back({'r', port, size, next});
        return next++;
    }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override {
        log.push_back({'w', port, size, value});
    }
    void in_many(std::uint16_t port, unsigned size, std::span<std::byte> to) override {
        ++batches;
        for (std::size_t at = 0; at < to.size(); at += size) {
            const std::uint32_t value = in(port, size);
            std::memcpy(&to[at], &value, size);
        }
    }
    void out_many(std::uint16_t port, unsigned size, std::span<const std::byte> from) override {
        ++batches;
        for (std::size_t at = 0; at < from.size(); at += size) {
            std::uint32_t value = 0;
            std::memcpy(&value, &from[at], size);
            out(port, size, value);
        }
    }
    unsigned batches = 0;
    std::uint32_t next = 0x11;
    std::vector<Touch> log;
};

class StringIo : public ::testing::Test {
  protected:
    Outcome complete(const assist::StringIo &io) {
        return assist::complete_string_io(guest.regs, {*guest.memory}, io, ports);
    }
    assist::StringIo io{.port = 0x1f0,
                        .size = 2,
                        .segment = HWV_DS,
                        .address_size = 8,
                        .next_rip = Guest::code + 2};
    Guest guest = Guest::long_mode();
    FakePorts ports;
};

TEST_F(StringIo, InputFillsMemory) {
    io.repeat = true;
    guest.regs.gpr[HWV_RDI] = 0x3000;
    guest.regs.gpr[HWV_RCX] = 3;
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_EQ(guest.memory->get<std::uint64_t>(0x3000), 0x0000'0013'0012'0011U);
    EXPECT_EQ(guest.regs.gpr[HWV_RDI], 0x3006U);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 0U);
    EXPECT_EQ(guest.regs.rip, Guest::code + 2);
    EXPECT_EQ(ports.log.size(), 3U);
}

TEST_F(StringIo, OutputReadsDownwardsThroughItsSegment) {
    io.is_write = true;
    io.size = 1;
    io.segment = HWV_GS;
    io.address_size = 4;
    guest.regs.segment[HWV_GS].base = 0x3000;
    guest.memory->put<std::uint16_t>(0x3100, 0xbbaa);
    guest.regs.gpr[HWV_RSI] = 0x101;
    guest.regs.rflags |= assist::flag_direction;
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_EQ(ports.log, (std::vector<Touch>{{'w', 0x1f0, 1, 0xbb}, {'w', 0x1f0, 1, 0xaa}}));
    EXPECT_EQ(guest.regs.gpr[HWV_RSI], 0xffU);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 0U) << "without REP the count is left alone";
}

TEST_F(StringIo, NoIterationsForACountOfZero) {
    io.repeat = true;
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_TRUE(ports.log.empty());
    EXPECT_EQ(guest.regs.rip, Guest::code + 2);
}

TEST_F(StringIo, DoesNotReadThePortForAnElementThatFaults) {
    io.repeat = true;
    guest.regs.gpr[HWV_RDI] = (1U << 30) - 4; // the identity map ends at 1 GiB
    guest.regs.gpr[HWV_RCX] = 5;
    EXPECT_EQ(complete(io).status, Status::fault);
    EXPECT_EQ(ports.log.size(), 2U);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 3U);
    EXPECT_EQ(guest.regs.cr2, 1U << 30);
    EXPECT_EQ(guest.regs.rip, Guest::code);
}

TEST_F(StringIo, ElementsInRamGoTogether) {
    io.repeat = true;
    io.is_write = true;
    guest.memory->put<std::uint64_t>(0x3ffc, 0x0004'0003'0002'0001); // across two pages
    guest.regs.gpr[HWV_RSI] = 0x3ffc;
    guest.regs.gpr[HWV_RCX] = 4;
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_EQ(ports.batches, 1U);
    EXPECT_EQ(ports.log,
              (std::vector<Touch>{
                  {'w', 0x1f0, 2, 1}, {'w', 0x1f0, 2, 2}, {'w', 0x1f0, 2, 3}, {'w', 0x1f0, 2, 4}}));
    EXPECT_EQ(guest.regs.gpr[HWV_RSI], 0x4004U);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 0U);
    EXPECT_EQ(guest.regs.rip, Guest::code + 2);
}

TEST_F(StringIo, DownwardsOrSteppingTheyGoOneByOne) {
    io.repeat = true;
    guest.regs.gpr[HWV_RDI] = 0x3004;
    guest.regs.gpr[HWV_RCX] = 3;
    guest.regs.rflags |= assist::flag_direction;
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_EQ(guest.memory->get<std::uint64_t>(0x3000), 0x0000'0011'0012'0013U);
    guest.regs.rflags &= ~assist::flag_direction;
    guest.regs.rflags |= assist::flag_trap;
    guest.regs.gpr[HWV_RCX] = 3;
    complete(io);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 2U);
    EXPECT_EQ(ports.batches, 0U);
}

TEST_F(StringIo, AddressesThatBeginAnewAreNoReasonToWriteElsewhere) {
    guest = Guest::real_mode();
    io.repeat = true;
    io.address_size = 2;
    guest.regs.segment[HWV_ES].base = 0x20000;
    guest.regs.gpr[HWV_RDI] = 0xfffc;
    guest.regs.gpr[HWV_RCX] = 4;
    EXPECT_EQ(complete(io).status, Status::done);
    EXPECT_EQ(guest.regs.gpr[HWV_RDI], 4U);
    EXPECT_EQ(guest.memory->get<std::uint32_t>(0x2fffc), 0x0012'0011U);
    EXPECT_EQ(guest.memory->get<std::uint32_t>(0x20000), 0x0014'0013U);
}

TEST_F(StringIo, IsBoundedPerCall) {
    io.repeat = true;
    guest.regs.gpr[HWV_RDI] = 0x3000;
    guest.regs.gpr[HWV_RCX] = 2049;
    EXPECT_EQ(complete(io).status, Status::again);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 1U);
    EXPECT_EQ(guest.regs.rip, Guest::code);
    EXPECT_EQ(complete(io).status, Status::done);
}

} // namespace
} // namespace assist_test
