// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/vga.hpp"

#include <gtest/gtest.h>
#include <map>
#include <vector>

#include "machine/fake_slots.hpp"

namespace machine {
namespace {

class VgaTest : public testing::Test {
  protected:
    VgaTest() { EXPECT_TRUE(vga_.attach(ports_, mmio_)); }
    void index(std::uint16_t port, unsigned index, unsigned value) {
        ports_.write(port, 2, value << 8 | index); // as drivers do: both bytes at once
    }
    void attribute(unsigned index, unsigned value) {
        ports_.read(0x3da, 1);
        ports_.write(0x3c0, 1, index);
        ports_.write(0x3c0, 1, value);
    }
    void vbe(unsigned index, unsigned value) {
        ports_.write(0x1ce, 2, index);
        ports_.write(0x1cf, 2, value);
    }
    unsigned vbe(unsigned index) {
        ports_.write(0x1ce, 2, index);
        return ports_.read(0x1cf, 2);
    }
    // 640 x 480 in 16 colours: planes, no pairs.
    void planar() {
        vga_.start_text({});
        index(0x3c4, 4, 6);
        index(0x3c4, 2, 0x0f);
        index(0x3ce, 5, 0);
        index(0x3ce, 6, 5);
    }

    ManualClock clock_;
    FakeSlots slots_;
    PortBus ports_;
    MmioBus mmio_;
    Vga vga_{clock_, &slots_};
};

TEST_F(VgaTest, TextIsPlainMemoryAndEndsInThePlanes) {
    vga_.start_text({});
    ASSERT_EQ(slots_.size_at(0xb8000), 0x8000u);
    EXPECT_EQ(slots_.get(0xb8000), ' ');
    slots_.put(0xb8000, 'A');
    slots_.put(0xb8001, 0x1f);
    slots_.put(0xb8002, 'B');
    const Screen screen = vga_.screen();
    EXPECT_EQ(screen.memory.plane(0)[0], 'A');
    EXPECT_EQ(screen.memory.plane(1)[0], 0x1f);
    EXPECT_EQ(screen.memory.plane(0)[2], 'B');
}

TEST_F(VgaTest, FontIsLoadedThroughPlaneTwoWhileTextStays) {
    vga_.start_text({});
    slots_.put(0xb8000, 'A');
    index(0x3c4, 2, 4);
    index(0x3c4, 4, 7);
    index(0x3ce, 4, 2);
    index(0x3ce, 5, 0);
    index(0x3ce, 6, 0);
    EXPECT_TRUE(slots_.empty());
    mmio_.write(0xa0020, 1, 0x7e);
    EXPECT_EQ(mmio_.read(0xa0020, 1), 0x7eu);
    EXPECT_EQ(vga_.screen().memory.plane(2)[0x20], 0x7e);
    index(0x3c4, 2, 3);
    index(0x3c4, 4, 2);
    index(0x3ce, 4, 0);
    index(0x3ce, 5, 0x10);
    index(0x3ce, 6, 0x0e);
    EXPECT_EQ(slots_.get(0xb8000), 'A');
    EXPECT_EQ(vga_.screen().memory.plane(2)[0x20], 0x7e);
}

TEST_F(VgaTest, Chain4IsPlainMemoryOfFourPlanes) {
    vga_.start_text({});
    index(0x3c4, 2, 0x0f);
    index(0x3c4, 4, 0x0e);
    index(0x3ce, 5, 0x40);
    index(0x3ce, 6, 0x05);
    ASSERT_EQ(slots_.size_at(0xa0000), 0x10000u);
    slots_.put(0xa0000 + 4 * 80 + 3, 0x55);
    EXPECT_EQ(vga_.screen().memory.plane(3)[4 * 80], 0x55);
}

TEST_F(VgaTest, WithoutSlotsTextIsReachedByExits) {
    Vga vga(clock_, nullptr);
    PortBus ports;
    MmioBus mmio;
    ASSERT_TRUE(vga.attach(ports, mmio));
    vga.start_text({});
    mmio.write(0xb8000, 8, 0x0742'0741'0758'0757);
    EXPECT_EQ(mmio.read(0xb8002, 4), 0x0741'0758u);
    EXPECT_EQ(vga.screen().memory.plane(0)[4], 'A');
    EXPECT_EQ(mmio.read(0xa0000, 1), 0xffu) << "the window is elsewhere";
}

TEST_F(VgaTest, WriteModesOfTheGraphicsController) {
    planar();
    EXPECT_TRUE(slots_.empty() || slots_.size_at(0xa0000) == 0);
    mmio_.write(0xa0000, 1, 0xf0);
    index(0x3ce, 0, 0x05); // set/reset: planes 0 and 2
    index(0x3ce, 1, 0x0f);
    index(0x3ce, 8, 0x0f);
    EXPECT_EQ(mmio_.read(0xa0000, 1), 0xf0u); // fills the latches
    mmio_.write(0xa0000, 1, 0);
    const auto planes = [this](unsigned at) {
        const Screen screen = vga_.screen();
        return std::vector<unsigned>{screen.memory.plane(0)[at], screen.memory.plane(1)[at],
                                     screen.memory.plane(2)[at], screen.memory.plane(3)[at]};
    };
    EXPECT_EQ(planes(0), (std::vector<unsigned>{0xff, 0xf0, 0xff, 0xf0}));
    index(0x3ce, 5, 1); // from the latches
    mmio_.read(0xa0000, 1);
    mmio_.write(0xa0001, 1, 0);
    EXPECT_EQ(planes(1), planes(0));
    index(0x3ce, 5, 2); // a colour for the pixels of the mask
    index(0x3ce, 8, 0x80);
    mmio_.read(0xa0005, 1);
    mmio_.write(0xa0005, 1, 0x0a);
    EXPECT_EQ(planes(5), (std::vector<unsigned>{0, 0x80, 0, 0x80}));
    index(0x3ce, 5, 3); // set/reset where the data, rotated, and the mask have ones
    index(0x3ce, 3, 4);
    index(0x3ce, 8, 0xff);
    mmio_.read(0xa0003, 1);
    mmio_.write(0xa0003, 1, 0xc3);
    EXPECT_EQ(planes(3), (std::vector<unsigned>{0x3c, 0, 0x3c, 0}));
}

TEST_F(VgaTest, LogicalFunctionsAndColourCompare) {
    planar();
    mmio_.write(0xa0000, 1, 0x3c);
    mmio_.read(0xa0000, 1);
    index(0x3ce, 3, 0x18); // XOR
    mmio_.write(0xa0000, 1, 0xff);
    index(0x3ce, 3, 0);
    EXPECT_EQ(mmio_.read(0xa0000, 1), 0xc3u);
    index(0x3ce, 5, 8);
    index(0x3ce, 2, 0x0f);
    index(0x3ce, 7, 0x0f);
    EXPECT_EQ(mmio_.read(0xa0000, 1), 0xc3u) << "where all planes have ones";
    index(0x3ce, 2, 0x00);
    EXPECT_EQ(mmio_.read(0xa0000, 1), 0x3cu);
    index(0x3ce, 7, 0x00);
    EXPECT_EQ(mmio_.read(0xa0000, 1), 0xffu) << "nothing is compared";
}

TEST_F(VgaTest, DacTakesThreeBytesAndGivesThemBack) {
    ports_.write(0x3c8, 1, 5);
    for (const unsigned value : {1, 2, 3, 4, 5, 6})
        ports_.write(0x3c9, 1, value);
    EXPECT_EQ(ports_.read(0x3c7, 1), 0u);
    ports_.write(0x3c7, 1, 5);
    EXPECT_EQ(ports_.read(0x3c7, 1), 3u);
    for (const unsigned value : {1, 2, 3, 4, 5, 6})
        EXPECT_EQ(ports_.read(0x3c9, 1), value);
}

TEST_F(VgaTest, AttributeControllerTurnsIndexAndDataAndPaletteOff) {
    vga_.start_text({});
    attribute(0x0b, 0x2a); // bit 5 of the index is clear: the palette is being loaded
    EXPECT_TRUE(vga_.screen().registers.blank());
    ports_.read(0x3da, 1);
    ports_.write(0x3c0, 1, 0x2b);
    EXPECT_EQ(ports_.read(0x3c1, 1), 0x2au);
    EXPECT_FALSE(vga_.screen().registers.blank());
}

TEST_F(VgaTest, CrtcFollowsTheColourBitAndProtectsItself) {
    vga_.start_text({});
    EXPECT_EQ(ports_.read(0x3b5, 1), 0xffu);
    index(0x3d4, 0x0e, 0x07);
    EXPECT_EQ(ports_.read(0x3d5, 1), 0x07u);
    index(0x3d4, 1, 0x11);
    index(0x3d4, 7, 0xff);
    EXPECT_EQ(vga_.screen().registers.characters_per_line(), 80u) << "protected";
    EXPECT_EQ(vga_.screen().registers.scan_lines(), 400u);
    index(0x3d4, 0x11, 0x0e);
    index(0x3d4, 1, 0x27);
    EXPECT_EQ(vga_.screen().registers.characters_per_line(), 40u);
    ports_.write(0x3c2, 1, 0x66);
    EXPECT_EQ(ports_.read(0x3d5, 1), 0xffu);
    EXPECT_EQ(ports_.read(0x3b5, 1), 0x27u);
}

TEST_F(VgaTest, RetraceComesAndGoes) {
    vga_.start_text({});
    unsigned retraces = 0, dark = 0, before = 0;
    constexpr unsigned steps = 3 * 449 * 4;
    for (unsigned step = 0; step < steps; ++step, clock_.advance(31'778 / 4)) {
        const unsigned status = ports_.read(0x3da, 1);
        retraces += (status & ~before & 0x08) != 0;
        dark += status & 1;
        before = status;
    }
    EXPECT_EQ(retraces, 3u);
    EXPECT_GT(dark, steps / 8);
    EXPECT_LT(dark, steps / 2);
}

TEST_F(VgaTest, VbeModeShowsTheFrameBuffer) {
    EXPECT_EQ(vbe(0), 0xb0c5u);
    vbe(0, 0xb0c0);
    EXPECT_EQ(vbe(0), 0xb0c0u);
    vga_.frame_buffer()[0] = std::byte{1};
    vbe(1, 800);
    vbe(2, 600);
    vbe(3, 32);
    EXPECT_FALSE(vga_.linear_mode());
    vbe(4, 0x41);
    const auto mode = vga_.linear_mode();
    ASSERT_TRUE(mode);
    EXPECT_EQ(mode->width, 800u);
    EXPECT_EQ(mode->height, 600u);
    EXPECT_EQ(mode->pitch, 3200u);
    EXPECT_EQ(vga_.frame_buffer()[0], std::byte{0}) << "cleared";
    vga_.frame_buffer()[4] = std::byte{0x99};
    EXPECT_EQ(vga_.screen().pixels[4], std::byte{0x99});
    EXPECT_EQ(vga_.screen().pixels.size(), 800u * 600 * 4);
    vbe(9, 10);
    EXPECT_EQ(vga_.linear_mode()->start, 32000u);
    EXPECT_EQ(vbe(0xa), 256u);
    vbe(4, 0x43);
    EXPECT_EQ(vbe(1), 4096u) << "limits";
}

TEST_F(VgaTest, VbeBankIsMappedInTheWindow) {
    vbe(1, 640);
    vbe(2, 480);
    vbe(3, 8);
    vbe(4, 0x81);
    vbe(5, 2);
    ASSERT_EQ(slots_.size_at(0xa0000), 0x10000u);
    slots_.put(0xa0003, 0x77);
    EXPECT_EQ(vga_.frame_buffer()[0x20003], std::byte{0x77});
    vbe(5, 0x4000);
    EXPECT_EQ(vbe(5), 2u) << "outside the frame buffer";
    mmio_.write(0xa0004, 1, 0x66);
    EXPECT_EQ(vga_.frame_buffer()[0x20004], std::byte{0x66});
    vbe(4, 0);
    vga_.start_text({});
    EXPECT_EQ(slots_.size_at(0xb8000), 0x8000u);
    EXPECT_EQ(slots_.size_at(0xa0000), 0u);
}

TEST_F(VgaTest, ImpossibleModesStayInsideTheFrameBuffer) {
    for (const unsigned bits : {0u, 4u, 8u, 15u, 16u, 24u, 32u, 65535u})
        for (const unsigned x : {0u, 1u, 7u, 4096u, 65535u})
            for (const unsigned y : {0u, 4096u, 65535u}) {
                vbe(4, 0);
                vbe(1, x);
                vbe(2, y);
                vbe(3, bits);
                vbe(4, 0x81);
                vbe(6, y);
                vbe(8, x);
                vbe(9, y);
                const LinearMode mode = *vga_.linear_mode();
                EXPECT_LE(mode.start + std::uint64_t{mode.height} * mode.pitch,
                          Vga::frame_buffer_size);
                EXPECT_GE(mode.pitch, mode.width * (mode.bits == 4 ? 1u : (mode.bits + 7) / 8) /
                                          (mode.bits == 4 ? 8 : 1));
                EXPECT_GT(mode.height, 0u);
            }
}

TEST_F(VgaTest, RegistersInMemoryAreTheSame) {
    vga_.write_bar(0x502, 2, 1024);
    EXPECT_EQ(vbe(1), 1024u);
    EXPECT_EQ(vga_.read_bar(0x500, 2), 0xb0c5u);
    vga_.write_bar(0x408, 1, 9);
    vga_.write_bar(0x409, 1, 63);
    EXPECT_EQ(ports_.read(0x3c8, 1), 9u);
    EXPECT_EQ(vga_.read_bar(0x800, 4), 0xffff'ffffu);
}

} // namespace
} // namespace machine
