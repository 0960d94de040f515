// SPDX-License-Identifier: GPL-2.0-only
// Task switches by Intel SDM vol. 3, "Task Switching".
#include "assist/task_switch.hpp"

#include "task_fixture.hpp"

namespace assist_test {
namespace {

TEST_F(TaskSwitch, CallSavesAndNests) {
    for (unsigned n = 0; n < 8; ++n)
        regs.gpr[n] = 0x100 + n;
    regs.rflags = 0x40ed7; // with AC
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(word(old_tss + 0x20), code_at + 7);
    EXPECT_EQ(word(old_tss + 0x24), 0x40ed7U);
    for (unsigned n = 0; n < 8; ++n)
        EXPECT_EQ(word(old_tss + 0x28 + 4 * n), 0x100 + n);
    const std::uint32_t saved[] = {sel_data, sel_code, sel_data, sel_data, sel_data, sel_data};
    for (unsigned n = 0; n < 6; ++n)
        EXPECT_EQ(word(old_tss + 0x48 + 4 * n), saved[n]) << n;
    EXPECT_EQ(word(new_tss) & 0xffff, unsigned{sel_old});
    EXPECT_TRUE(busy(sel_old));
    EXPECT_TRUE(busy(sel_new));
    EXPECT_EQ(regs.rflags, 0x4002U);
}

TEST_F(TaskSwitch, TheNewTaskIsLoaded) {
    put(new_tss + 0x24, 0x00ed5);
    for (unsigned n = 0; n < 8; ++n)
        put(new_tss + 0x28 + 4 * n, 0x8000'0200 + n);
    regs.gpr[HWV_RAX] = ~0ULL;
    regs.dr7 = 0x7ff;
    regs.event.shadow = HWV_SHADOW_STI;
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.rip, 0x2222U);
    EXPECT_EQ(regs.rflags, 0x4ed7U);
    for (unsigned n = 0; n < 8; ++n)
        EXPECT_EQ(regs.gpr[n], 0x8000'0200 + n);
    EXPECT_EQ(regs.segment[HWV_TR].selector, sel_new);
    EXPECT_EQ(regs.segment[HWV_TR].base, new_tss);
    EXPECT_EQ(regs.segment[HWV_TR].limit, 0x67U);
    EXPECT_EQ(regs.segment[HWV_TR].attributes, 0x8b);
    EXPECT_EQ(regs.segment[HWV_CS].selector, sel_code);
    EXPECT_EQ(regs.segment[HWV_CS].attributes, 0xc9b);
    EXPECT_EQ(regs.segment[HWV_CS].limit, 0xffff'ffffU);
    EXPECT_EQ(regs.segment[HWV_DS].selector, sel_based);
    EXPECT_EQ(regs.segment[HWV_DS].base, 0x1200'3400U);
    EXPECT_EQ(regs.segment[HWV_DS].limit, 0x0'1234U);
    EXPECT_NE(regs.segment[HWV_GS].attributes & 0x1000, 0) << "null";
    EXPECT_EQ(regs.cr0 & 8, 8U) << "TS";
    EXPECT_EQ(regs.dr7, 0x6aaU) << "local breakpoints are off";
    EXPECT_EQ(regs.event.shadow, 0);
    EXPECT_EQ(memory().get<std::uint8_t>(gdt + sel_based + 5) & 1, 1) << "accessed";
}

TEST_F(TaskSwitch, IretGoesBack) {
    make_busy(sel_new);
    regs.rflags = 0x4006;
    put(new_tss + 0x24, 0x246);
    EXPECT_EQ(iret(), Status::done);
    EXPECT_EQ(word(old_tss + 0x24), 6U) << "NT is cleared in what is saved";
    EXPECT_EQ(word(old_tss + 0x20), code_at + 1);
    EXPECT_FALSE(busy(sel_old));
    EXPECT_TRUE(busy(sel_new));
    EXPECT_EQ(regs.rflags, 0x246U);
    EXPECT_EQ(word(new_tss), 0U) << "no link";
}

TEST_F(TaskSwitch, JumpLeavesNothingBehind) {
    regs.rflags = 0x4002;
    put(new_tss + 0x24, 0x2);
    EXPECT_EQ(jump(), Status::done);
    EXPECT_EQ(word(old_tss + 0x24), 0x4002U);
    EXPECT_EQ(regs.rflags, 2U);
    EXPECT_FALSE(busy(sel_old));
    EXPECT_TRUE(busy(sel_new));
    EXPECT_EQ(word(new_tss), 0U);
    SetUp();
    put(new_tss + 0x24, 0x4002);
    EXPECT_EQ(jump(), Status::done);
    EXPECT_EQ(regs.rflags, 0x4002U) << "NT as loaded";
}

TEST_F(TaskSwitch, GateSavesTheFaultingInstruction) {
    EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, 8, 0x1234), Status::done);
    EXPECT_EQ(word(old_tss + 0x20), code_at);
    EXPECT_EQ(regs.rflags, 0x4002U);
    EXPECT_EQ(regs.gpr[HWV_RSP], new_stack - 4);
    EXPECT_EQ(word(new_stack - 4), 0x1234U);
    EXPECT_EQ(regs.event.type, HWV_EVENT_NONE);
    EXPECT_EQ(word(new_tss) & 0xffff, unsigned{sel_old});
}

TEST_F(TaskSwitch, GateOfAnInterruptPushesNothing) {
    EXPECT_EQ(gate(HWV_EVENT_INTERRUPT, 0x20), Status::done);
    EXPECT_EQ(regs.gpr[HWV_RSP], new_stack);
    EXPECT_EQ(word(old_tss + 0x20), code_at);
}

TEST_F(TaskSwitch, GateOfIntNSavesTheNextInstruction) {
    EXPECT_EQ(gate(HWV_EVENT_SOFTWARE, 0x80, {}, code_at + 2), Status::done);
    EXPECT_EQ(word(old_tss + 0x20), code_at + 2);
}

TEST_F(TaskSwitch, NmisAreBlockedByTheirGateAndOpenedByIret) {
    EXPECT_EQ(gate(HWV_EVENT_NMI, 2), Status::done);
    EXPECT_EQ(regs.event.nmi_blocked, 1);
    SetUp();
    regs.event.nmi_blocked = 1;
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.event.nmi_blocked, 1);
    SetUp();
    make_busy(sel_new);
    regs.event.nmi_blocked = 1;
    EXPECT_EQ(iret(), Status::done);
    EXPECT_EQ(regs.event.nmi_blocked, 0);
    SetUp();
    regs.event.nmi_blocked = 1; // the IRET faults: not busy
    EXPECT_EQ(iret(), Status::fault);
    EXPECT_EQ(regs.event.nmi_blocked, 0);
}

TEST_F(TaskSwitch, SixteenBitTss) {
    set_descriptor(sel_new, new_tss, 0x2b, 0x81);
    for (unsigned at = 0; at < 0x68; at += 2)
        memory().put<std::uint16_t>(new_tss + at, 0);
    memory().put<std::uint16_t>(new_tss + 0x0e, 0x3333);
    memory().put<std::uint16_t>(new_tss + 0x10, 0x0247);
    for (unsigned n = 0; n < 8; ++n)
        memory().put<std::uint16_t>(new_tss + 0x12 + 2 * n, static_cast<std::uint16_t>(0x9000 + n));
    const std::uint16_t selectors[] = {sel_data, sel_code, sel_data, sel_based, sel_ldt};
    for (unsigned n = 0; n < 5; ++n)
        memory().put<std::uint16_t>(new_tss + 0x22 + 2 * n, selectors[n]);
    regs.cr3 = 0x7000;
    EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, 13, 0xabcd'1234), Status::done);
    EXPECT_EQ(regs.rip, 0x3333U);
    EXPECT_EQ(regs.rflags, 0x4247U);
    EXPECT_EQ(regs.gpr[HWV_RAX] & 0xffff, 0x9000U);
    EXPECT_EQ(regs.gpr[HWV_RDI] & 0xffff, 0x9007U);
    EXPECT_EQ(regs.gpr[HWV_RSP] & 0xffff, 0x9004U - 2);
    EXPECT_EQ(memory().get<std::uint16_t>(0x9002), 0x1234) << "the push has 16 bits";
    EXPECT_EQ(regs.segment[HWV_DS].selector, sel_based);
    EXPECT_EQ(regs.segment[HWV_FS].selector, 0);
    EXPECT_EQ(regs.segment[HWV_LDTR].selector, sel_ldt);
    EXPECT_EQ(regs.segment[HWV_TR].attributes, 0x83);
    EXPECT_EQ(regs.cr3, 0x7000U);
    // and back from there
    make_task(old_tss, 0x1111);
    regs.rflags |= 1 << 16;
    const hwv_exit_task_switch back{.selector = sel_old, .source = HWV_TASK_IRET};
    EXPECT_EQ(run(back, regs.rip + 1), Status::done);
    EXPECT_EQ(memory().get<std::uint16_t>(new_tss + 0x0e), 0x3334);
    EXPECT_EQ(memory().get<std::uint16_t>(new_tss + 0x10), 0x0247);
    EXPECT_EQ(memory().get<std::uint16_t>(new_tss + 0x28), sel_based);
    EXPECT_EQ(memory().get<std::uint16_t>(new_tss + 0x2a), sel_ldt) << "static: not written";
    EXPECT_EQ(regs.rip, 0x1111U);
}

TEST_F(TaskSwitch, StaticFieldsOfTheOldTssStay) {
    put(old_tss + 0x1c, 0x5555'5555);
    put(old_tss + 0x60, 0x6666'6666);
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(word(old_tss + 0x1c), 0x5555'5555U);
    EXPECT_EQ(word(old_tss + 0x60), 0x6666'6666U);
}

TEST_F(TaskSwitch, VirtualMode) {
    put(new_tss + 0x24, 0x2'3202);
    put(new_tss + 0x48, 0x1111);
    put(new_tss + 0x4c, 0x2222);
    put(new_tss + 0x50, 0x3333);
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.rflags, 0x2'7202U);
    EXPECT_EQ(regs.segment[HWV_CS].base, 0x2'2220U);
    EXPECT_EQ(regs.segment[HWV_SS].base, 0x3'3330U);
    for (unsigned n = HWV_ES; n <= HWV_GS; ++n) {
        EXPECT_EQ(regs.segment[n].limit, 0xffffU);
        EXPECT_EQ(regs.segment[n].attributes, 0xf3);
    }
}

TEST_F(TaskSwitch, LdtAndItsSegments) {
    put(new_tss + 0x60, sel_ldt);
    set_entry(ldt + 0x8, 0x40'0000, 0xfff, 0x93, 0x4);
    put(new_tss + 0x54, 0x8 | 4);
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.segment[HWV_LDTR].base, ldt);
    EXPECT_EQ(regs.segment[HWV_LDTR].attributes, 0x82);
    EXPECT_EQ(regs.segment[HWV_DS].base, 0x40'0000U);
}

TEST_F(TaskSwitch, UserTask) {
    put(new_tss + 0x4c, sel_user_code);
    put(new_tss + 0x50, sel_user_data);
    put(new_tss + 0x48, sel_user_data);
    put(new_tss + 0x54, sel_conforming | 3);
    put(new_tss + 0x58, 0);
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.segment[HWV_SS].attributes >> 5 & 3, 3);
    EXPECT_EQ(regs.segment[HWV_CS].selector, sel_user_code);
}

TEST_F(TaskSwitch, Cr3AndPageTables) {
    paging(0x10'0000, 0);
    paging(0x10'2000, 0x4000); // there page 2 is elsewhere
    regs.cr3 = 0x10'0000;
    regs.cr0 |= assist::cr0_pg;
    put(new_tss + 0x1c, 0x10'2018); // PWT, PCD
    put(new_tss + 0x38, 0x8000);
    EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, 13, 0x77), Status::done);
    EXPECT_EQ(regs.cr3, 0x10'2018U);
    EXPECT_EQ(word(0x7ffc + 0x4000), 0x77U) << "the stack is the new address space's";
    EXPECT_EQ(word(old_tss + 0x20), code_at) << "the TSSs are the old one's";
}

TEST_F(TaskSwitch, Cr3IsNotLoadedWithoutPaging) {
    regs.cr3 = 0x3000;
    put(new_tss + 0x1c, 0x5000);
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.cr3, 0x3000U);
}

TEST_F(TaskSwitch, TrapBit) {
    put(new_tss + 0x64, 1);
    regs.dr6 = 0xffff'0ff0;
    EXPECT_EQ(call(), Status::fault);
    EXPECT_EQ(regs.event.vector, 1);
    EXPECT_EQ(regs.event.has_error_code, 0);
    EXPECT_EQ(regs.dr6, 0xffff'8ff0U);
    EXPECT_EQ(regs.rip, 0x2222U);
    EXPECT_EQ(regs.rflags & 1 << 16, 0U) << "a trap";
}

TEST_F(TaskSwitch, NotInLongMode) {
    regs.efer = assist::efer_lma;
    const auto before = regs;
    EXPECT_EQ(call(), Status::unsupported);
    EXPECT_EQ(std::memcmp(&before, &regs, sizeof regs), 0);
}

} // namespace
} // namespace assist_test
