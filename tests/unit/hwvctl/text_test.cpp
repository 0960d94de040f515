// SPDX-License-Identifier: GPL-2.0-only
// Names, numbers, registers and bytes as text.
#include <gtest/gtest.h>
#include "hwvctl/hexdump.hpp"
#include "records/key_names.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "hwvctl/registers.hpp"

namespace hwvctl {
namespace {

TEST(KeyText, KnownOnesHaveNames) {
    EXPECT_EQ(records::key_text(HWV_EXIT_IO, 0x3f9), "0x3f9 COM1");
    EXPECT_EQ(records::key_text(HWV_EXIT_MSR_WRITE, 0x6e0), "0x6e0 TSC_DEADLINE");
    EXPECT_EQ(records::key_text(HWV_EXIT_CPUID, 0x12345), "0x12345");
    EXPECT_EQ(records::key_text(HWV_EXIT_CR_WRITE, 3), "cr3");
    EXPECT_EQ(records::key_text(HWV_EXIT_EXCEPTION, 14), "14 #PF");
    EXPECT_EQ(records::reason_of("msr_read"), HWV_EXIT_MSR_READ);
    EXPECT_FALSE(records::reason_of("none"));
}

TEST(Number, DecimalHexAndSuffixes) {
    EXPECT_EQ(parse_number("4096", "x"), 4096u);
    EXPECT_EQ(parse_number("0xffffffffffffffff", "x"), ~std::uint64_t{0});
    EXPECT_EQ(parse_number("2M", "x", true), 2u << 20);
    for (const char *bad : {"", "0x", "12q", "-1", "2M", "0x10000000000000000"})
        EXPECT_THROW(parse_number(bad, "x"), UsageError) << bad;
    EXPECT_THROW(parse_number("99999999999999G", "x", true), UsageError);
}

TEST(Age, IsShort) {
    EXPECT_EQ(age(1'234'567'890), "1.2s");
    EXPECT_EQ(age(187'000'000'000), "3m07s");
    EXPECT_EQ(age(3'660'000'000'000), "1h01m");
    EXPECT_EQ(age(90'000'000'000'000), "1d01h");
}

TEST(Registers, AssignSaysItsGroup) {
    hwv_regs regs{};
    EXPECT_EQ(assign(regs, "r9=0x10"), HWV_REGS_GPR);
    EXPECT_EQ(assign(regs, "cr3=4096"), HWV_REGS_CONTROL);
    EXPECT_EQ(assign(regs, "dr3=1"), HWV_REGS_DEBUG);
    EXPECT_EQ(regs.gpr[HWV_R9], 0x10u);
    EXPECT_EQ(regs.cr3, 4096u);
    EXPECT_EQ(regs.dr[3], 1u);
    for (const char *bad : {"rip", "rip=", "rip=x", "r16=1", "=1"})
        EXPECT_THROW(assign(regs, bad), UsageError) << bad;
    EXPECT_NE(register_text(regs).find("r9        0000000000000010"), std::string::npos);
}

std::string dump(std::uint64_t address, std::string_view bytes, std::size_t piece) {
    Hexdump d{address};
    std::string out;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
        out += d.lines(std::as_bytes(std::span{bytes.substr(0, piece)}));
    return out + d.end();
}

TEST(Hexdump, AsHexdumpC) {
    const std::string zeros(48, '\0');
    const char *want =
        "00001000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
        "*\n"
        "00001030  41 7f 42                                          |A.B|\n"
        "00001033\n";
    EXPECT_EQ(dump(0x1000,
                   zeros + "A\x7f"
                           "B",
                   1000),
              want);
    EXPECT_EQ(dump(0x1000,
                   zeros + "A\x7f"
                           "B",
                   16),
              want)
        << "in pieces";
    EXPECT_EQ(dump(0x123456789abc, "", 16), "123456789abc\n");
}

} // namespace
} // namespace hwvctl
