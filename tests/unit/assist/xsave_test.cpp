// SPDX-License-Identifier: GPL-2.0-only
#include "assist/xsave.hpp"

#include <cpuid.h>

#include "fixture.hpp"

namespace assist_test {
namespace {

constexpr assist::XsaveLayout layout{.ymm_high = 576, .zmm_high = 1152, .zmm_16_up = 1664};

class Xsave : public ::testing::Test {
  protected:
    Xsave() : image(2688, std::byte{0xdd}) { set_bits(0); }
    void set_bits(std::uint64_t bits) { std::memcpy(image.data() + 512, &bits, 8); }
    std::uint64_t bits() {
        std::uint64_t value = 0;
        std::memcpy(&value, image.data() + 512, 8);
        return value;
    }
    std::vector<std::byte> image;
    assist::XsaveImage registers{image, layout};
    std::array<std::byte, 64> value{};
};

TEST_F(Xsave, InitialComponentsReadAsZero) {
    value.fill(std::byte{1});
    registers.read(3, value);
    EXPECT_EQ(value, (std::array<std::byte, 64>{}));
}

TEST_F(Xsave, KeepsEachPartInItsArea) {
    set_bits(1 << 1 | 1 << 2 | 1 << 6 | 1 << 7);
    for (std::size_t i = 0; i < value.size(); ++i)
        value[i] = static_cast<std::byte>(i);
    registers.write(3, value);
    EXPECT_EQ(image[160 + 3 * 16], std::byte{0});
    EXPECT_EQ(image[160 + 3 * 16 + 15], std::byte{15});
    EXPECT_EQ(image[576 + 3 * 16], std::byte{16});
    EXPECT_EQ(image[1152 + 3 * 32 + 31], std::byte{63});
    EXPECT_EQ(image[160 + 4 * 16], std::byte{0xdd});
    registers.write(17, value);
    EXPECT_EQ(image[1664 + 64 + 63], std::byte{63});
    std::array<std::byte, 64> back{};
    registers.read(17, back);
    EXPECT_EQ(back, value);
    registers.read(3, back);
    EXPECT_EQ(back, value);
}

TEST_F(Xsave, MakesOnlyUsedComponentsPresent) {
    value[0] = std::byte{7}; // an XMM value, all above it zero
    registers.write(2, value);
    EXPECT_EQ(bits(), 1U << 1);
    EXPECT_EQ(image[160 + 2 * 16], std::byte{7});
    EXPECT_EQ(image[160], std::byte{0}) << "the other registers of the component were zero";
    set_bits(bits() | 1 << 2);
    value[20] = std::byte{9};
    registers.write(2, value);
    value[20] = std::byte{0};
    registers.write(2, value);
    EXPECT_EQ(image[576 + 2 * 16 + 4], std::byte{0})
        << "a present part is overwritten with zeros too";
}

TEST_F(Xsave, StaysInsideAShortImage) {
    image.resize(576);
    assist::XsaveImage small{image, layout};
    value.fill(std::byte{5});
    small.write(1, value);
    std::array<std::byte, 64> back{};
    small.read(1, back);
    EXPECT_EQ(back[15], std::byte{5});
    EXPECT_EQ(back[16], std::byte{0});
}

TEST(XsaveLayout, AvxIsWhereTheCpuSays) {
    if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "no AVX on this machine";
    EXPECT_EQ(assist::host_xsave_layout().ymm_high, 576U);
}

} // namespace
} // namespace assist_test
