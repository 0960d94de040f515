// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/picture.hpp"

#include <gtest/gtest.h>
#include <random>

#include "machine/display/font.hpp"

namespace machine {
namespace {

class PictureTest : public testing::Test {
  protected:
    PictureTest() { EXPECT_TRUE(vga_.attach(ports_, mmio_)); }
    void index(std::uint16_t port, unsigned index, unsigned value) {
        ports_.write(port, 2, value << 8 | index);
    }
    void attribute(unsigned index, unsigned value) {
        ports_.read(0x3da, 1);
        ports_.write(0x3c0, 1, index);
        ports_.write(0x3c0, 1, value);
        ports_.write(0x3c0, 1, 0x20);
        ports_.read(0x3da, 1);
    }
    // The first character of the screen as rows of '#' and '.'.
    std::string glyph(unsigned width) {
        const Picture picture = render(vga_.screen());
        std::string out;
        for (unsigned y = 0; y < 16; ++y) {
            for (unsigned x = 0; x < width; ++x)
                out += picture.pixels[y * picture.width + x] == 0xaaaaaa ? '#' : '.';
            out += '\n';
        }
        return out;
    }
    void mode13() {
        vga_.start_text({});
        index(0x3c4, 2, 0x0f);
        index(0x3c4, 4, 0x0e);
        index(0x3d4, 0x09, 0x41);
        index(0x3d4, 0x13, 0x28);
        index(0x3d4, 0x14, 0x40);
        index(0x3d4, 0x17, 0xa3);
        index(0x3ce, 5, 0x40);
        index(0x3ce, 6, 0x05);
        attribute(0x10, 0x41);
        attribute(0x13, 0);
    }

    ManualClock clock_;
    PortBus ports_;
    MmioBus mmio_;
    Vga vga_{clock_, nullptr};
};

TEST_F(PictureTest, TextIsReadFromTheStartAddressOn) {
    vga_.start_text({});
    mmio_.write(0xb8000, 4, 0x0769'0748);
    mmio_.write(0xb8000 + 160, 2, 0x07db);
    const auto text = read_text(vga_.screen());
    ASSERT_TRUE(text);
    EXPECT_EQ(text->columns, 80u);
    EXPECT_EQ(text->rows, 25u);
    EXPECT_EQ(utf8(*text).substr(0, 7), "Hi\n\xe2\x96\x88\n");
    EXPECT_EQ(text->cursor, 0u);
    index(0x3d4, 0x0d, 80);
    index(0x3d4, 0x0f, 83);
    const auto scrolled = read_text(vga_.screen());
    EXPECT_EQ(utf8(*scrolled).substr(0, 4), "\xe2\x96\x88\n");
    EXPECT_EQ(scrolled->cursor, 3u);
    index(0x3d4, 0x0a, 0x20);
    EXPECT_FALSE(read_text(vga_.screen())->cursor);
}

TEST_F(PictureTest, TextIsDrawnWithTheFontOfPlaneTwo) {
    std::vector<std::uint8_t> font(font_bytes);
    font['A' * 16 + 3] = 0x81;
    font[0xc4 * 16 + 3] = 0x81;
    vga_.start_text(font);
    index(0x3d4, 0x0a, 0x20); // no cursor
    mmio_.write(0xb8000, 2, 0x0741);
    const Picture picture = render(vga_.screen());
    EXPECT_EQ(picture.width, 720u);
    EXPECT_EQ(picture.height, 400u);
    EXPECT_EQ(glyph(9).substr(3 * 10, 9), "#......#.");
    EXPECT_EQ(glyph(9).substr(4 * 10, 9), ".........");
    mmio_.write(0xb8000, 1, 0xc4);
    EXPECT_EQ(glyph(9).substr(3 * 10, 9), "#......##") << "line graphics";
    index(0x3c4, 1, 1);
    EXPECT_EQ(render(vga_.screen()).width, 640u);
}

TEST_F(PictureTest, CursorAndColours) {
    vga_.start_text({});
    EXPECT_EQ(glyph(8).substr(13 * 9, 9), "########\n") << "the cursor is a line";
    EXPECT_EQ(glyph(8).substr(12 * 9, 9), "........\n");
    mmio_.write(0xb8002, 2, 0x1e20); // yellow on blue
    EXPECT_EQ(render(vga_.screen()).pixels[9], 0x0000aau);
    index(0x3c4, 1, 0x20);
    EXPECT_EQ(render(vga_.screen()).pixels[9], 0u) << "screen off";
}

TEST_F(PictureTest, Mode13HasAByteForEachPixel) {
    mode13();
    ports_.write(0x3c8, 1, 200);
    for (const unsigned value : {63, 32, 0})
        ports_.write(0x3c9, 1, value);
    mmio_.write(0xa0000 + 5 * 320 + 7, 1, 200);
    const Picture picture = render(vga_.screen());
    ASSERT_EQ(picture.width, 320u);
    ASSERT_EQ(picture.height, 200u);
    EXPECT_EQ(picture.pixels[5 * 320 + 7], 0xff8200u);
    EXPECT_EQ(picture.pixels[5 * 320 + 6], 0u);
    EXPECT_FALSE(read_text(vga_.screen()));
}

TEST_F(PictureTest, PlanesMakeSixteenColours) {
    vga_.start_text({});
    index(0x3c4, 4, 6);
    index(0x3ce, 5, 0);
    index(0x3ce, 6, 5);
    index(0x3d4, 0x09, 0x40);
    index(0x3d4, 0x17, 0xe3);
    attribute(0x13, 0);
    index(0x3c4, 2, 0x0f);
    for (unsigned at = 0; at < 80 * 400; at += 8)
        mmio_.write(0xa0000 + at, 8, 0);
    index(0x3c4, 2, 0x06); // green and red: brown
    mmio_.write(0xa0000 + 80, 1, 0x10);
    const Picture picture = render(vga_.screen());
    ASSERT_EQ(picture.width, 640u);
    ASSERT_EQ(picture.height, 400u);
    EXPECT_EQ(picture.pixels[640 + 3], 0xaa5500u);
    EXPECT_EQ(picture.pixels[640 + 4], 0u);
}

TEST_F(PictureTest, LinearModesInEachDepth) {
    const auto first = [this](unsigned bits, std::uint32_t value) {
        vga_.start_linear(64, 2, bits);
        for (unsigned byte = 0; byte < (bits + 7) / 8; ++byte)
            vga_.frame_buffer()[byte] = static_cast<std::byte>(value >> (8 * byte));
        const Picture picture = render(vga_.screen());
        EXPECT_EQ(picture.width, 64u);
        EXPECT_EQ(picture.height, 2u);
        EXPECT_EQ(picture.pixels[1], 0u);
        return picture.pixels[0];
    };
    EXPECT_EQ(first(32, 0x12345678), 0x345678u);
    EXPECT_EQ(first(24, 0x345678), 0x345678u);
    EXPECT_EQ(first(16, 0xf81f), 0xff00ffu);
    EXPECT_EQ(first(15, 0x03e0), 0x00ff00u);
    vga_.start_text({});
    EXPECT_EQ(first(8, 20), 0xaa5500u) << "EGA's brown is colour 20 of the palette";
}

TEST_F(PictureTest, AnyRegistersGiveAPicture) {
    std::mt19937 random(1);
    for (unsigned round = 0; round < 60; ++round) {
        vga_.start_text({});
        index(0x3d4, 0x11, 0);
        for (unsigned step = 0; step < 60; ++step) {
            static constexpr std::uint16_t ports[]{0x3c4, 0x3ce, 0x3d4, 0x3c0, 0x3c9, 0x1ce};
            index(ports[random() % 6], random() % 32, random() % 256);
        }
        const Screen screen = vga_.screen();
        const Picture picture = render(screen);
        EXPECT_EQ(picture.pixels.size(), std::size_t{picture.width} * picture.height);
        EXPECT_GT(picture.pixels.size(), 0u);
        const auto text = read_text(screen);
        EXPECT_TRUE(!text || utf8(*text).size() >= text->rows);
    }
}

TEST(Font, IsFoundInARomByItsBlocks) {
    std::vector<std::uint8_t> rom(3 * font_bytes, 0x11);
    EXPECT_TRUE(find_font(rom).empty());
    const auto fill = [&rom](unsigned character, std::uint8_t line) {
        std::fill_n(rom.begin() + 100 + character * 16, 16, line);
    };
    fill(0xdb, 0xff);
    fill(0xdd, 0xf0);
    fill(0xde, 0x0f);
    fill(0x00, 0x00);
    fill(0x20, 0x00);
    fill('A', 0x41);
    ASSERT_EQ(find_font(rom).size(), font_bytes);
    EXPECT_EQ(find_font(rom)['A' * 16], 0x41);
    rom.resize(100 + font_bytes - 1);
    EXPECT_TRUE(find_font(rom).empty());
    EXPECT_EQ(host_font().size(), font_bytes);
}

} // namespace
} // namespace machine
