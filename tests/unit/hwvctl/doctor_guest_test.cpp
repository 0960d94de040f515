// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/doctor.hpp"

#include <gtest/gtest.h>

namespace hwvctl {
namespace {

const Finding *find(const Findings &findings, const std::string &text) {
    for (const Finding &finding : findings)
        if (finding.what.find(text) != std::string::npos) return &finding;
    return nullptr;
}

GuestFacts modern() {
    GuestFacts guest;
    guest.regs.cr0 = 0x8000'0001;
    guest.regs.efer = 0x500;
    guest.regs.apic_base = 0xfee0'0d00;
    const auto wrote = [&guest](std::uint64_t msr, std::uint64_t count) {
        guest.profile.keys[{HWV_EXIT_MSR_WRITE, msr}].count = count;
    };
    wrote(0x6e0, 500);
    guest.msrs = {{0x4b564d01, 0x1000'0001}, {0x4b564d03, 0x2000'0001}, {0x4b564d04, 0x3001}};
    wrote(0x80b, 7);
    guest.resident = 100 << 20;
    guest.in_huge_pages = 80 << 20;
    return guest;
}

TEST(DoctorGuest, FindsNothingToDoInAModernOne) {
    const Findings findings = judge_guest(modern());
    for (const Finding &finding : findings)
        EXPECT_EQ(finding.verdict, Verdict::ok) << finding.what;
    EXPECT_TRUE(find(findings, "64-bit mode"));
    EXPECT_TRUE(find(findings, "x2APIC"));
    EXPECT_TRUE(find(findings, "TSC deadline, set 500 times"));
    EXPECT_TRUE(find(findings, "PV EOI is in use; 7 ends"));
    EXPECT_TRUE(find(findings, "80 % of 100 MiB"));
}

TEST(DoctorGuest, SaysWhatAnOldOneLeavesOut) {
    GuestFacts guest;
    guest.regs.cr0 = 0x8000'0001;
    guest.regs.apic_base = 0xfee0'0900;
    guest.profile.keys[{HWV_EXIT_PAGE_FAULT, 0xfee00000}].count = 321;
    guest.profile.keys[{HWV_EXIT_MSR_WRITE, 0x830}].count = 5;
    guest.msrs = {{0x4b564d01, 0}, {0x4b564d03, 0}, {0x4b564d04, 0}};
    const Findings findings = judge_guest(guest);
    for (const char *text :
         {"xAPIC: the local APIC's registers are in memory (321 exits)", "kvmclock is not in use",
          "PV EOI is not in use", "no PV IPI", "no sign of the APIC timer"}) {
        const Finding *finding = find(findings, text);
        ASSERT_TRUE(finding) << text;
        EXPECT_EQ(finding->verdict, Verdict::warning);
        EXPECT_FALSE(finding->advice.empty());
    }
    EXPECT_TRUE(find(findings, "32-bit mode without PAE"));
    EXPECT_FALSE(find(findings, "huge pages")) << "unknown";
    guest.msrs.clear();
    EXPECT_TRUE(find(judge_guest(guest), "its launcher does not tell its MSRs"));
    EXPECT_FALSE(find(judge_guest(guest), "kvmclock is not in use")) << "unknown";
    guest.regs.apic_base = 0;
    EXPECT_TRUE(find(judge_guest(guest), "local APIC is off"));
}

} // namespace
} // namespace hwvctl
