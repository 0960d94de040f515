// SPDX-License-Identifier: GPL-2.0-only
#include "machine/ioapic.hpp"

#include <gtest/gtest.h>

#include "fakes.hpp"

namespace machine {
namespace {

constexpr std::uint32_t level = 1u << 15;
constexpr std::uint32_t masked = 1u << 16;
constexpr std::uint32_t remote_irr = 1u << 14;

class IoApicTest : public testing::Test {
  protected:
    void write(std::uint8_t index, std::uint32_t value) {
        ioapic_.write(0x00, 4, index);
        ioapic_.write(0x10, 4, value);
    }
    std::uint32_t read(std::uint8_t index) {
        ioapic_.write(0x00, 4, index);
        return static_cast<std::uint32_t>(ioapic_.read(0x10, 4));
    }
    void program(unsigned pin, std::uint32_t low, std::uint32_t high = 0) {
        write(static_cast<std::uint8_t>(0x11 + 2 * pin), high);
        write(static_cast<std::uint8_t>(0x10 + 2 * pin), low);
    }
    std::uint32_t low(unsigned pin) { return read(static_cast<std::uint8_t>(0x10 + 2 * pin)); }

    RecordingMessages messages_;
    RecordingEois eois_;
    IoApic ioapic_{messages_, eois_};
};

TEST_F(IoApicTest, IdentifiesItselfAndStartsMasked) {
    EXPECT_EQ(read(1), 0x00170020u);
    for (unsigned pin = 0; pin < IoApic::pins; ++pin)
        EXPECT_EQ(low(pin), masked);
    write(0, 0xffffffff);
    EXPECT_EQ(read(0), 0x0f000000u);
    EXPECT_EQ(read(2), 0x0f000000u);
    EXPECT_EQ(read(0x40), 0u);
    EXPECT_EQ(read(0x0f), 0u);
}

TEST_F(IoApicTest, ReadOnlyBitsStay) {
    program(3, 0xffffffff, 0xffffffff);
    EXPECT_EQ(low(3), 0x0001afffu);
    EXPECT_EQ(read(0x17), 0xfffe0000u);
}

TEST_F(IoApicTest, EdgeSendsOnceForEachRise) {
    program(4, 0x34, 0x05000000);
    ioapic_.set_pin(4, true);
    ioapic_.set_pin(4, true);
    ASSERT_EQ(messages_.sent.size(), 1u);
    EXPECT_EQ(messages_.sent[0], (RecordingMessages::Message{0xfee05000, 0x34}));
    ioapic_.set_pin(4, false);
    ioapic_.set_pin(4, true);
    EXPECT_EQ(messages_.sent.size(), 2u);
    EXPECT_EQ(low(4) & remote_irr, 0u);
}

TEST_F(IoApicTest, EdgeOnAMaskedPinIsLost) {
    program(4, 0x34 | masked);
    ioapic_.set_pin(4, true);
    program(4, 0x34);
    EXPECT_TRUE(messages_.sent.empty());
}

TEST_F(IoApicTest, MessageCarriesModeDestinationAndExtension) {
    // Lowest priority, logical, destination 0xa5 with extension 0x55: id 0x55a5.
    program(7, 0x41 | 1u << 8 | 1u << 11, 0xa5000000u | 0x55u << 17);
    ioapic_.set_pin(7, true);
    ASSERT_EQ(messages_.sent.size(), 1u);
    EXPECT_EQ(messages_.sent[0].address,
              0xfee00000u | 0xa5u << 12 | 0x55u << 5 | 1u << 3 | 1u << 2);
    EXPECT_EQ(messages_.sent[0].data, 0x41u | 1u << 8);
    // NMI, fixed destination.
    program(8, 4u << 8);
    ioapic_.set_pin(8, true);
    EXPECT_EQ(messages_.sent[1], (RecordingMessages::Message{0xfee00000, 0x400}));
}

TEST_F(IoApicTest, LevelWaitsForEoiAndComesAgainWhileHeld) {
    program(9, 0x59 | level);
    ioapic_.set_pin(9, true);
    ASSERT_EQ(messages_.sent.size(), 1u);
    EXPECT_EQ(messages_.sent[0].data, 0x59u | 3u << 14);
    EXPECT_NE(low(9) & remote_irr, 0u);
    // Down and up again before the EOI: one interrupt is under way already.
    ioapic_.set_pin(9, false);
    ioapic_.set_pin(9, true);
    EXPECT_EQ(messages_.sent.size(), 1u);
    ioapic_.eoi(0x58);
    EXPECT_EQ(messages_.sent.size(), 1u) << "somebody else's vector";
    ioapic_.eoi(0x59);
    EXPECT_EQ(messages_.sent.size(), 2u);
    EXPECT_NE(low(9) & remote_irr, 0u);
    ioapic_.set_pin(9, false);
    ioapic_.eoi(0x59);
    EXPECT_EQ(messages_.sent.size(), 2u);
    EXPECT_EQ(low(9) & remote_irr, 0u);
}

TEST_F(IoApicTest, SharedVectorEndsForAllItsPins) {
    program(10, 0x60 | level);
    program(11, 0x60 | level);
    ioapic_.set_pin(10, true);
    ioapic_.set_pin(11, true);
    ASSERT_EQ(messages_.sent.size(), 2u);
    ioapic_.set_pin(10, false);
    ioapic_.write(0x40, 4, 0x60); // its own EOI register
    EXPECT_EQ(messages_.sent.size(), 3u);
    EXPECT_EQ(low(10) & remote_irr, 0u);
    EXPECT_NE(low(11) & remote_irr, 0u);
}

TEST_F(IoApicTest, LevelOnAMaskedPinArrivesWhenUnmasked) {
    program(9, 0x59 | level | masked);
    ioapic_.set_pin(9, true);
    EXPECT_TRUE(messages_.sent.empty());
    program(9, 0x59 | level);
    EXPECT_EQ(messages_.sent.size(), 1u);
    // Masking in service, EOI, unmasking: what Linux does for a threaded handler.
    program(9, 0x59 | level | masked);
    EXPECT_NE(low(9) & remote_irr, 0u);
    ioapic_.eoi(0x59);
    EXPECT_EQ(messages_.sent.size(), 1u);
    program(9, 0x59 | level);
    EXPECT_EQ(messages_.sent.size(), 2u);
}

TEST_F(IoApicTest, SwitchToEdgeAndBackClearsRemoteIrr) {
    program(9, 0x59 | level);
    ioapic_.set_pin(9, true);
    ioapic_.set_pin(9, false);
    program(9, 0x59 | masked);
    program(9, 0x59 | level | masked);
    EXPECT_EQ(low(9), 0x59u | level | masked);
}

TEST_F(IoApicTest, AnnouncesVectorsThatNeedAnEoi) {
    program(9, 0xc1 | level);
    EXPECT_EQ(eois_.vectors, (VectorBitmap{0, 0, 0, 2}));
    const unsigned changes = eois_.changes;
    program(9, 0xc1 | level, 0x01000000);
    EXPECT_EQ(eois_.changes, changes) << "an unchanged set is not announced";
    program(10, 0x20 | level);
    EXPECT_EQ(eois_.vectors, (VectorBitmap{1ull << 32, 0, 0, 2}));
    program(10, 0x20);
    EXPECT_EQ(eois_.vectors, (VectorBitmap{0, 0, 0, 2}));
    // Masked while in service: its EOI still counts, and after it no more.
    ioapic_.set_pin(9, true);
    program(9, 0xc1 | level | masked);
    EXPECT_EQ(eois_.vectors, (VectorBitmap{0, 0, 0, 2}));
    ioapic_.eoi(0xc1);
    EXPECT_EQ(eois_.vectors, VectorBitmap{});
}

TEST_F(IoApicTest, PolarityIsKeptAndChangesNothing) {
    program(5, 0x45 | 1u << 13);
    EXPECT_EQ(low(5), 0x45u | 1u << 13);
    EXPECT_TRUE(messages_.sent.empty());
    ioapic_.set_pin(5, true);
    EXPECT_EQ(messages_.sent.size(), 1u);
}

TEST_F(IoApicTest, ImpossiblePinsAndRegistersAreHarmless) {
    ioapic_.set_pin(24, true);
    ioapic_.set_pin(~0u, true);
    for (unsigned index = 0; index < 256; ++index)
        write(static_cast<std::uint8_t>(index), 0);
    EXPECT_EQ(ioapic_.read(0x1000, 4), 0u);
    EXPECT_EQ(ioapic_.entry(24), 0u);
}

} // namespace
} // namespace machine
