// SPDX-License-Identifier: GPL-2.0-only
// What faults in a task switch, and where: Intel SDM vol. 3, "Exception Conditions Checked During a
// Task Switch".
#include "task_fixture.hpp"

namespace assist_test {
namespace {

enum : unsigned { df = 8, ts = 10, np = 11, ss = 12, gp = 13, pf = 14 };

class TaskFault : public TaskSwitch {
  protected:
    void expect_event(unsigned vector, std::uint32_t code) {
        EXPECT_EQ(regs.event.type, HWV_EVENT_EXCEPTION);
        EXPECT_EQ(unsigned{regs.event.vector}, vector);
        EXPECT_EQ(regs.event.has_error_code, 1);
        EXPECT_EQ(regs.event.error_code, code);
        EXPECT_EQ((regs.rflags & assist::flag_resume) != 0, vector != df);
    }
    // The old task is what it was, but for RF; so are its TSS and the descriptors.
    template <typename Do>
    void before_commit(Do action, unsigned vector, std::uint32_t code) {
        const auto was = regs;
        EXPECT_EQ(action(), Status::fault);
        expect_event(vector, code);
        EXPECT_EQ(regs.rip, was.rip);
        EXPECT_EQ(regs.cr3, was.cr3);
        EXPECT_EQ(regs.cr0, was.cr0);
        EXPECT_EQ(std::memcmp(regs.gpr, was.gpr, sizeof was.gpr), 0);
        EXPECT_EQ(std::memcmp(regs.segment, was.segment, sizeof was.segment), 0);
        EXPECT_EQ(word(old_tss + 0x20), 0U);
        EXPECT_EQ(word(new_tss), 0U);
        EXPECT_TRUE(busy(sel_old));
        SetUp();
    }
    // The new task is entered: its registers, its TSS, TS.
    template <typename Do>
    void after_commit(Do action, unsigned vector, std::uint32_t code) {
        EXPECT_EQ(action(), Status::fault);
        expect_event(vector, code);
        EXPECT_EQ(regs.rip, 0x2222U);
        EXPECT_EQ(regs.segment[HWV_TR].selector, sel_new);
        EXPECT_EQ(word(old_tss + 0x20), code_at + 7);
        EXPECT_TRUE(busy(sel_new));
        EXPECT_NE(regs.cr0 & 8, 0U);
        SetUp();
    }
    auto calls() {
        return [this] { return call(); };
    }
    void entry(unsigned at, unsigned selector) { put(new_tss + at, selector); }
    void descriptor(unsigned access) { set_entry(gdt + sel_any, 0, 0xfffff, access, 0xc); }

    static constexpr unsigned es_at = 0x48, cs_at = 0x4c, ss_at = 0x50, ds_at = 0x54, fs_at = 0x58,
                              gs_at = 0x5c, ldt_at = 0x60;
};

// ---- the new TSS ----

TEST_F(TaskFault, TheSelectorIsOfTheGdt) {
    for (const unsigned bad : {0u, 3u, sel_new | 4u, 0x58u, 0x1000u})
        for (const auto source : {HWV_TASK_CALL, HWV_TASK_JUMP, HWV_TASK_IRET})
            before_commit(
                [&] {
                    return run(
                        {.selector = static_cast<__u16>(bad), .source = static_cast<__u8>(source)},
                        code_at + 7);
                },
                source == HWV_TASK_IRET ? ts : gp, bad & ~3u);
}

TEST_F(TaskFault, ItsDescriptorIsATss) {
    for (const unsigned access : {0x80u, 0x82u, 0x84u, 0x8cu, 0x8eu, 0x8fu, 0x99u, 0x91u, 0x8du}) {
        set_descriptor(sel_new, new_tss, 0x67, access);
        before_commit(calls(), gp, sel_new);
    }
}

TEST_F(TaskFault, BusyByTheSource) {
    make_busy(sel_new);
    before_commit(calls(), gp, sel_new);
    make_busy(sel_new);
    before_commit([this] { return jump(); }, gp, sel_new);
    before_commit([this] { return iret(); }, ts, sel_new);
    make_busy(sel_new);
    before_commit([this] { return gate(HWV_EVENT_INTERRUPT, 0x20); }, gp, sel_new | 1);
    make_busy(sel_new);
    before_commit([this] { return gate(HWV_EVENT_SOFTWARE, 0x80, {}, code_at + 2); }, gp, sel_new);
}

TEST_F(TaskFault, PresentAndLongEnough) {
    set_descriptor(sel_new, new_tss, 0x67, 0x09);
    before_commit(calls(), np, sel_new);
    set_descriptor(sel_new, new_tss, 0x66, 0x89);
    before_commit(calls(), ts, sel_new);
    set_descriptor(sel_new, new_tss, 0x2a, 0x81);
    before_commit(calls(), ts, sel_new);
    regs.segment[HWV_TR].limit = 0x5e;
    before_commit(calls(), ts, sel_old);
}

// ---- what pages are needed ----

TEST_F(TaskFault, PagesOfBothTasks) {
    const struct {
        unsigned page;
        std::uint32_t code;
        std::uint64_t address;
    } rows[] = {{gdt >> 12, 0, gdt + sel_new}, {old_tss >> 12, 2, old_tss + 0x20}};
    for (const auto &row : rows) {
        paging(0x10'0000, 0);
        put(0x10'1000 + 4 * row.page, 0);
        regs.cr3 = 0x10'0000;
        regs.cr0 |= assist::cr0_pg | assist::cr0_wp;
        regs.segment[HWV_CS].attributes |= attr_user;
        regs.segment[HWV_SS].attributes |= attr_user;
        before_commit(calls(), pf, row.code); // a supervisor's, whoever runs
    }
}

TEST_F(TaskFault, TheNewTssIsPagedIn) {
    set_descriptor(sel_new, 0x5fc0, 0x67, 0x89);
    make_task(0x5fc0, 0x2222);
    for (const unsigned page : {5u, 6u}) {
        paging(0x10'0000, 0);
        put(0x10'1000 + 4 * page, 0);
        regs.cr3 = 0x10'0000;
        regs.cr0 |= assist::cr0_pg;
        EXPECT_EQ(call(), Status::fault);
        expect_event(pf, 0);
        EXPECT_EQ(regs.cr2, page == 5 ? 0x5fc0U : 0x6000U);
        EXPECT_EQ(word(old_tss + 0x20), 0U);
        regs.event = {};
    }
}

// In a page that may be read only, the link cannot be written.
TEST_F(TaskFault, TheLinkIsWritten) {
    set_descriptor(sel_new, 0x5800, 0x67, 0x89);
    make_task(0x5800, 0x2222);
    paging(0x10'0000, 0);
    put(0x10'1000 + 4 * 5, 0x5000 | 5);
    regs.cr3 = 0x10'0000;
    regs.cr0 |= assist::cr0_pg | assist::cr0_wp;
    EXPECT_EQ(call(), Status::fault);
    expect_event(pf, 3);
    regs.event = {};
    put(0x5800 + 0x1c, 0x10'0000);
    for (unsigned n = 0; n < 6; ++n)
        put(0x5800 + 0x48 + 4 * n, n == HWV_CS ? sel_code : sel_data);
    EXPECT_EQ(jump(), Status::done);
}

TEST_F(TaskFault, PageDirectoryPointers) {
    constexpr std::uint64_t root = 0x10'0020;
    memory().put<std::uint64_t>(root, 0x10'1001);
    memory().put<std::uint64_t>(0x10'1000, 0x87); // a page of 2 MiB
    const auto prepare = [&] {
        regs.cr0 |= assist::cr0_pg;
        regs.cr4 = assist::cr4_pae;
        regs.cr3 = root;
        put(new_tss + 0x1c, 0x10'0040);
    };
    prepare();
    memory().put<std::uint64_t>(0x10'0040, 0x10'1001);
    memory().put<std::uint64_t>(0x10'0048, 0x10'1003); // bit 1 is reserved
    EXPECT_EQ(call(), Status::fault);
    expect_event(gp, 0);
    EXPECT_EQ(regs.cr3, root);
    EXPECT_EQ(word(old_tss + 0x20), 0U);
    memory().put<std::uint64_t>(0x10'0048, 0x10'1002); // but not where it is absent
    regs.event = {};
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.cr3, 0x10'0040U);
}

// ---- the new task's segments ----

TEST_F(TaskFault, Ldt) {
    for (const unsigned bad : {sel_ldt | 4u, unsigned{sel_data}, unsigned{sel_new}, 0x58u}) {
        entry(ldt_at, bad);
        after_commit(calls(), ts, bad);
    }
    set_descriptor(sel_ldt, ldt, 0x1f, 0x02);
    entry(ldt_at, sel_ldt);
    after_commit(calls(), ts, sel_ldt);
}

TEST_F(TaskFault, LocalSegmentsNeedAnLdt) {
    entry(ds_at, 0xc);
    after_commit(calls(), ts, 0xc);
    entry(ldt_at, sel_ldt);
    entry(ds_at, 0x24); // beyond its limit
    after_commit(calls(), ts, 0x24);
}

TEST_F(TaskFault, Code) {
    for (const unsigned bad : {0u, 2u, unsigned{sel_data}, unsigned{sel_new}, 0x58u, sel_code | 1u,
                               sel_user_code & ~3u}) {
        entry(cs_at, bad);
        after_commit(calls(), ts, bad & ~3u);
    }
    descriptor(0x1b);
    entry(cs_at, sel_any);
    after_commit(calls(), np, sel_any);
    descriptor(0xdf); // conforming, DPL 2: not for ring 1
    entry(cs_at, sel_any | 1);
    after_commit(calls(), ts, sel_any);
    entry(cs_at, sel_conforming | 3); // DPL 0
    entry(ss_at, sel_user_data);
    entry(es_at, 0), entry(ds_at, 0), entry(fs_at, 0);
    EXPECT_EQ(call(), Status::done);
    EXPECT_EQ(regs.segment[HWV_SS].attributes >> 5 & 3, 3);
}

TEST_F(TaskFault, Stack) {
    for (const unsigned bad : {0u, 1u, unsigned{sel_code}, unsigned{sel_old}, 0x58u, sel_data | 3u,
                               unsigned{sel_user_data}, sel_user_data & ~3u}) {
        entry(ss_at, bad);
        after_commit(calls(), ts, bad & ~3u);
    }
    descriptor(0x91); // read only
    entry(ss_at, sel_any);
    after_commit(calls(), ts, sel_any);
    descriptor(0x13);
    entry(ss_at, sel_any);
    after_commit(calls(), ss, sel_any);
}

TEST_F(TaskFault, Data) {
    for (const unsigned at : {es_at, ds_at, fs_at, gs_at}) {
        for (const unsigned bad : {unsigned{sel_new}, 0x58u, sel_data | 3u}) {
            entry(at, bad);
            after_commit(calls(), ts, bad & ~3u);
        }
        descriptor(0x99); // not readable
        entry(at, sel_any);
        after_commit(calls(), ts, sel_any);
        descriptor(0x13);
        entry(at, sel_any);
        after_commit(calls(), np, sel_any);
        entry(at, sel_conforming | 3); // conforming: whatever the privilege
        EXPECT_EQ(call(), Status::done);
        SetUp();
    }
}

// Loaded until then, and nothing left of the old task's.
TEST_F(TaskFault, WhatIsNotLoadedIsUnusable) {
    descriptor(0x1b);
    entry(cs_at, sel_any);
    EXPECT_EQ(call(), Status::fault);
    EXPECT_EQ(regs.segment[HWV_CS].selector, sel_any);
    EXPECT_EQ(regs.segment[HWV_CS].attributes, 0x9b);
    EXPECT_EQ(regs.segment[HWV_DS].selector, sel_based);
    for (const unsigned n : {HWV_ES, HWV_SS, HWV_DS, HWV_FS, HWV_GS})
        EXPECT_EQ(regs.segment[n].attributes & 0x1080, 0x1000) << n;
    SetUp();
    descriptor(0xfb & ~0x80);
    entry(cs_at, sel_any | 3);
    EXPECT_EQ(call(), Status::fault);
    EXPECT_EQ(regs.segment[HWV_CS].attributes, 0xfb) << "ring 3";
    EXPECT_EQ(regs.segment[HWV_SS].attributes >> 5 & 3, 3);
}

// ---- the error code's push ----

TEST_F(TaskFault, NoRoomForTheErrorCode) {
    descriptor(0x97); // expand down, from 4 GiB to its limit: nothing
    entry(ss_at, sel_any);
    EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, 17, 0), Status::fault);
    expect_event(ss, 1);
    EXPECT_EQ(regs.gpr[HWV_RSP], new_stack);
    EXPECT_EQ(regs.segment[HWV_TR].selector, sel_new);
}

TEST_F(TaskFault, ThePushIsTheNewTasks) {
    paging(0x10'0000, 0);
    put(0x10'1000 + 4 * 6, 0x6000 | 3); // a supervisor's page
    regs.cr3 = 0x10'0000;
    regs.cr0 |= assist::cr0_pg;
    put(new_tss + 0x1c, 0x10'0000);
    entry(cs_at, sel_user_code);
    entry(ss_at, sel_user_data);
    entry(es_at, 0), entry(ds_at, 0), entry(fs_at, 0);
    EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, 17, 0), Status::fault);
    expect_event(pf, 7);
    EXPECT_EQ(regs.cr2, new_stack - 4);
}

// ---- an exception during the delivery of another ----

TEST_F(TaskFault, DoubleFaults) {
    const struct {
        hwv_event_type type;
        unsigned first;
        unsigned becomes;
        std::uint32_t code;
    } rows[] = {
        {HWV_EVENT_EXCEPTION, 0, df, 0},
        {HWV_EVENT_EXCEPTION, 13, df, 0},
        {HWV_EVENT_EXCEPTION, 14, df, 0},
        {HWV_EVENT_EXCEPTION, 6, gp, sel_new | 1},
        {HWV_EVENT_INTERRUPT, 13, gp, sel_new | 1},
        {HWV_EVENT_NMI, 2, gp, sel_new | 1},
        {HWV_EVENT_SOFTWARE, 13, gp, sel_new},
    };
    for (const auto &row : rows) {
        make_busy(sel_new);
        const auto next = row.type == HWV_EVENT_SOFTWARE ? code_at + 2 : 0;
        before_commit([&] { return gate(row.type, row.first, {}, next); }, row.becomes, row.code);
    }
    make_busy(sel_new); // INT1
    before_commit([&] { return gate(HWV_EVENT_SOFTWARE, 1, {}, code_at + 1); }, gp, sel_new | 1);
}

TEST_F(TaskFault, PageFaultAfterPageFault) {
    for (const unsigned first : {13u, 14u}) {
        paging(0x10'0000, 0);
        put(0x10'1000 + 4 * (gdt >> 12), 0);
        regs.cr3 = 0x10'0000;
        regs.cr0 |= assist::cr0_pg;
        EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, first, 2), Status::fault);
        expect_event(first == 14 ? df : pf, 0);
        SetUp();
    }
}

TEST_F(TaskFault, TripleFault) {
    make_busy(sel_new);
    EXPECT_EQ(gate(HWV_EVENT_EXCEPTION, df, 0), Status::fault);
    EXPECT_EQ(regs.event.type, HWV_EVENT_NONE);
    EXPECT_EQ(regs.event.mp_state, HWV_MP_SHUTDOWN);
}

} // namespace
} // namespace assist_test
