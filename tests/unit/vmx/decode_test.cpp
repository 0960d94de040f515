// SPDX-License-Identifier: GPL-2.0-only
// Every basic exit reason of the manual's appendix, and every field that decode() reads.
#include <gtest/gtest.h>
#include <map>
#include "vmx/decode.hpp"

using namespace hwv;
using namespace hwv::vmx;

namespace {

constexpr std::uint32_t failed = 1u << 31, valid = 1u << 31;

// Intel SDM vol. 3, appendix "VMX Basic Exit Reasons"; what is not here is UNKNOWN.
const std::map<std::uint32_t, hwv_exit_reason> table = {
    {0, HWV_EXIT_EXCEPTION},
    {1, HWV_EXIT_HOST_INTERRUPT},
    {2, HWV_EXIT_SHUTDOWN},
    {3, HWV_EXIT_INIT},
    {5, HWV_EXIT_SMI},
    {6, HWV_EXIT_SMI},
    {7, HWV_EXIT_INTERRUPT_WINDOW},
    {8, HWV_EXIT_NMI_WINDOW},
    {9, HWV_EXIT_TASK_SWITCH},
    {10, HWV_EXIT_CPUID},
    {11, HWV_EXIT_VIRT_INSTRUCTION},
    {12, HWV_EXIT_HLT},
    {13, HWV_EXIT_INVD},
    {14, HWV_EXIT_INVLPG},
    {15, HWV_EXIT_RDPMC},
    {16, HWV_EXIT_RDTSC},
    {17, HWV_EXIT_RSM},
    {18, HWV_EXIT_HYPERCALL},
    {19, HWV_EXIT_VIRT_INSTRUCTION},
    {20, HWV_EXIT_VIRT_INSTRUCTION},
    {21, HWV_EXIT_VIRT_INSTRUCTION},
    {22, HWV_EXIT_VIRT_INSTRUCTION},
    {23, HWV_EXIT_VIRT_INSTRUCTION},
    {24, HWV_EXIT_VIRT_INSTRUCTION},
    {25, HWV_EXIT_VIRT_INSTRUCTION},
    {26, HWV_EXIT_VIRT_INSTRUCTION},
    {27, HWV_EXIT_VIRT_INSTRUCTION},
    {28, HWV_EXIT_CR_WRITE},
    {29, HWV_EXIT_DR_ACCESS},
    {30, HWV_EXIT_IO},
    {31, HWV_EXIT_MSR_READ},
    {32, HWV_EXIT_MSR_WRITE},
    {36, HWV_EXIT_MWAIT},
    {37, HWV_EXIT_STEP},
    {39, HWV_EXIT_MONITOR},
    {40, HWV_EXIT_PAUSE},
    {43, HWV_EXIT_INTERRUPT_WINDOW},
    {45, HWV_EXIT_APIC_WRITE},
    {46, HWV_EXIT_DESCRIPTOR},
    {47, HWV_EXIT_DESCRIPTOR},
    {48, HWV_EXIT_PAGE_FAULT},
    {50, HWV_EXIT_VIRT_INSTRUCTION},
    {51, HWV_EXIT_RDTSCP},
    {52, HWV_EXIT_TIMER},
    {53, HWV_EXIT_VIRT_INSTRUCTION},
    {54, HWV_EXIT_WBINVD},
    {55, HWV_EXIT_XSETBV},
    {56, HWV_EXIT_APIC_WRITE},
    {58, HWV_EXIT_INVPCID},
    {59, HWV_EXIT_VIRT_INSTRUCTION},
    {60, HWV_EXIT_VIRT_INSTRUCTION},
    {63, HWV_EXIT_VIRT_INSTRUCTION},
    {64, HWV_EXIT_VIRT_INSTRUCTION},
    {65, HWV_EXIT_VIRT_INSTRUCTION},
    {67, HWV_EXIT_VIRT_INSTRUCTION},
    {68, HWV_EXIT_VIRT_INSTRUCTION},
    {69, HWV_EXIT_VIRT_INSTRUCTION},
    {70, HWV_EXIT_VIRT_INSTRUCTION},
    {72, HWV_EXIT_VIRT_INSTRUCTION},
    {73, HWV_EXIT_VIRT_INSTRUCTION},
};

TEST(VmxDecode, EveryReasonHasItsName) {
    for (std::uint32_t code = 0; code < 0x200; code++) {
        const auto found = table.find(code);
        const Exit exit = decode({.reason = code, .qualification = 5, .guest_physical = 6});
        EXPECT_EQ(exit.reason, found == table.end() ? HWV_EXIT_UNKNOWN : found->second) << code;
        EXPECT_EQ(exit.raw_reason, code);
        EXPECT_EQ(exit.raw_info[0], 5u);
        EXPECT_EQ(exit.raw_info[1], 6u);
    }
}

TEST(VmxDecode, FlagsBesideTheBasicReasonChangeNothing) {
    for (unsigned bit = 16; bit < 31; bit++)
        EXPECT_EQ(decode({.reason = 1u << bit | 10}).reason, HWV_EXIT_CPUID) << bit;
}

// Instructions tell their length; everything else leaves the field undefined. SDM "Information for
// VM Exits Due to Instruction Execution".
TEST(VmxDecode, OnlyInstructionsHaveALength) {
    for (std::uint32_t code : {1, 2, 3, 5, 6, 7, 8, 37, 43, 44, 45, 48, 49, 52, 56, 62, 74, 75})
        EXPECT_EQ(decode({.reason = code, .length = 3}).length, 0) << code;
    for (std::uint32_t code :
         {9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
          30, 31, 32, 36, 39, 40, 46, 47, 50, 51, 53, 54, 55, 58, 59, 60, 63, 64, 65, 67, 68})
        EXPECT_EQ(decode({.reason = code, .length = 3}).length, 3) << code;
}

// What each reason says beyond itself; SDM "Basic VM-Exit Information", "Information for VM Exits
// That Occur During Event Delivery".
TEST(VmxDecode, WhatHasToBeRead) {
    using namespace needs;
    const unsigned unknown = qualification | guest_physical | vectoring;
    const std::map<std::uint32_t, unsigned> exact = {
        {0, interruption | qualification | length | vectoring},
        {1, interruption},
        {9, qualification | length | vectoring},
        {14, qualification | length},
        {28, qualification | length},
        {29, qualification | length},
        {30, qualification | instruction_info | length},
        {45, qualification},
        {48, qualification | guest_physical | vectoring},
        {56, qualification},
    };
    for (std::uint32_t code = 0; code < 0x100; code++) {
        const ReasonEntry entry = reason_entry(code);
        const auto found = exact.find(code);
        if (found != exact.end())
            EXPECT_EQ(entry.needs, found->second) << code;
        else if (entry.reason == HWV_EXIT_UNKNOWN)
            EXPECT_EQ(entry.needs, unknown) << code;
        else
            EXPECT_EQ(entry.needs & ~length, 0) << code;
    }
}

TEST(VmxDecode, AnEntryThatFailed) {
    for (std::uint32_t code : {33, 34}) {
        const Exit exit = decode({.reason = failed | code,
                                  .length = 2,
                                  .qualification = 4,
                                  .vectoring = valid,
                                  .rule = 7});
        EXPECT_EQ(exit.reason, HWV_EXIT_INVALID_STATE);
        EXPECT_EQ(exit.raw_reason, failed | code);
        EXPECT_EQ(exit.raw_info[0], 7u);
        EXPECT_EQ(exit.raw_info[1], 4u);
        EXPECT_EQ(exit.length, 0);
        EXPECT_FALSE(exit.delivering); // left from the exit before
    }
    const Exit exit = decode({.reason = failed | 41, .vectoring = valid, .rule = 7});
    EXPECT_EQ(exit.reason, HWV_EXIT_MACHINE_CHECK);
    EXPECT_FALSE(exit.delivering);
}

TEST(VmxDecode, NotEntered) {
    const Exit exit = decode({.reason = 10, .length = 2, .vectoring = valid, .not_entered = 1});
    EXPECT_EQ(exit.reason, HWV_EXIT_NONE);
    EXPECT_EQ(exit.length, 0);
    EXPECT_FALSE(exit.delivering);
}

struct IoCase {
    const char *what;
    std::uint64_t qualification;
    std::uint32_t info;
    IoAccess io;
};

// SDM "Exit Qualification for I/O Instructions" and "Format of the VM-Exit Instruction-Information
// Field as Used for INS and OUTS"
const IoCase io_cases[] = {
    {"out 0x80, al", 0x0080'0040, 0x18100, {0x80, 1, true, false, false, 0, 0}},
    {"in eax, dx", 0x0cf8'000b, 0x18100, {0xcf8, 4, false, false, false, 0, 0}},
    {"in ax, dx", 0x01f0'0009, 0, {0x1f0, 2, false, false, false, 0, 0}},
    {"rep insw, 64-bit addresses",
     0x01f0'0039,
     2u << 7 | 5u << 15,
     {0x1f0, 2, false, true, true, HWV_ES, 8}},
    {"outsb cs:, 16-bit addresses", 0x0080'0010, 1u << 15, {0x80, 1, true, true, false, HWV_CS, 2}},
    {"rep outsl ds:, 32-bit addresses",
     0xffff'0033,
     1u << 7 | 3u << 15,
     {0xffff, 4, true, true, true, HWV_DS, 4}},
    {"outsb gs:, 64-bit addresses",
     0x0070'0010,
     2u << 7 | 5u << 15,
     {0x70, 1, true, true, false, HWV_GS, 8}},
};

TEST(VmxDecode, PortAccesses) {
    for (const IoCase &c : io_cases) {
        const Exit exit = decode({.reason = 30,
                                  .length = 2,
                                  .qualification = c.qualification,
                                  .instruction_info = c.info});
        EXPECT_EQ(exit.io.port, c.io.port) << c.what;
        EXPECT_EQ(exit.io.size, c.io.size) << c.what;
        EXPECT_EQ(exit.io.write, c.io.write) << c.what;
        EXPECT_EQ(exit.io.string, c.io.string) << c.what;
        EXPECT_EQ(exit.io.rep, c.io.rep) << c.what;
        EXPECT_EQ(exit.io.segment, c.io.segment) << c.what;
        EXPECT_EQ(exit.io.address_size, c.io.address_size) << c.what;
        EXPECT_EQ(is_string_io(c.qualification), c.io.string) << c.what;
        EXPECT_EQ(exit.length, 2) << c.what;
    }
}

// SDM "Exit Qualification for EPT Violations"
TEST(VmxDecode, EptViolations) {
    const std::uint64_t gpa = 0xfee0'0000, data = 0x180;
    auto fault = [gpa](std::uint64_t q) {
        return decode({.reason = 48, .qualification = q, .guest_physical = gpa}).fault;
    };
    EXPECT_EQ(fault(data | 1).gpa, gpa);
    EXPECT_FALSE(fault(data | 1).write || fault(data | 1).fetch || fault(data | 1).present ||
                 fault(data | 1).in_table_walk);
    EXPECT_TRUE(fault(data | 2).write && !fault(data | 2).fetch);
    EXPECT_TRUE(fault(data | 4).fetch && !fault(data | 4).write);
    for (unsigned bit : {3, 4, 5, 6})
        EXPECT_TRUE(fault(data | 2 | 1u << bit).present) << bit;
    EXPECT_TRUE(fault(0x080 | 3).in_table_walk); // a linear address, not its translation
    EXPECT_TRUE(fault(1).in_table_walk);         // no linear address: page-directory pointers
    EXPECT_FALSE(fault(data | 1 << 12).present);
}

// SDM "Exit Qualification for Control-Register Accesses"
TEST(VmxDecode, ControlRegisters) {
    Exit exit = decode({.reason = 28, .length = 3, .qualification = 0x304}); // mov cr4, rbx
    EXPECT_EQ(exit.reason, HWV_EXIT_CR_WRITE);
    EXPECT_EQ(exit.reg.number, 4);
    EXPECT_EQ(exit.reg.gpr, HWV_RBX);
    EXPECT_TRUE(exit.reg.write && exit.reg.decoded);
    EXPECT_FALSE(exit.reg.clts || exit.reg.lmsw);
    EXPECT_EQ(exit.length, 3);
    exit = decode({.reason = 28, .qualification = 0xf18}); // mov r15, cr8
    EXPECT_EQ(exit.reason, HWV_EXIT_CR_READ);
    EXPECT_EQ(exit.reg.number, 8);
    EXPECT_EQ(exit.reg.gpr, HWV_R15);
    EXPECT_TRUE(!exit.reg.write && exit.reg.decoded);
    exit = decode({.reason = 28, .qualification = 0x20}); // clts
    EXPECT_EQ(exit.reason, HWV_EXIT_CR_WRITE);
    EXPECT_TRUE(exit.reg.clts && exit.reg.write && exit.reg.decoded && !exit.reg.lmsw);
}

TEST(VmxDecode, LmswHasItsSource) {
    for (std::uint64_t memory : {0u, 1u << 6}) {
        const Exit exit = decode({.reason = 28, .qualification = 0xfff1'0030 | memory});
        EXPECT_EQ(exit.reason, HWV_EXIT_CR_WRITE);
        EXPECT_TRUE(exit.reg.lmsw && exit.reg.decoded && exit.reg.write && !exit.reg.clts);
        EXPECT_EQ(exit.reg.number, 0);
        EXPECT_EQ(exit.reg.source, 0xfff1);
    }
}

// SDM "Exit Qualification for MOV DR"
TEST(VmxDecode, DebugRegisterMoves) {
    Exit exit = decode({.reason = 29, .qualification = 0x607}); // mov dr7, rsi
    EXPECT_EQ(exit.reg.number, 7);
    EXPECT_EQ(exit.reg.gpr, HWV_RSI);
    EXPECT_TRUE(exit.reg.write && exit.reg.decoded);
    exit = decode({.reason = 29, .qualification = 0x816}); // mov r8, dr6
    EXPECT_EQ(exit.reg.number, 6);
    EXPECT_EQ(exit.reg.gpr, HWV_R8);
    EXPECT_TRUE(!exit.reg.write && exit.reg.decoded);
}

TEST(VmxDecode, Exceptions) {
    for (std::uint32_t v = 0; v < 32; v++)
        for (std::uint32_t code : {0u, 1u << 11}) {
            if (v == 2 || v == 18) continue;
            const Exit exit = decode({.reason = 0,
                                      .length = 9,
                                      .qualification = 0xffff'ffff,
                                      .interruption = valid | 3u << 8 | code | v,
                                      .interruption_error = 0x1234});
            EXPECT_EQ(exit.reason, HWV_EXIT_EXCEPTION);
            EXPECT_EQ(exit.exception.vector, v);
            EXPECT_EQ(exit.exception.has_error_code, code != 0);
            EXPECT_EQ(exit.exception.error_code, code ? 0x1234u : 0u);
            EXPECT_EQ(exit.exception.address, v == 14 ? 0xffff'ffffu : 0u);
            EXPECT_EQ(exit.exception.dr6, v == 1 ? 0x600fu : 0u); // not the inverted bits
            EXPECT_EQ(exit.exception.software_length, 0);
            EXPECT_EQ(exit.length, 0);
        }
}

TEST(VmxDecode, InstructionsThatRaiseTheirException) {
    const std::pair<std::uint32_t, std::uint8_t> cases[] = {{5, 1}, {6, 3}, {6, 4}};
    for (auto [type, v] : cases) { // INT1, INT3, INTO
        const Exit exit = decode({.reason = 0, .length = 1, .interruption = valid | type << 8 | v});
        EXPECT_EQ(exit.exception.vector, v);
        EXPECT_EQ(exit.exception.software_length, 1);
        EXPECT_EQ(exit.length, 1);
    }
}

TEST(VmxDecode, TheHostsNmiAndMachineCheck) {
    EXPECT_EQ(decode({.reason = 0, .interruption = valid | 2u << 8 | 2}).reason, HWV_EXIT_HOST_NMI);
    EXPECT_EQ(decode({.reason = 0, .interruption = valid | 3u << 8 | 18}).reason,
              HWV_EXIT_MACHINE_CHECK);
}

// SDM "Exit Qualification for Task Switches"
TEST(VmxDecode, TaskSwitches) {
    auto task = [](std::uint64_t q, std::uint32_t vectoring = 0) {
        return decode({.reason = 9,
                       .length = 5,
                       .qualification = q,
                       .vectoring = vectoring,
                       .vectoring_error = 0x99,
                       .entry_length = 2});
    };
    for (std::uint64_t source : {0, 1, 2}) {
        const Exit exit = task(source << 30 | 0x38);
        EXPECT_EQ(exit.task.selector, 0x38);
        EXPECT_EQ(exit.task.iret, source == 1);
        EXPECT_EQ(exit.task.jump, source == 2);
        EXPECT_FALSE(exit.task.has_error_code);
        EXPECT_EQ(exit.length, 5);
    }
    const std::uint64_t gate = 3ull << 30 | 0x40;
    Exit exit = task(gate, valid | 3u << 8 | 1u << 11 | 10);
    EXPECT_EQ(exit.task.selector, 0x40);
    EXPECT_FALSE(exit.task.iret || exit.task.jump);
    EXPECT_TRUE(exit.task.has_error_code);
    EXPECT_EQ(exit.task.error_code, 0x99u);
    EXPECT_EQ(exit.length, 0);
    EXPECT_EQ(exit.delivering, exception(10, 0x99));
    exit = task(gate, valid | 0x20);
    EXPECT_FALSE(exit.task.has_error_code);
    EXPECT_EQ(exit.length, 0);
    exit = task(gate, valid | 4u << 8 | 0x80);
    EXPECT_EQ(exit.length, 2); // of the INT n
    EXPECT_FALSE(exit.task.has_error_code);
}

TEST(VmxDecode, InvlpgHasItsAddress) {
    EXPECT_EQ(decode({.reason = 14, .length = 3, .qualification = 0x7000}).linear, 0x7000u);
}

// SDM "EOI Virtualization", "APIC-Write VM Exits": the vector or the offset, nothing else of it.
TEST(VmxDecode, WhatTheCpuLeavesOfWritesToTheApic) {
    const Exit eoi = decode({.reason = 45, .length = 9, .qualification = 0xabcd'0062});
    EXPECT_EQ(eoi.apic.offset, 0xb0u);
    EXPECT_EQ(eoi.apic.vector, 0x62);
    EXPECT_EQ(eoi.length, 0) << "RIP is behind the instruction";
    for (const std::uint32_t offset : {0x80u, 0xb0u, 0x300u, 0x3f0u}) {
        const Exit write = decode({.reason = 56, .length = 9, .qualification = 0x7000 + offset});
        EXPECT_EQ(write.apic.offset, offset);
        EXPECT_EQ(write.apic.vector, 0);
        EXPECT_EQ(write.length, 0);
    }
}

TEST(VmxDecode, WhatWasBeingDelivered) {
    auto delivering = [](std::uint32_t info) {
        return decode({.reason = 48, .vectoring = info, .vectoring_error = 5, .entry_length = 2})
            .delivering;
    };
    EXPECT_FALSE(delivering(0x030e)); // not valid
    EXPECT_EQ(delivering(valid | 0x30), (Event{HWV_EVENT_INTERRUPT, 0x30}));
    EXPECT_EQ(delivering(valid | 3u << 8 | 1u << 11 | 14), exception(14, 5));
    EXPECT_EQ(delivering(valid | 4u << 8 | 0x80), (Event{HWV_EVENT_SOFTWARE, 0x80, false, 2}));
}

// SDM "Information About NMI Unblocking Due to IRET"
TEST(VmxDecode, AnIretThatFaultedBlocksNmisAgain) {
    const std::uint32_t gp = valid | 3u << 8 | 13, bit = 1u << 12;
    EXPECT_TRUE(iret_unblocked_nmis({.reason = 0, .interruption = gp | bit}));
    EXPECT_FALSE(iret_unblocked_nmis({.reason = 0, .interruption = gp}));
    EXPECT_FALSE(iret_unblocked_nmis({.reason = 0, .interruption = valid | 3u << 8 | 8 | bit}));
    EXPECT_FALSE(
        iret_unblocked_nmis({.reason = 0, .interruption = gp | bit, .vectoring = valid | 0x20}));
    EXPECT_TRUE(iret_unblocked_nmis({.reason = 48, .qualification = bit}));
    EXPECT_TRUE(iret_unblocked_nmis({.reason = 62, .qualification = bit}));
    EXPECT_FALSE(iret_unblocked_nmis({.reason = 48, .qualification = bit - 1}));
    EXPECT_FALSE(
        iret_unblocked_nmis({.reason = 48, .qualification = bit, .vectoring = valid | 2u << 8}));
    EXPECT_FALSE(iret_unblocked_nmis({.reason = 30, .qualification = bit}));
    EXPECT_FALSE(iret_unblocked_nmis({.reason = failed | 33, .qualification = bit}));
}

} // namespace
