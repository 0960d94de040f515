// SPDX-License-Identifier: GPL-2.0-only
// Traps as intercepts, beside those that the guest's state asks for; and one instruction without.
#include "svm/machine.hpp"

namespace hwv::svm {
namespace {

struct SvmTraps : SvmMachine, testing::WithParamInterface<std::uint32_t> {
    void SetUp() override {
        SvmMachine::SetUp();
        features(GetParam());
        power();
        guest.emplace();
        guest->load(0);
        backend().set_cr4(cr4::mce);
        guest->run(ExitCode::intr); // from here on a clean bit over a changed field is seen
    }
    void TearDown() override {
        guest->run(ExitCode::intr);
        guest->backend.put();
        guest.reset();
        SvmMachine::TearDown();
    }
    Backend &backend() { return guest->backend; }
    void trap(const Traps &traps) {
        if (traps.msr_ranges) {
            ASSERT_TRUE(backend().allocate_msr_map());
        }
        backend().set_traps(traps);
        guest->run(ExitCode::intr);
    }
    bool any(ExitCode first, unsigned count) {
        for (unsigned i = 0; i < count; i++)
            if (guest->intercepts(first + i)) return true;
        return false;
    }
    bool all(ExitCode first, unsigned count) {
        for (unsigned i = 0; i < count; i++)
            if (!guest->intercepts(first + i)) return false;
        return true;
    }
    std::uint32_t exceptions() { return guest->control().intercepts.words[2]; }
    bool msr_exits(std::uint32_t index, bool write) {
        const std::uint32_t bit = msr_bit(index) + write;
        const auto *map = reinterpret_cast<const std::uint8_t *>(guest->control().msr_map);
        return map[bit / 8] >> bit % 8 & 1;
    }
    // Steps: the guest does `what`, and its CPU exits with `code`.
    template <typename F>
    ExitReason step(ExitCode code, F what) {
        return decode(guest->run(code, what)).reason;
    }
    std::optional<Guest> guest;
};
INSTANTIATE_TEST_SUITE_P(Features, SvmTraps,
                         testing::Values(0u, feature::nrips | feature::vnmi |
                                                 feature::pause_filter | feature::pause_threshold));

constexpr ExitCode db = ExitCode::exception + vector::debug;
constexpr std::uint64_t single_step = 1u << 14;

TEST_P(SvmTraps, NobodyAsksForAny) {
    EXPECT_FALSE(any(ExitCode::idtr_read, 9)); // and RDTSC
    EXPECT_FALSE(any(ExitCode::invlpg, 1) || any(ExitCode::rdtscp, 1));
    EXPECT_EQ(exceptions(), 1u << 1 | 1u << 17 | 1u << 18);
    EXPECT_FALSE(guest->intercepts(ExitCode::cr_write + 3) ||
                 guest->intercepts(ExitCode::cr_read + 3));
    EXPECT_FALSE(msr_exits(msr::lstar, false));
}

TEST_P(SvmTraps, AllAtOnceAndGoneAgain) {
    const Intercepts before = guest->control().intercepts;
    Traps traps = every_trap;
    traps.add(MsrRange{0, ~0u, true, true});
    trap(traps);
    EXPECT_TRUE(all(ExitCode::idtr_read, 9) && all(ExitCode::invlpg, 1));
    EXPECT_TRUE(all(ExitCode::rdtscp, 1) && all(ExitCode::pause, 1));
    EXPECT_EQ(guest->control().pause_count, 0);
    EXPECT_EQ(exceptions(), trap::exceptions | 1u << 18);
    for (unsigned n : {0, 3, 4, 8})
        EXPECT_TRUE(guest->intercepts(ExitCode::cr_read + n) &&
                    guest->intercepts(ExitCode::cr_write + n));
    for (std::uint32_t index : {msr::lstar, msr::gs_base, msr::sysenter_eip})
        EXPECT_TRUE(msr_exits(index, false) && msr_exits(index, true));
    trap({});
    const Intercepts after = guest->control().intercepts;
    EXPECT_TRUE(std::equal(before.words, before.words + 6, after.words));
    EXPECT_EQ(guest->control().pause_count, GetParam() & feature::pause_filter ? 3000 : 0);
    EXPECT_FALSE(msr_exits(msr::lstar, false));
}

TEST_P(SvmTraps, MsrRangesByDirectionInAMapOfTheVcpusOwn) {
    Guest other;
    Traps traps;
    traps.add(MsrRange{msr::star, msr::lstar, false, true});
    traps.add(MsrRange{msr::fs_base, msr::fs_base, true, false});
    trap(traps);
    EXPECT_TRUE(msr_exits(msr::lstar, true) && msr_exits(msr::fs_base, false));
    EXPECT_FALSE(msr_exits(msr::lstar, false) || msr_exits(msr::fs_base, true));
    EXPECT_FALSE(msr_exits(msr::cstar, true));
    EXPECT_TRUE(msr_exits(0x1b, false));
    EXPECT_NE(other.control().msr_map, guest->control().msr_map);
    traps.msr_ranges = 1;
    trap(traps);
    EXPECT_FALSE(msr_exits(msr::fs_base, false));
}

TEST_P(SvmTraps, WhatTheGuestsViewNeedsStays) {
    trap({.cr_reads = 1 << 0, .cr_writes = 1 << 8});
    backend().set_cr0(cr0::pe | cr0::cd);
    backend().set_tpr(5);
    backend().want_interrupt_window(true, 3);
    trap({});
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_read + 0));
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_write + 8));
    EXPECT_TRUE(guest->intercepts(ExitCode::cr0_sel_write));
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_write + 0)) << "CD is only shown";
    backend().want_interrupt_window(false, 0);
    EXPECT_FALSE(guest->intercepts(ExitCode::cr_write + 8));
    backend().set_cr0(cr0::pe);
    EXPECT_FALSE(guest->intercepts(ExitCode::cr_read + 0));
    EXPECT_FALSE(guest->intercepts(ExitCode::cr_write + 0));
}

TEST_P(SvmTraps, TrapsOutliveAReset) {
    trap(every_trap);
    backend().reset();
    EXPECT_TRUE(all(ExitCode::idtr_read, 9) && guest->intercepts(ExitCode::cr_write + 3));
}

TEST_P(SvmTraps, TrappedDebugRegistersAreNotGranted) {
    trap({.dr_writes = 1 << 7});
    backend().grant_debug();
    EXPECT_TRUE(all(ExitCode::dr_read, 32));
    trap({});
    EXPECT_FALSE(any(ExitCode::dr_read, 32));
}

TEST_P(SvmTraps, AStepIsOneInstructionAndHidden) {
    trap(every_trap);
    backend().set_rip(0x1000);
    backend().set_debug(6, 0xffff'0ff1);
    backend().step_past(HWV_EXIT_DESCRIPTOR);
    // its memory has to be paged in first
    const auto fetches = [&](Vmcb &v) {
        EXPECT_TRUE(v.save.rflags & rflags::tf);
        EXPECT_FALSE(v.control.intercepts.has(ExitCode::gdtr_read));
        EXPECT_TRUE(v.control.intercepts.has(ExitCode::rdtsc));
    };
    EXPECT_EQ(step(ExitCode::npf, fetches), HWV_EXIT_PAGE_FAULT);
    EXPECT_FALSE(backend().rflags() & rflags::tf);
    const auto executes = [&](Vmcb &v) {
        EXPECT_TRUE(v.save.rflags & rflags::tf);
        v.save.rip += 3;
        v.save.dr6 |= single_step;
    };
    EXPECT_EQ(step(db, executes), HWV_EXIT_STEP);
    EXPECT_FALSE(backend().rflags() & rflags::tf);
    EXPECT_EQ(backend().debug(6), 0xffff'0ff1u);
    backend().step_past(HWV_EXIT_NONE);
    EXPECT_TRUE(guest->intercepts(ExitCode::gdtr_read));
    guest->run(ExitCode::intr, [](Vmcb &v) { EXPECT_FALSE(v.save.rflags & rflags::tf); });
}

TEST_P(SvmTraps, AFaultOfAStepIsTheGuestsThoughNotTrapped) {
    trap({.instructions = trap::tables});
    backend().step_past(HWV_EXIT_DESCRIPTOR);
    const auto faults = [](Vmcb &v) {
        EXPECT_TRUE(v.control.intercepts.has(ExitCode::exception + vector::page_fault));
    };
    EXPECT_EQ(step(ExitCode::exception + vector::page_fault, faults), HWV_EXIT_EXCEPTION);
    EXPECT_FALSE(backend().rflags() & rflags::tf);
    backend().step_past(HWV_EXIT_NONE);
    EXPECT_FALSE(guest->intercepts(ExitCode::exception + vector::page_fault));
}

TEST_P(SvmTraps, TheGuestsOwnStepAndBreakpointsAreSeen) {
    trap({.instructions = trap::tables});
    const auto executes = [](std::uint64_t dr6) {
        return [dr6](Vmcb &v) {
            v.save.rip += 3;
            v.save.dr6 |= dr6;
        };
    };
    backend().step_past(HWV_EXIT_DESCRIPTOR);
    EXPECT_EQ(step(db, executes(single_step | 2)), HWV_EXIT_EXCEPTION);
    EXPECT_EQ(backend().debug(6), 0xffff'0ff2u);
    backend().set_debug(6, 0xffff'0ff0);
    backend().set_rflags(rflags::fixed | rflags::tf);
    EXPECT_EQ(step(db, executes(single_step)), HWV_EXIT_EXCEPTION);
    EXPECT_TRUE(backend().rflags() & rflags::tf);
    EXPECT_EQ(backend().debug(6), 0xffff'4ff0u);
    backend().set_rflags(rflags::fixed);
    backend().step_past(HWV_EXIT_NONE);
}

TEST_P(SvmTraps, LmswFromMemoryReachesCr0) {
    trap({.cr_writes = 1});
    backend().set_cr0(cr0::cd);
    backend().step_past(HWV_EXIT_CR_WRITE);
    EXPECT_EQ(step(db,
                   [](Vmcb &v) {
                       EXPECT_FALSE(v.control.intercepts.has(ExitCode::cr0_sel_write));
                       EXPECT_FALSE(v.control.intercepts.has(ExitCode::cr_write));
                       v.save.cr0 |= cr0::pe | cr0::em | cr0::ts;
                       v.save.rip += 3;
                       v.save.dr6 |= single_step;
                   }),
              HWV_EXIT_STEP);
    backend().step_past(HWV_EXIT_NONE);
    EXPECT_EQ(backend().cr0(), cr0::et | cr0::cd | cr0::pe | cr0::em | cr0::ts);
    EXPECT_TRUE(guest->intercepts(ExitCode::cr0_sel_write));
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_write));
}

TEST(SvmTrapDecode, BreakpointsTellTheirLength) {
    const Exit exit = decode({.code = 0x43, .rip = 0x1000, .next_rip = 0x1001});
    EXPECT_EQ(exit.exception.software_length, 1);
    EXPECT_EQ(decode({.code = 0x4d, .rip = 0x1000, .next_rip = 0x1001}).exception.software_length,
              0);
}

} // namespace
} // namespace hwv::svm
