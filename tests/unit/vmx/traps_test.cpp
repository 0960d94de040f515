// SPDX-License-Identifier: GPL-2.0-only
// Traps as controls, masks and bitmaps, beside what the guest's state asks for.
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

struct VmxTraps : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        begin();
    }
    void begin() {
        power();
        guest.emplace();
        guest->load(0);
        guest->run();
    }
    void TearDown() override {
        guest->run();
        guest->put();
        guest.reset();
        VmxMachine::TearDown();
    }
    Backend &backend() { return guest->backend; }
    void trap(const Traps &traps) {
        if (traps.msr_ranges) {
            ASSERT_TRUE(backend().allocate_msr_map());
        }
        backend().set_traps(traps);
        guest->run();
    }
    std::uint32_t primary() { return (*guest)[field::primary_controls]; }
    std::uint32_t secondary() { return (*guest)[field::secondary_controls]; }
    bool msr_exits(std::uint32_t index, bool write) {
        const std::uint32_t bit = msr_bit(index) + (write ? write_offset : 0);
        const auto *map = reinterpret_cast<const std::uint8_t *>((*guest)[field::msr_bitmap]);
        return map[bit / 8] >> bit % 8 & 1;
    }
    std::optional<Guest> guest;
};

constexpr std::uint32_t by_trap = primary::rdtsc_exiting | primary::invlpg_exiting |
                                  primary::pause_exiting | primary::cr3_load_exiting |
                                  primary::cr3_store_exiting | primary::cr8_load_exiting |
                                  primary::cr8_store_exiting;

TEST_F(VmxTraps, NobodyAsksForAny) {
    EXPECT_FALSE(primary() & (by_trap | primary::monitor_trap_flag));
    EXPECT_FALSE(secondary() & secondary::descriptor_table_exiting);
    EXPECT_EQ((*guest)[field::exception_bitmap], required_exceptions);
    EXPECT_FALSE(msr_exits(msr::gs_base, false));
}

TEST_F(VmxTraps, AllAtOnceAndGoneAgain) {
    const auto fields = [&] {
        return std::array{(*guest)[field::primary_controls], (*guest)[field::secondary_controls],
                          (*guest)[field::exception_bitmap], (*guest)[field::cr0_mask],
                          (*guest)[field::cr4_mask],         (*guest)[field::msr_bitmap]};
    };
    const auto before = fields();
    Traps traps = every_trap;
    traps.add(MsrRange{0, ~0u, true, true});
    trap(traps);
    EXPECT_EQ(primary() & by_trap, by_trap);
    EXPECT_TRUE(secondary() & secondary::descriptor_table_exiting);
    EXPECT_EQ((*guest)[field::exception_bitmap], trap::exceptions | 1u << 18);
    EXPECT_EQ((*guest)[field::cr0_mask], ~0ull);
    EXPECT_EQ((*guest)[field::cr4_mask], ~0ull);
    EXPECT_TRUE(msr_exits(msr::gs_base, false) && msr_exits(msr::kernel_gs_base, true));
    trap({});
    EXPECT_EQ(fields(), before);
}

TEST_F(VmxTraps, TheGuestReadsInTheShadowWhatItHadInTheRegister) {
    guest->run(ExitCode::external_interrupt, [](fake::FakeVmcs &v) {
        v[field::guest_cr0] |= cr0::ts | cr0::wp;
        v[field::guest_cr4] |= cr4::pge;
    });
    trap({.cr_writes = 1 << 0 | 1 << 4});
    EXPECT_EQ((*guest)[field::cr0_shadow], backend().cr0());
    EXPECT_EQ((*guest)[field::cr4_shadow], backend().cr4());
    EXPECT_TRUE(backend().cr0() & cr0::ts && backend().cr4() & cr4::pge);
    backend().set_cr0(backend().cr0() & ~cr0::ts);
    EXPECT_FALSE((*guest)[field::cr0_shadow] & cr0::ts);
    trap({});
    EXPECT_FALSE(backend().cr0() & cr0::ts);
    EXPECT_TRUE(backend().cr0() & cr0::wp);
}

TEST_F(VmxTraps, MsrRangesByDirectionInAMapOfTheVcpusOwn) {
    Traps traps;
    traps.add(MsrRange{msr::sysenter_cs, msr::sysenter_eip, false, true});
    traps.add(MsrRange{msr::fs_base, msr::fs_base, true, false});
    trap(traps);
    EXPECT_TRUE(msr_exits(msr::sysenter_eip, true) && msr_exits(msr::fs_base, false));
    EXPECT_FALSE(msr_exits(msr::sysenter_eip, false) || msr_exits(msr::fs_base, true));
    EXPECT_TRUE(msr_exits(0x1b, false));
    EXPECT_NE((*guest)[field::msr_bitmap], Cpus::msr_map().pa());
    traps.msr_ranges = 1;
    trap(traps);
    EXPECT_FALSE(msr_exits(msr::fs_base, false));
}

TEST_F(VmxTraps, TrapsOutliveAResetAndComeBeforeTheFirstLoad) {
    trap(every_trap);
    backend().reset();
    EXPECT_EQ(primary() & by_trap, by_trap);
    guest->run();
    Guest fresh{1};
    fresh.backend.set_traps(every_trap);
    guest->put();
    fresh.load(0);
    EXPECT_EQ(primary() & by_trap, 0u + by_trap);
    fresh.run();
    fresh.put();
    guest->load(0);
}

TEST_F(VmxTraps, TrappedDebugRegistersAreNotGranted) {
    trap({.dr_reads = 1 << 7});
    backend().grant_debug();
    EXPECT_TRUE(primary() & primary::mov_dr_exiting);
    trap({});
    EXPECT_FALSE(primary() & primary::mov_dr_exiting);
}

TEST_F(VmxTraps, AStepIsByTheMonitorTrapFlag) {
    trap(every_trap);
    backend().step_past(HWV_EXIT_DESCRIPTOR);
    EXPECT_TRUE(primary() & primary::monitor_trap_flag);
    EXPECT_FALSE(secondary() & secondary::descriptor_table_exiting);
    EXPECT_EQ(decode(guest->run(ExitCode::monitor_trap)).reason, HWV_EXIT_STEP);
    backend().step_past(HWV_EXIT_INVPCID);
    EXPECT_FALSE(primary() & primary::invlpg_exiting);
    EXPECT_TRUE(secondary() & secondary::descriptor_table_exiting);
    backend().step_past(HWV_EXIT_NONE);
    EXPECT_EQ(primary() & (by_trap | primary::monitor_trap_flag), by_trap);
}

TEST_F(VmxTraps, WithoutTheFlagWhatNeedsItIsNotOffered) {
    EXPECT_EQ(Backend::trappable().instructions, trap::all);
    EXPECT_EQ(Backend::trappable().cr_reads, 1u << 3 | 1u << 8);
    guest->run();
    guest->put();
    guest.reset();
    VmxMachine::TearDown();
    VmxMachine::SetUp();
    vmx.facts.primary.may &= ~primary::monitor_trap_flag;
    capabilities();
    begin();
    EXPECT_EQ(Backend::trappable().instructions, trap::rdtsc | trap::pause);
}

} // namespace
} // namespace hwv::vmx
