// SPDX-License-Identifier: GPL-2.0-only
// Every exit code of the manual's appendix, and every information field that decode() reads.
#include <gtest/gtest.h>
#include <map>
#include "svm/decode.hpp"

using namespace hwv;
using namespace hwv::svm;

namespace {

// AMD APM vol. 2, appendix "SVM Intercept Exit Codes"; what is not here is UNKNOWN.
const std::map<std::uint32_t, hwv_exit_reason> table = {
    {0x60, HWV_EXIT_HOST_INTERRUPT},
    {0x61, HWV_EXIT_HOST_NMI},
    {0x62, HWV_EXIT_SMI},
    {0x63, HWV_EXIT_INIT},
    {0x64, HWV_EXIT_INTERRUPT_WINDOW},
    {0x65, HWV_EXIT_CR_WRITE},
    {0x66, HWV_EXIT_DESCRIPTOR},
    {0x67, HWV_EXIT_DESCRIPTOR},
    {0x68, HWV_EXIT_DESCRIPTOR},
    {0x69, HWV_EXIT_DESCRIPTOR},
    {0x6a, HWV_EXIT_DESCRIPTOR},
    {0x6b, HWV_EXIT_DESCRIPTOR},
    {0x6c, HWV_EXIT_DESCRIPTOR},
    {0x6d, HWV_EXIT_DESCRIPTOR},
    {0x6e, HWV_EXIT_RDTSC},
    {0x6f, HWV_EXIT_RDPMC},
    {0x72, HWV_EXIT_CPUID},
    {0x73, HWV_EXIT_RSM},
    {0x74, HWV_EXIT_NMI_WINDOW},
    {0x76, HWV_EXIT_INVD},
    {0x77, HWV_EXIT_PAUSE},
    {0x78, HWV_EXIT_HLT},
    {0x79, HWV_EXIT_INVLPG},
    {0x7a, HWV_EXIT_VIRT_INSTRUCTION},
    {0x7b, HWV_EXIT_IO},
    {0x7c, HWV_EXIT_MSR_READ},
    {0x7d, HWV_EXIT_TASK_SWITCH},
    {0x7f, HWV_EXIT_SHUTDOWN},
    {0x80, HWV_EXIT_VIRT_INSTRUCTION},
    {0x81, HWV_EXIT_HYPERCALL},
    {0x82, HWV_EXIT_VIRT_INSTRUCTION},
    {0x83, HWV_EXIT_VIRT_INSTRUCTION},
    {0x84, HWV_EXIT_VIRT_INSTRUCTION},
    {0x85, HWV_EXIT_VIRT_INSTRUCTION},
    {0x86, HWV_EXIT_VIRT_INSTRUCTION},
    {0x87, HWV_EXIT_RDTSCP},
    {0x89, HWV_EXIT_WBINVD},
    {0x8a, HWV_EXIT_MONITOR},
    {0x8b, HWV_EXIT_MWAIT},
    {0x8c, HWV_EXIT_MWAIT},
    {0x8d, HWV_EXIT_XSETBV},
    {0x8e, HWV_EXIT_RDPRU},
    {0xa0, HWV_EXIT_VIRT_INSTRUCTION},
    {0xa1, HWV_EXIT_VIRT_INSTRUCTION},
    {0xa2, HWV_EXIT_INVPCID},
    {0xa3, HWV_EXIT_VIRT_INSTRUCTION},
    {0xa4, HWV_EXIT_VIRT_INSTRUCTION},
    {0xa6, HWV_EXIT_HLT},
    {0x400, HWV_EXIT_PAGE_FAULT},
    {0xf000'0000, HWV_EXIT_NONE},
    {0xffff'ffff, HWV_EXIT_INVALID_STATE},
};

hwv_exit_reason expected(std::uint32_t code) {
    if (code < 0x10) return HWV_EXIT_CR_READ;
    if (code < 0x20) return HWV_EXIT_CR_WRITE;
    if (code < 0x40) return HWV_EXIT_DR_ACCESS;
    if (code == 0x52) return HWV_EXIT_MACHINE_CHECK;
    if (code < 0x60) return HWV_EXIT_EXCEPTION;
    const auto found = table.find(code);
    return found == table.end() ? HWV_EXIT_UNKNOWN : found->second;
}

TEST(SvmDecode, EveryCodeHasItsReason) {
    for (std::uint32_t code = 0; code < 0x500; code++) {
        EXPECT_EQ(decode({.code = code}).reason, expected(code)) << std::hex << code;
        EXPECT_EQ(decode({.code = code}).raw_reason, code);
    }
    for (const auto &[code, reason] : table)
        EXPECT_EQ(decode({.code = code}).reason, reason) << std::hex << code;
}

TEST(SvmDecode, InvalidIsJudgedByTheLowHalf) {
    for (std::uint64_t code : {0xffff'ffffull, ~0ull}) {
        const Exit exit = decode({.code = code, .info1 = 99, .rule = 7});
        EXPECT_EQ(exit.reason, HWV_EXIT_INVALID_STATE);
        EXPECT_EQ(exit.raw_info[0], 7u);
    }
}

TEST(SvmDecode, LengthComesFromTheNextRipWhereThereIsOne) {
    EXPECT_EQ(decode({.code = 0x72, .rip = 0x1000, .next_rip = 0x1002}).length, 2);
    EXPECT_EQ(decode({.code = 0x72, .rip = 0x1000, .next_rip = 0x100f}).length, 15);
    EXPECT_EQ(decode({.code = 0x72, .rip = 0x1000}).length, 0);
    EXPECT_EQ(decode({.code = 0x72, .rip = 0x1000, .next_rip = 0x1010}).length,
              0); // no instruction is that long
    EXPECT_EQ(decode({.code = 0x72, .rip = 0x1000, .next_rip = 0xfff}).length, 0);
    EXPECT_EQ(decode({.code = 0x400, .rip = 0x1000, .next_rip = 0x1002}).length, 0);
}

struct IoCase {
    const char *what;
    std::uint64_t info1;
    IoAccess io;
};

// AMD APM vol. 2, "IOIO Intercepts"
const IoCase io_cases[] = {
    {"out 0x80, al", 0x0080'0010, {0x80, 1, true, false, false, 0, 0}},
    {"in eax, dx", 0x0cf8'0041, {0xcf8, 4, false, false, false, 0, 0}},
    {"in ax, dx", 0x01f0'0021, {0x1f0, 2, false, false, false, 0, 0}},
    {"rep insw, 64-bit addresses", 0x01f0'022d, {0x1f0, 2, false, true, true, 0, 8}},
    {"outsb cs:, 16-bit addresses", 0x0080'0494, {0x80, 1, true, true, false, HWV_CS, 2}},
    {"rep outsl ds:, 32-bit addresses", 0xffff'0d4c, {0xffff, 4, true, true, true, HWV_DS, 4}},
};

TEST(SvmDecode, PortAccesses) {
    for (const IoCase &c : io_cases) {
        const Exit exit = decode({.code = 0x7b,
                                  .info1 = c.info1,
                                  .info2 = 0x2002,
                                  .rip = 0x2000,
                                  .decode_assists = true});
        EXPECT_EQ(exit.io.port, c.io.port) << c.what;
        EXPECT_EQ(exit.io.size, c.io.size) << c.what;
        EXPECT_EQ(exit.io.write, c.io.write) << c.what;
        EXPECT_EQ(exit.io.string, c.io.string) << c.what;
        EXPECT_EQ(exit.io.rep, c.io.rep) << c.what;
        EXPECT_EQ(exit.io.segment, c.io.segment) << c.what;
        EXPECT_EQ(exit.io.address_size, c.io.address_size) << c.what;
        EXPECT_EQ(decode({.code = 0x7b, .info1 = c.info1}).io.segment, segment_not_told) << c.what;
        EXPECT_EQ(exit.length, 2) << c.what; // EXITINFO2, with and without NRIPS
    }
}

TEST(SvmDecode, MsrAccesses) {
    EXPECT_EQ(decode({.code = 0x7c, .info1 = 0}).reason, HWV_EXIT_MSR_READ);
    EXPECT_EQ(decode({.code = 0x7c, .info1 = 1}).reason, HWV_EXIT_MSR_WRITE);
}

TEST(SvmDecode, NestedPageFaults) {
    const std::uint64_t gpa = 0xfee0'0000;
    auto fault = [gpa](std::uint64_t error) {
        return decode({.code = 0x400, .info1 = error, .info2 = gpa}).fault;
    };
    EXPECT_EQ(fault(4).gpa, gpa);
    EXPECT_FALSE(fault(4).write || fault(4).fetch || fault(4).present || fault(4).in_table_walk);
    EXPECT_TRUE(fault(1ull << 32 | 6).write);
    EXPECT_TRUE(fault(1ull << 32 | 7).present);
    EXPECT_TRUE(fault(1ull << 32 | 20).fetch);
    EXPECT_FALSE(fault(1ull << 32 | 6).in_table_walk);
    EXPECT_TRUE(fault(1ull << 33 | 6).in_table_walk);
}

TEST(SvmDecode, ControlRegisterMoves) {
    const std::uint64_t mov = 1ull << 63;
    Exit exit = decode({.code = 0x14, .info1 = mov | 3, .decode_assists = true});
    EXPECT_EQ(exit.reg.number, 4);
    EXPECT_EQ(exit.reg.gpr, 3);
    EXPECT_TRUE(exit.reg.write && exit.reg.decoded);
    exit = decode({.code = 0x08, .info1 = mov | 15, .decode_assists = true});
    EXPECT_EQ(exit.reg.number, 8);
    EXPECT_EQ(exit.reg.gpr, 15);
    EXPECT_FALSE(exit.reg.write);
    // CLTS and LMSW leave bit 63 clear; a selective exit and a CPU without the assists say nothing
    EXPECT_FALSE(decode({.code = 0x10, .decode_assists = true}).reg.decoded);
    EXPECT_FALSE(decode({.code = 0x14, .info1 = mov | 3}).reg.decoded);
    exit = decode({.code = 0x65, .info1 = mov | 3, .decode_assists = true});
    EXPECT_EQ(exit.reg.number, 0);
    EXPECT_TRUE(exit.reg.write);
    EXPECT_FALSE(exit.reg.decoded);
}

TEST(SvmDecode, DebugRegisterMoves) {
    Exit exit = decode({.code = 0x37, .info1 = 6, .decode_assists = true});
    EXPECT_EQ(exit.reg.number, 7);
    EXPECT_EQ(exit.reg.gpr, 6);
    EXPECT_TRUE(exit.reg.write && exit.reg.decoded);
    exit = decode({.code = 0x26, .info1 = 6});
    EXPECT_EQ(exit.reg.number, 6);
    EXPECT_FALSE(exit.reg.write || exit.reg.decoded);
}

TEST(SvmDecode, Exceptions) {
    const std::uint32_t with_code =
        1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21;
    for (std::uint8_t v = 0; v < 32; v++) {
        if (v == 18) continue;
        const Exit exit = decode({.code = 0x40u + v, .info1 = 0x1234, .info2 = 0x5678});
        EXPECT_EQ(exit.exception.vector, v);
        EXPECT_EQ(exit.exception.has_error_code, (with_code >> v & 1) != 0) << int(v);
        EXPECT_EQ(exit.exception.error_code, with_code >> v & 1 ? 0x1234u : 0u) << int(v);
        EXPECT_EQ(exit.exception.address, v == 14 ? 0x5678u : 0u);
    }
}

TEST(SvmDecode, TaskSwitches) {
    Exit exit = decode({.code = 0x7d, .info1 = 0x38, .info2 = 1ull << 36});
    EXPECT_EQ(exit.task.selector, 0x38);
    EXPECT_TRUE(exit.task.iret);
    EXPECT_FALSE(exit.task.jump || exit.task.has_error_code);
    exit = decode({.code = 0x7d, .info1 = 0x38, .info2 = 1ull << 44 | 1ull << 38 | 0x99});
    EXPECT_TRUE(exit.task.jump && exit.task.has_error_code);
    EXPECT_EQ(exit.task.error_code, 0x99u);
}

TEST(SvmDecode, InvlpgAddressNeedsTheAssists) {
    EXPECT_EQ(decode({.code = 0x79, .info1 = 0x7000, .decode_assists = true}).linear, 0x7000u);
    EXPECT_EQ(decode({.code = 0x79, .info1 = 0x7000}).linear, 0u);
}

TEST(SvmDecode, WhatWasBeingDelivered) {
    auto delivering = [](std::uint64_t info) {
        return decode({.code = 0x400, .int_info = info}).delivering;
    };
    const std::uint64_t valid = 1u << 31;
    EXPECT_FALSE(delivering(0x030e)); // left from a delivery that went well
    EXPECT_EQ(delivering(valid | 0x30), (Event{HWV_EVENT_INTERRUPT, 0x30}));
    EXPECT_EQ(delivering(valid | 2u << 8 | 2), (Event{HWV_EVENT_NMI, 2}));
    EXPECT_EQ(delivering(valid | 3u << 8 | 6), exception(6));
    EXPECT_EQ(delivering(5ull << 32 | valid | 1u << 11 | 3u << 8 | 14), exception(14, 5));
    EXPECT_EQ(delivering(valid | 4u << 8 | 0x80), (Event{HWV_EVENT_SOFTWARE, 0x80}));
    EXPECT_EQ(delivering(valid | 3u << 8 | 3), (Event{HWV_EVENT_SOFTWARE, 3})); // INT3: runs again
    EXPECT_EQ(delivering(valid | 3u << 8 | 4), (Event{HWV_EVENT_SOFTWARE, 4})); // INTO
}

TEST(SvmDecode, WhatThisEntryInjectedKeepsItsLength) {
    const std::uint64_t valid = 1u << 31;
    const Exit software = decode({.code = 0x400,
                                  .int_info = valid | 4u << 8 | 0x80,
                                  .own_event = true,
                                  .software_length = 2});
    EXPECT_EQ(software.delivering, (Event{HWV_EVENT_SOFTWARE, 0x80, false, 2}));
    const Exit breakpoint =
        decode({.code = 0x400, .int_info = valid | 3u << 8 | 3, .own_event = true});
    EXPECT_EQ(breakpoint.delivering, exception(3));
}

TEST(SvmDecode, EventsSurviveTheWayThere) {
    for (const Event &e : {Event{HWV_EVENT_INTERRUPT, 0xff}, Event{HWV_EVENT_NMI, 2}, exception(6),
                           exception(14, 0xffff'ffff), Event{HWV_EVENT_SOFTWARE, 0x80}})
        EXPECT_EQ(to_event(from_event(e)), e);
    EXPECT_EQ(from_event(Event{}), 0u);
}

} // namespace
