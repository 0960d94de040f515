// SPDX-License-Identifier: GPL-2.0-only
// What a CPU cannot be asked in a test: other modes, faults, devices, single steps, vector
// registers.
#include <numeric>

#include "assist/control_bits.hpp"
#include "fixture.hpp"

namespace assist_test {
namespace {

constexpr auto device = FakeMemory::device;
using Log = std::vector<Touch>;

TEST(Emulate, ReadsADeviceOnceWithTheOperandsSize) {
    auto guest = Guest::long_mode();
    guest.memory->registers[0x10] = std::byte{0x78};
    guest.memory->registers[0x13] = std::byte{0x12};
    guest.regs.gpr[HWV_RBX] = device;
    guest.regs.gpr[HWV_RAX] = ~0ULL;
    const auto outcome = guest.emulate({0x8b, 0x43, 0x10}); // mov 0x10(%rbx), %eax
    EXPECT_EQ(outcome.status, Status::done);
    EXPECT_EQ(outcome.dirty, HWV_REGS_GPR);
    EXPECT_EQ(guest.regs.gpr[HWV_RAX], 0x1200'0078U);
    EXPECT_EQ(guest.memory->log, (Log{{'r', device + 0x10, 4, 0x1200'0078}}));
    EXPECT_EQ(guest.regs.rip, Guest::code + 3);
}

TEST(Emulate, ReadsThenWritesForAReadModifyWrite) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = device;
    EXPECT_EQ(guest.emulate({0xf0, 0x80, 0x0b, 0x04}).status, Status::done); // lock orb $4, (%rbx)
    EXPECT_EQ(guest.memory->log, (Log{{'r', device, 1, 0}, {'w', device, 1, 4}}));
}

TEST(Emulate, DoesNotReadWhatItOnlyWrites) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = device;
    EXPECT_EQ(guest.emulate({0x66, 0xc7, 0x03, 0x34, 0x12}).status, Status::done);
    EXPECT_EQ(guest.emulate({0x0f, 0x94, 0x03}).status, Status::done); // sete (%rbx)
    EXPECT_EQ(guest.memory->log, (Log{{'w', device, 2, 0x1234}, {'w', device, 1, 0}}));
}

TEST(Emulate, TakesAbsoluteOffsets) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RAX] = 0x99;
    // movabs %al, 0x20000020
    EXPECT_EQ(guest.emulate({0xa2, 0x20, 0, 0, 0x20, 0, 0, 0, 0}).status, Status::done);
    EXPECT_EQ(guest.memory->log, (Log{{'w', device + 0x20, 1, 0x99}}));
}

TEST(Emulate, CountsRipRelativeAddressesFromTheNextInstruction) {
    auto guest = Guest::long_mode();
    guest.regs.rip = device - 0x1000;
    // cmpl $0, 0xff8(%rip): 7 bytes, so device - 0x1000 + 7 + 0xff9 is device
    EXPECT_EQ(guest.emulate({0x83, 0x3d, 0xf9, 0x0f, 0, 0, 0}).status, Status::done);
    EXPECT_EQ(guest.memory->log, (Log{{'r', device, 4, 0}}));
}

TEST(Emulate, SplitsAccessesAtPageBoundaries) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = device + 0xffd;
    guest.regs.gpr[HWV_RAX] = 0x8877'6655'4433'2211;
    EXPECT_EQ(guest.emulate({0x48, 0x89, 0x03}).status, Status::done);
    EXPECT_EQ(guest.memory->log, (Log{{'w', device + 0xffd, 2, 0x2211},
                                      {'w', device + 0xfff, 1, 0x33},
                                      {'w', device + 0x1000, 4, 0x7766'5544},
                                      {'w', device + 0x1004, 1, 0x88}}));
}

TEST(Emulate, FetchesWhatItWasNotGiven) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = device;
    guest.regs.rip = 0x1ffe;
    guest.memory->put<std::uint32_t>(0x1ffe, 0x1043'8b48); // mov 0x10(%rbx), %rax
    EXPECT_EQ(guest.emulate({}).status, Status::done);
    EXPECT_EQ(guest.regs.rip, 0x2002U);
    guest.regs.rip = 0x1ffe;
    EXPECT_EQ(guest.emulate({0x48, 0x8b}).status, Status::done);
    EXPECT_EQ(guest.memory->log.size(), 2U);
}

// The identity map of Guest::long_mode(), but 4 KiB pages for the first 2 MiB.
void split_low_pages(Guest &guest) {
    const auto directory = Guest::tables + 0x2000;
    const auto table = Guest::tables + 0x3000;
    guest.memory->put<std::uint64_t>(Guest::tables + 0x1000, directory | 7);
    guest.memory->put<std::uint64_t>(directory, table | 7);
    for (std::uint64_t i = 0; i < 512; ++i)
        guest.memory->put<std::uint64_t>(table + i * 8, i << 12 | 7);
    guest.memory->put<std::uint64_t>(directory + (device >> 21) * 8, device | 0x87);
}

void unmap(Guest &guest, std::uint64_t page) {
    guest.memory->put<std::uint64_t>(Guest::tables + 0x3000 + (page >> 12) * 8, 0);
}

TEST(Emulate, FaultsOnTheMissingHalfOfAnInstruction) {
    auto guest = Guest::long_mode();
    split_low_pages(guest);
    unmap(guest, 0x2000);
    guest.regs.rip = 0x1ffe;
    guest.memory->put<std::uint16_t>(0x1ffe, 0x8b48);
    const auto outcome = guest.emulate({});
    EXPECT_EQ(outcome.status, Status::fault);
    EXPECT_EQ(guest.regs.event.vector, 14);
    EXPECT_EQ(guest.regs.cr2, 0x2000U);
    EXPECT_EQ(guest.regs.event.error_code, 0x10U) << "a fetch, as EFER.NXE is set";
    EXPECT_EQ(guest.regs.rip, 0x1ffeU);
}

TEST(Emulate, ReportsPageFaultsAndTouchesNothing) {
    auto guest = Guest::long_mode();
    split_low_pages(guest);
    unmap(guest, 0x5000);
    guest.regs.gpr[HWV_RSI] = device;
    guest.regs.gpr[HWV_RDI] = 0x4ffe;
    const auto before = guest.regs;
    const auto outcome = guest.emulate({0xa5}); // movsl to a page that ends in a hole
    EXPECT_EQ(outcome.status, Status::fault);
    EXPECT_EQ(outcome.dirty & HWV_REGS_EVENT, HWV_REGS_EVENT);
    EXPECT_EQ(outcome.dirty & HWV_REGS_CONTROL, HWV_REGS_CONTROL);
    EXPECT_EQ(guest.regs.event.type, HWV_EVENT_EXCEPTION);
    EXPECT_EQ(guest.regs.event.vector, 14);
    EXPECT_EQ(guest.regs.event.has_error_code, 1);
    EXPECT_EQ(guest.regs.event.error_code, 2U);
    EXPECT_EQ(guest.regs.cr2, 0x5000U) << "the second page's address, not the access's";
    EXPECT_TRUE(guest.memory->log.empty()) << "the device was read for nothing";
    EXPECT_TRUE(
        std::equal(std::begin(before.gpr), std::end(before.gpr), std::begin(guest.regs.gpr)));
    EXPECT_EQ(guest.regs.rip, before.rip);
}

TEST(Emulate, KeepsTheFinishedIterationsOfAFaultingRep) {
    auto guest = Guest::long_mode();
    split_low_pages(guest);
    unmap(guest, 0x5000);
    guest.regs.gpr[HWV_RSI] = device;
    guest.regs.gpr[HWV_RDI] = 0x4ff4;
    guest.regs.gpr[HWV_RCX] = 10;
    EXPECT_EQ(guest.emulate({0xf3, 0xa5}).status, Status::fault);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 7U);
    EXPECT_EQ(guest.regs.gpr[HWV_RSI], device + 12);
    EXPECT_EQ(guest.regs.gpr[HWV_RDI], 0x5000U);
    EXPECT_EQ(guest.regs.rip, Guest::code);
    EXPECT_EQ(guest.memory->log.size(), 3U);
}

TEST(Emulate, BoundsARepByBytesPerCall) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RDI] = device;
    guest.regs.gpr[HWV_RCX] = 1500;
    EXPECT_EQ(guest.emulate({0xf3, 0xab}).status, Status::again);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 1500U - 1024);
    EXPECT_EQ(guest.regs.rip, Guest::code);
    EXPECT_EQ(guest.emulate({0xf3, 0xab}).status, Status::done);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 0U);
    EXPECT_EQ(guest.regs.rip, Guest::code + 2);
    EXPECT_EQ(guest.memory->log.size(), 1500U);
}

TEST(Emulate, ChecksTheRightsOfUserMode) {
    auto guest = Guest::long_mode();
    split_low_pages(guest);
    guest.enter_user();
    guest.memory->put<std::uint64_t>(Guest::tables + 0x3000 + 5 * 8, 0x5003); // supervisor
    guest.memory->put<std::uint64_t>(Guest::tables + 0x3000 + 6 * 8, 0x6005); // read-only
    guest.regs.gpr[HWV_RBX] = 0x5000;
    EXPECT_EQ(guest.emulate({0x8b, 0x03}).status, Status::fault);
    EXPECT_EQ(guest.regs.event.error_code, 5U);
    guest.regs.gpr[HWV_RBX] = 0x6000;
    EXPECT_EQ(guest.emulate({0x8b, 0x03}).status, Status::done);
    EXPECT_EQ(guest.emulate({0x89, 0x03}).status, Status::fault);
    EXPECT_EQ(guest.regs.event.error_code, 7U);
}

TEST(Emulate, RaisesAlignmentChecksForUsersWhoAsk) {
    auto guest = Guest::long_mode();
    guest.enter_user();
    guest.memory->put<std::uint64_t>(Guest::tables + 0x1000, 0x87);
    guest.regs.gpr[HWV_RBX] = device + 2;
    guest.regs.cr0 |= assist::cr0_am;
    EXPECT_EQ(guest.emulate({0x8b, 0x03}).status, Status::done);
    guest.regs.rflags |= assist::flag_alignment;
    EXPECT_EQ(guest.emulate({0x8b, 0x03}).status, Status::fault);
    EXPECT_EQ(guest.regs.event.vector, 17);
}

TEST(Emulate, RefusesNonCanonicalAddresses) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = 0x8000'0000'0000;
    EXPECT_EQ(guest.emulate({0x8b, 0x03}).status, Status::fault);
    EXPECT_EQ(guest.regs.event.vector, 13);
    guest.regs.gpr[HWV_RBP] = 0x7fff'ffff'fffd; // the last byte is beyond
    EXPECT_EQ(guest.emulate({0x8b, 0x45, 0x00}).status, Status::fault);
    EXPECT_EQ(guest.regs.event.vector, 12) << "through SS";
}

TEST(Emulate, AddsSegmentBasesInLongModeForFsAndGsAlone) {
    auto guest = Guest::long_mode();
    guest.regs.segment[HWV_GS].base = device;
    guest.regs.segment[HWV_DS].base = 0x100;
    guest.regs.gpr[HWV_RBX] = 0x40;
    guest.regs.gpr[HWV_RSI] = device;
    EXPECT_EQ(guest.emulate({0x65, 0x8b, 0x03}).status, Status::done);
    EXPECT_EQ(guest.emulate({0x8b, 0x06}).status, Status::done);
    EXPECT_EQ(guest.memory->log, (Log{{'r', device + 0x40, 4, 0}, {'r', device, 4, 0}}));
}

TEST(Emulate, ChecksSegmentsInProtectedMode) {
    const auto run = [](auto change, std::initializer_list<unsigned> bytes) {
        auto guest = Guest::protected_mode();
        guest.regs.gpr[HWV_RBX] = device;
        change(guest.regs.segment[HWV_DS]);
        return guest.emulate(bytes).status == Status::fault ? guest.regs.event.vector : 0;
    };
    const std::initializer_list<unsigned> load{0x8b, 0x03};
    const std::initializer_list<unsigned> store{0x89, 0x03};
    EXPECT_EQ(run([](auto &) {}, load), 0);
    EXPECT_EQ(run([](auto &s) { s.limit = device + 2; }, load), 13);
    EXPECT_EQ(run([](auto &s) { s.limit = device + 3; }, load), 0);
    EXPECT_EQ(run([](auto &s) { s.attributes |= 1 << 12; }, load), 13);
    EXPECT_EQ(run([](auto &s) { s.attributes &= ~2U; }, load), 0);
    EXPECT_EQ(run([](auto &s) { s.attributes &= ~2U; }, store), 13) << "read-only data";
    EXPECT_EQ(run([](auto &s) { s.attributes = 0xc9b; }, load), 0) << "readable code";
    EXPECT_EQ(run([](auto &s) { s.attributes = 0xc9b; }, store), 13);
    EXPECT_EQ(run([](auto &s) { s.attributes = 0xc99; }, load), 13) << "execute-only code";
    EXPECT_EQ(run([](auto &s) { s.attributes = 0xc97, s.limit = device - 1; }, load), 0);
    EXPECT_EQ(run([](auto &s) { s.attributes = 0xc97, s.limit = device; }, load), 13)
        << "expand-down";
}

TEST(Emulate, WrapsAddressesAt16Bits) {
    auto guest = Guest::real_mode();
    guest.regs.segment[HWV_DS].base = 0x1'0000;
    guest.memory->put<std::uint8_t>(0x1'0002, 0x77);
    guest.regs.gpr[HWV_RBX] = 0xfff0;
    guest.regs.gpr[HWV_RSI] = 0x12;
    EXPECT_EQ(guest.emulate({0x8a, 0x00}).status, Status::done); // mov (%bx,%si), %al
    EXPECT_EQ(guest.regs.gpr[HWV_RAX], 0x77U);
    guest.regs.gpr[HWV_RBX] = 0xffff;
    guest.regs.gpr[HWV_RSI] = 0;
    EXPECT_EQ(guest.emulate({0x8b, 0x00}).status, Status::fault) << "a word at the limit";
    EXPECT_EQ(guest.regs.event.vector, 13);
}

TEST(Emulate, RunsRealModeStringsWithSegments) {
    auto guest = Guest::real_mode();
    guest.regs.segment[HWV_ES].base = 0xb'8000;
    guest.regs.segment[HWV_FS].base = 0x3000;
    guest.memory->put<std::uint32_t>(0x3100, 0x0403'0201);
    guest.regs.gpr[HWV_RSI] = 0xffff'0100;
    guest.regs.gpr[HWV_RDI] = 0xffff'0010;
    guest.regs.gpr[HWV_RCX] = 0xffff'0002;
    EXPECT_EQ(guest.emulate({0xf3, 0x64, 0xa5}).status,
              Status::done); // rep movsw %fs:(%si), %es:(%di)
    EXPECT_EQ(guest.memory->get<std::uint32_t>(0xb'8010), 0x0403'0201U);
    EXPECT_EQ(guest.regs.gpr[HWV_RSI], 0xffff'0104U);
    EXPECT_EQ(guest.regs.gpr[HWV_RDI], 0xffff'0014U);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 0xffff'0000U);
}

TEST(Emulate, WritesToReadOnlyMemoryReachTheDevice) {
    auto guest = Guest::protected_mode();
    guest.memory->rom_start = 0x3000;
    guest.memory->rom_end = 0x4000;
    guest.memory->put<std::uint32_t>(0x3000, 5);
    guest.regs.gpr[HWV_RBX] = 0x3000;
    EXPECT_EQ(guest.emulate({0xff, 0x03}).status, Status::done); // incl (%ebx)
    EXPECT_EQ(guest.memory->log, (Log{{'w', 0x3000, 4, 6}}));
    EXPECT_EQ(guest.memory->get<std::uint32_t>(0x3000), 5U);
}

TEST(Emulate, CallsAndJumpsThroughMemory) {
    auto guest = Guest::long_mode();
    guest.memory->registers[8] = std::byte{0x40};
    guest.regs.gpr[HWV_RBX] = device;
    EXPECT_EQ(guest.emulate({0xff, 0x53, 0x08}).status, Status::done); // call *8(%rbx)
    EXPECT_EQ(guest.regs.rip, 0x40U);
    EXPECT_EQ(guest.regs.gpr[HWV_RSP], 0x7ff8U);
    EXPECT_EQ(guest.memory->get<std::uint64_t>(0x7ff8), Guest::code + 3);
    EXPECT_EQ(guest.emulate({0xff, 0x63, 0x08}).status, Status::done); // jmp *8(%rbx)
    EXPECT_EQ(guest.regs.rip, 0x40U);
    guest.memory->registers[15] = std::byte{0x80};
    EXPECT_EQ(guest.emulate({0xff, 0x53, 0x08}).status, Status::fault) << "not canonical";
    EXPECT_EQ(guest.regs.event.vector, 13);
    EXPECT_EQ(guest.regs.gpr[HWV_RSP], 0x7ff8U);
}

TEST(Emulate, StepsAndEndsTheInterruptShadow) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = device;
    guest.regs.event.shadow = HWV_SHADOW_STI;
    auto outcome = guest.emulate({0x8b, 0x03});
    EXPECT_EQ(outcome.dirty, HWV_REGS_GPR | HWV_REGS_EVENT);
    EXPECT_EQ(guest.regs.event.shadow, 0);

    guest.regs.rflags |= assist::flag_trap | assist::flag_resume;
    guest.regs.valid = HWV_REGS_ALL;
    guest.regs.gpr[HWV_RDI] = device;
    guest.regs.gpr[HWV_RCX] = 3;
    outcome = guest.emulate({0xf3, 0xaa}); // traps after each iteration
    EXPECT_EQ(outcome.status, Status::fault);
    EXPECT_EQ(outcome.dirty, HWV_REGS_GPR | HWV_REGS_EVENT | HWV_REGS_DEBUG);
    EXPECT_EQ(guest.regs.event.vector, 1);
    EXPECT_EQ(guest.regs.event.has_error_code, 0);
    EXPECT_EQ(guest.regs.dr6 & 1 << 14, 1U << 14);
    EXPECT_EQ(guest.regs.gpr[HWV_RCX], 2U);
}

TEST(Emulate, LeavesTheDeliveryOfAnEventAlone) {
    auto guest = Guest::long_mode();
    guest.regs.event.type = HWV_EVENT_INTERRUPT;
    guest.regs.gpr[HWV_RBX] = device;
    const std::array load{std::byte{0x8b}, std::byte{0x03}};
    EXPECT_EQ(assist::emulate(guest.regs, {*guest.memory}, load).status, Status::unsupported);
    EXPECT_EQ(guest.regs.event.type, HWV_EVENT_INTERRUPT);
    EXPECT_TRUE(guest.memory->log.empty());
}

TEST(Emulate, SaysWhatItDoesNotDo) {
    auto guest = Guest::long_mode();
    guest.regs.gpr[HWV_RBX] = device;
    const auto before = guest.regs;
    for (const auto &bytes : std::initializer_list<std::initializer_list<unsigned>>{
             {0x8e, 0x03},                         // mov (%rbx), %es
             {0xff, 0x2b},                         // ljmp *(%rbx)
             {0x0f, 0x6f, 0x03},                   // movq (%rbx), %mm0
             {0xd8, 0x03},                         // fadds (%rbx)
             {0x0f, 0x01, 0x13},                   // lgdt (%rbx)
             {0x62, 0xf1, 0x7e, 0x09, 0x6f, 0x03}, // vmovdqu32 (%rbx), %xmm0{%k1}
         }) {
        const auto outcome = guest.emulate(bytes);
        EXPECT_EQ(outcome.status, Status::unsupported);
        EXPECT_NE(std::string{outcome.problem}, "");
        EXPECT_EQ(outcome.dirty, 0U);
    }
    EXPECT_EQ(std::memcmp(&before, &guest.regs, sizeof before), 0);
    EXPECT_TRUE(guest.memory->log.empty());
}

class Vectors : public ::testing::Test {
  protected:
    Vectors() {
        guest.regs.gpr[HWV_RBX] = device;
        for (std::size_t i = 0; i < 0x1000; ++i)
            guest.memory->registers[i] = static_cast<std::byte>(i + 1);
        for (auto &value : guest.vectors.values)
            value.fill(std::byte{0xcc});
    }
    // Bytes 1, 2, 3 ... `loaded` of them, then zeros up to `cleared`, then what was there.
    void expect_register(unsigned index, unsigned loaded, unsigned cleared) {
        for (unsigned i = 0; i < 64; ++i) {
            const auto expected = i < loaded ? i + 1 : i < cleared ? 0 : 0xcc;
            ASSERT_EQ(std::to_integer<unsigned>(guest.vectors.values[index][i]), expected) << i;
        }
    }
    Guest guest = Guest::long_mode();
};

TEST_F(Vectors, LoadsKeepOrClearTheUpperPart) {
    struct Case {
        std::vector<unsigned> bytes;
        unsigned loaded;
        unsigned cleared;
    };
    for (const auto &[bytes, loaded, cleared] : std::vector<Case>{
             {{0xf3, 0x0f, 0x6f, 0x03}, 16, 16},             // movdqu (%rbx), %xmm0
             {{0x0f, 0x28, 0x03}, 16, 16},                   // movaps
             {{0x66, 0x0f, 0x6e, 0x03}, 4, 16},              // movd
             {{0xf3, 0x0f, 0x7e, 0x03}, 8, 16},              // movq
             {{0xf3, 0x0f, 0x10, 0x03}, 4, 16},              // movss
             {{0xf2, 0x0f, 0x10, 0x03}, 8, 16},              // movsd
             {{0xc5, 0xfa, 0x6f, 0x03}, 16, 64},             // vmovdqu (%rbx), %xmm0
             {{0xc5, 0xfe, 0x6f, 0x03}, 32, 64},             // vmovdqu (%rbx), %ymm0
             {{0x62, 0xf1, 0x7e, 0x48, 0x6f, 0x03}, 64, 64}, // vmovdqu32 (%rbx), %zmm0
             {{0xc5, 0xf9, 0x6e, 0x03}, 4, 64},              // vmovd
         }) {
        guest.vectors.values[0].fill(std::byte{0xcc});
        std::vector<std::byte> instruction;
        for (const auto byte : bytes)
            instruction.push_back(static_cast<std::byte>(byte));
        EXPECT_EQ(guest.emulate(instruction).status, Status::done);
        SCOPED_TRACE(::testing::PrintToString(bytes));
        expect_register(0, loaded, cleared);
    }
}

TEST_F(Vectors, LoadsHalves) {
    EXPECT_EQ(guest.emulate({0x66, 0x0f, 0x12, 0x0b}).status, Status::done); // movlpd, %xmm1
    expect_register(1, 8, 0);
    EXPECT_EQ(guest.emulate({0x66, 0x0f, 0x16, 0x13}).status, Status::done); // movhpd, %xmm2
    EXPECT_EQ(guest.vectors.values[2][7], std::byte{0xcc});
    EXPECT_EQ(guest.vectors.values[2][8], std::byte{1});
    EXPECT_EQ(guest.vectors.values[2][16], std::byte{0xcc});
    guest.vectors.values[5].fill(std::byte{0x55});
    EXPECT_EQ(guest.emulate({0xc5, 0xd1, 0x16, 0x1b}).status,
              Status::done); // vmovhpd, %xmm5, %xmm3
    EXPECT_EQ(guest.vectors.values[3][7], std::byte{0x55});
    EXPECT_EQ(guest.vectors.values[3][15], std::byte{8});
    EXPECT_EQ(guest.vectors.values[3][16], std::byte{0});
}

TEST_F(Vectors, StoresInPieces) {
    auto &value = guest.vectors.values[9];
    for (std::size_t i = 0; i < value.size(); ++i)
        value[i] = static_cast<std::byte>(0x40 + i);
    EXPECT_EQ(guest.emulate({0x66, 0x44, 0x0f, 0xe7, 0x0b}).status, Status::done); // movntdq %xmm9
    EXPECT_EQ(guest.memory->log, (Log{{'w', device, 8, 0x4746'4544'4342'4140},
                                      {'w', device + 8, 8, 0x4f4e'4d4c'4b4a'4948}}));
    EXPECT_EQ(guest.emulate({0x66, 0x44, 0x0f, 0x7e, 0x0b}).status, Status::done); // movd %xmm9
    EXPECT_EQ(guest.memory->log.back(), (Touch{'w', device, 4, 0x4342'4140}));
    EXPECT_EQ(guest.emulate({0x44, 0x0f, 0x17, 0x0b}).status, Status::done); // movhps %xmm9
    EXPECT_EQ(guest.memory->log.back(), (Touch{'w', device, 8, 0x4f4e'4d4c'4b4a'4948}));
}

TEST_F(Vectors, AlignedMovesMustBeAligned) {
    guest.regs.gpr[HWV_RBX] = device + 8;
    EXPECT_EQ(guest.emulate({0xf3, 0x0f, 0x6f, 0x03}).status, Status::done);
    EXPECT_EQ(guest.emulate({0x0f, 0x29, 0x03}).status, Status::fault); // movaps %xmm0, (%rbx)
    EXPECT_EQ(guest.regs.event.vector, 13);
    guest.regs.gpr[HWV_RBX] = device + 16;
    EXPECT_EQ(guest.emulate({0xc5, 0xfd, 0x7f, 0x03}).status, Status::fault); // vmovdqa %ymm0
}

TEST_F(Vectors, AreRefusedWithoutAccessToThem) {
    EXPECT_EQ(assist::emulate(guest.regs, {*guest.memory},
                              std::vector{std::byte{0x0f}, std::byte{0x28}, std::byte{0x03}})
                  .status,
              Status::unsupported);
    EXPECT_TRUE(guest.memory->log.empty());
}

} // namespace
} // namespace assist_test
