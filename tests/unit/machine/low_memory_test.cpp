// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <vector>

#include "machine/fake_slots.hpp"
#include "machine/fakes.hpp"
#include "machine/machine.hpp"

namespace machine {
namespace {

constexpr std::uint64_t kib = 1024, mib = 1024 * kib;
using Pam = LowMemory::Pam;

class LowMemoryTest : public testing::Test {
  protected:
    std::vector<std::byte> bytes_ = std::vector<std::byte>(4 * mib);
    GuestMemory ram_{{{0, bytes_}}};
    FakeRam slots_{LowMemory::pieces(ram_.regions())};
    LowMemory low_{ram_, &slots_, true};
};

TEST_F(LowMemoryTest, RamIsCutWhereItMayChange) {
    const std::vector<RamRegion> pieces = LowMemory::pieces(ram_.regions());
    ASSERT_EQ(pieces.size(), 17u);
    std::uint64_t end = 0;
    for (const RamRegion &piece : pieces) {
        EXPECT_EQ(piece.gpa, end);
        EXPECT_EQ(piece.bytes.data(), bytes_.data() + end);
        end = piece.end();
    }
    EXPECT_EQ(end, bytes_.size());
    EXPECT_EQ(pieces[1].gpa, 640 * kib);
    EXPECT_EQ(pieces[2].gpa, 768 * kib);
    EXPECT_EQ(pieces[14].gpa, 960 * kib);
    EXPECT_EQ(pieces[15].gpa, mib);
    EXPECT_EQ(pieces[16].gpa, mib + 640 * kib);
    EXPECT_EQ(LowMemory::pieces({{8 * mib, bytes_}}).size(), 1u);
}

TEST_F(LowMemoryTest, AClosedGateShowsTheFirstMegabyteTwice) {
    EXPECT_TRUE(low_.a20_open());
    EXPECT_EQ(low_.find(mib + 0x500, true), mib + 0x500);
    low_.set_a20(false);
    EXPECT_FALSE(low_.a20_open());
    EXPECT_EQ(slots_.at(mib), bytes_.data());
    EXPECT_EQ(low_.find(mib + 0x500, true), 0x500u);
    EXPECT_EQ(low_.find(mib + 640 * kib, true), mib + 640 * kib);
    EXPECT_EQ(low_.find(3 * mib, true), 3 * mib);
    low_.set_a20(false);
    low_.set_a20(true);
    EXPECT_EQ(slots_.at(mib), bytes_.data() + mib);
    EXPECT_EQ(slots_.changes, 2u);
}

TEST_F(LowMemoryTest, AGateThatCannotCloseIsOpen) {
    slots_.refuse = true;
    low_.set_a20(false);
    EXPECT_TRUE(low_.a20_open());
    LowMemory several{ram_, &slots_, false};
    several.set_a20(false);
    EXPECT_TRUE(several.a20_open());
    LowMemory without{ram_, nullptr, true};
    without.set_a20(false);
    without.protect({});
    EXPECT_TRUE(without.a20_open());
    EXPECT_EQ(without.find(mib - 1, true), mib - 1);
    LowMemory small{GuestMemory{{{0, std::span{bytes_}.first(mib)}}}, &slots_, true};
    slots_.refuse = false;
    small.set_a20(false);
    EXPECT_TRUE(small.a20_open());
}

TEST_F(LowMemoryTest, EachHalfOfARegisterProtectsItsSegment) {
    Pam pam{0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33};
    low_.protect(pam);
    EXPECT_EQ(slots_.changes, 0u) << "all writable, as at the start";
    pam[0] = 0x10;
    pam[3] = 0x31;
    pam[6] = 0x03;
    low_.protect(pam);
    EXPECT_EQ(slots_.changes, 3u);
    for (std::uint64_t gpa = 768 * kib; gpa < mib; gpa += 16 * kib) {
        const bool protects = gpa == 0xd0000 || gpa == 0xec000 || gpa >= 0xf0000;
        EXPECT_EQ(low_.find(gpa + 0x3fff, true).has_value(), !protects) << gpa;
        EXPECT_EQ(low_.find(gpa, false), gpa);
        if (gpa <= 0xf0000) {
            EXPECT_EQ(slots_.read_only(gpa), protects) << gpa;
        }
    }
    low_.protect(pam);
    EXPECT_EQ(slots_.changes, 3u);
    slots_.refuse = true;
    low_.protect({});
    EXPECT_TRUE(low_.find(0xc0000, true).has_value()) << "what is refused has not happened";
}

// By the guest's registers.
class LowMemoryOfAMachine : public LowMemoryTest {
  protected:
    LowMemoryOfAMachine() {
        MachineConfig config;
        config.clock = &clock_;
        config.pci = true;
        config.a20_gate = true;
        config.ram = ram_;
        pc_ = std::make_unique<Machine>(std::move(config), MachineSinks{.messages = messages_,
                                                                        .eoi = eois_,
                                                                        .intr = intr_,
                                                                        .power = [](PowerEvent) {},
                                                                        .ram = &slots_});
    }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 1) {
        pc_->handle_port(port, size, true, &value);
    }
    unsigned in(std::uint16_t port) {
        std::uint8_t value = 0;
        pc_->handle_port(port, 1, false, &value);
        return value;
    }
    bool wraps() { return pc_->ram_address(mib, false) == 0u; }

    ManualClock clock_;
    RecordingMessages messages_;
    RecordingEois eois_;
    RecordingIntr intr_;
    std::unique_ptr<Machine> pc_;
};

TEST_F(LowMemoryOfAMachine, OneGateBehindPort92AndTheKeyboardController) {
    EXPECT_EQ(in(0x92), 0x02u);
    out(0x92, 0x00);
    EXPECT_TRUE(wraps());
    EXPECT_EQ(in(0x92), 0x00u);
    out(0x64, 0xd0);
    EXPECT_EQ(in(0x60), 0x01u);
    out(0x64, 0xdf);
    EXPECT_FALSE(wraps());
    EXPECT_EQ(in(0x92), 0x02u);
    out(0x64, 0xdd);
    EXPECT_TRUE(wraps());
    out(0x64, 0xd1);
    out(0x60, 0xdf);
    EXPECT_FALSE(wraps());
    out(0x64, 0xd0);
    EXPECT_EQ(in(0x60), 0xdfu);
    out(0x64, 0xd1);
    out(0x60, 0xdd);
    EXPECT_TRUE(wraps());
    out(0x92, 0x02);
    EXPECT_FALSE(wraps());
}

TEST_F(LowMemoryOfAMachine, TheHostBridgeProtects) {
    const std::uint32_t pam4 = 0x8000'0094;
    out(0xcf8, pam4 - 4, 4);
    out(0xcfc, 0x3333'3330, 4);
    out(0xcf8, pam4, 4);
    out(0xcfc, 0x0033'3333, 4);
    EXPECT_EQ(pc_->ram_address(0xe0000, true), 0xe0000u);
    slots_.changes = 0;
    out(0xcf8, pam4, 4);
    out(0xcfd, 0x31);
    EXPECT_EQ(pc_->ram_address(0xe0000, true), std::nullopt);
    EXPECT_EQ(pc_->ram_address(0xe0000, false), 0xe0000u);
    EXPECT_EQ(pc_->ram_address(0xe4000, true), 0xe4000u);
    EXPECT_EQ(slots_.changes, 1u);
}

} // namespace
} // namespace machine
