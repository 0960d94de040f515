// SPDX-License-Identifier: GPL-2.0-only
// Capabilities, the life of a CPU in hwv's service, ASIDs, permission maps.
#include "svm/machine.hpp"

using namespace hwv;
using namespace hwv::svm;

namespace {

struct SvmCpu : SvmMachine {
    hwv_unusable unusable() { return read_capabilities().unusable; }
};

TEST_F(SvmCpu, SaysWhatMakesAMachineUnusable) {
    EXPECT_EQ(unusable(), HWV_USABLE);
    hardware.here().msrs[msr::vm_cr] = vm_cr::svmdis;
    EXPECT_EQ(unusable(), HWV_UNUSABLE_LOCKED);
    hardware.here().msrs[msr::vm_cr] = 0;
    hardware.leaves[0x8000'000a].edx = feature::nrips;
    EXPECT_EQ(unusable(), HWV_UNUSABLE_NO_NESTED_PAGING);
    hardware.leaves[0x8000'0001].ecx = 0;
    EXPECT_EQ(unusable(), HWV_UNUSABLE_NO_VIRT);
}

TEST_F(SvmCpu, RefusesAHostWithSnpActive) {
    hardware.leaves[0x8000'0000].eax = 0x8000'001f;
    hardware.leaves[0x8000'001f] = {.eax = 1u << 4};
    EXPECT_EQ(unusable(), HWV_USABLE);
    hardware.here().msrs[msr::syscfg] = syscfg::snp_enable;
    EXPECT_EQ(unusable(), HWV_UNUSABLE_CONFIDENTIAL);
}

TEST_F(SvmCpu, LeavesBeyondTheMaximumCountAsZero) {
    hardware.leaves[0x8000'0000].eax = 0x8000'0001; // what is above answers with all ones
    const Capabilities c = read_capabilities();
    EXPECT_EQ(c.unusable, HWV_UNUSABLE_NO_NESTED_PAGING);
    EXPECT_FALSE(c.nrips || c.vnmi || c.v_spec_ctrl);
    EXPECT_EQ(c.last_asid, 0u);
    EXPECT_EQ(c.phys_bits, 36);
}

TEST_F(SvmCpu, EveryFeatureHasItsBit) {
    const std::pair<std::uint32_t, bool Capabilities::*> bits[] = {
        {feature::lbrv, &Capabilities::lbrv},
        {feature::nrips, &Capabilities::nrips},
        {feature::tsc_ratio, &Capabilities::tsc_ratio},
        {feature::vmcb_clean, &Capabilities::vmcb_clean},
        {feature::flush_by_asid, &Capabilities::flush_by_asid},
        {feature::decode_assists, &Capabilities::decode_assists},
        {feature::pause_filter, &Capabilities::pause_filter},
        {feature::pause_threshold, &Capabilities::pause_threshold},
        {feature::vgif, &Capabilities::vgif},
        {feature::v_spec_ctrl, &Capabilities::v_spec_ctrl},
        {feature::vnmi, &Capabilities::vnmi},
    };
    for (const auto &[bit, member] : bits) {
        features(bit);
        const Capabilities c = read_capabilities();
        for (const auto &[other, field] : bits)
            EXPECT_EQ(c.*field, other == bit) << std::hex << bit << " " << other;
    }
}

TEST_F(SvmCpu, FeaturesAreReportedNeutrally) {
    EXPECT_EQ(svm::features(Capabilities{}), 0u);
    EXPECT_EQ(svm::features({.nrips = true}), HWV_FEATURE_NEXT_RIP);
    EXPECT_EQ(svm::features({.decode_assists = true, .vnmi = true}),
              HWV_FEATURE_DECODE_ASSIST | HWV_FEATURE_VNMI);
}

TEST_F(SvmCpu, EnableSetsSvmeAndTheSaveArea) {
    features(feature::tsc_ratio);
    power();
    EXPECT_TRUE(hardware.here().msrs[msr::efer] & efer::svme);
    EXPECT_NE(hardware.here().msrs[msr::vm_hsave_pa], 0u);
    EXPECT_EQ(hardware.here().msrs[msr::tsc_ratio], tsc_ratio_default);
    EXPECT_TRUE(Cpus::enable(HWV_TENURE_OWN)); // again
}

TEST_F(SvmCpu, ACpuThatAnotherHoldsIsLeftAlone) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    hardware.here().msrs[msr::efer] |= efer::svme;
    hardware.here().msrs[msr::vm_hsave_pa] = kvm_save_area;
    EXPECT_EQ(Cpus::enable(HWV_TENURE_OWN).error(), Error::busy);
    Cpus::disable();
    EXPECT_TRUE(hardware.here().msrs[msr::efer] & efer::svme);
    EXPECT_EQ(hardware.here().msrs[msr::vm_hsave_pa], kvm_save_area);
    Cpus::release(0);
}

TEST_F(SvmCpu, RidingUsesWhatAnotherSwitchedOnAndLeavesItSo) {
    features(feature::tsc_ratio);
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    hardware.here().msrs[msr::efer] |= efer::svme;
    hardware.here().msrs[msr::vm_hsave_pa] = kvm_save_area;
    const auto before = hardware.here().msrs;
    ASSERT_TRUE(Cpus::enable(HWV_TENURE_RIDE));
    EXPECT_TRUE(Cpus::at(0).enabled() && Cpus::at(0).shared());
    EXPECT_TRUE(Cpus::enable(HWV_TENURE_RIDE)); // again
    Cpus::disable();
    EXPECT_FALSE(Cpus::at(0).enabled() || Cpus::at(0).shared());
    EXPECT_EQ(hardware.here().msrs, before);
    EXPECT_TRUE(hardware.msr_writes.empty());
    Cpus::release(0);
}

TEST_F(SvmCpu, NobodyRidesWhereSvmIsOff) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    EXPECT_EQ(Cpus::enable(HWV_TENURE_RIDE).error(), Error::no_device);
    EXPECT_FALSE(Cpus::at(0).enabled());
    EXPECT_TRUE(hardware.msr_writes.empty());
    Cpus::release(0);
}

TEST_F(SvmCpu, EnableWithoutPrepareFails) {
    ASSERT_TRUE(start());
    EXPECT_EQ(Cpus::enable(HWV_TENURE_OWN).error(), Error::no_memory);
    EXPECT_FALSE(hardware.here().msrs[msr::efer] & efer::svme);
}

TEST_F(SvmCpu, DisableUndoesAllAndOpensTheGlobalInterruptFlag) {
    power();
    hardware.here().gif = false; // as in the middle of a world switch that the crash interrupted
    Cpus::disable();
    EXPECT_TRUE(hardware.here().gif);
    EXPECT_EQ(hardware.here().msrs[msr::efer], 0xd01u);
    EXPECT_EQ(hardware.here().msrs[msr::vm_hsave_pa], 0u);
    hardware.msr_writes.clear();
    Cpus::disable();
    EXPECT_TRUE(hardware.msr_writes.empty());
}

TEST_F(SvmCpu, MemoryThatIsMissingIsAnErrorAndNoLeak) {
    for (std::int64_t n = 0; n < 3; n++) { // CPU array, MSR map, I/O map
        host.fail_after = n;
        EXPECT_EQ(start().error(), Error::no_memory) << n;
        EXPECT_EQ(host.blocks, blocks_before) << n;
    }
    host.fail_after = -1;
    ASSERT_TRUE(start());
    host.fail_after = 1;
    EXPECT_EQ(Cpus::prepare(0).error(), Error::no_memory);
    EXPECT_TRUE(Cpus::prepare(0)); // takes up where it stopped
    Cpus::release(0);
}

TEST_F(SvmCpu, PhysicalAddressesCarryTheEncryptionMask) {
    host.facts.sme_mask = 1ull << 47;
    power();
    EXPECT_TRUE(hardware.here().msrs[msr::vm_hsave_pa] >> 47 & 1);
    EXPECT_TRUE(Cpus::at(0).host_state_pa() >> 47 & 1);
    Guest guest;
    guest.backend.set_table_root(0x5000);
    EXPECT_EQ(guest.control().nested_cr3, 1ull << 47 | 0x5000);
    EXPECT_TRUE(guest.control().io_map >> 47 & 1);
    EXPECT_TRUE(guest.control().msr_map >> 47 & 1);
}

TEST_F(SvmCpu, AsidsRunOutIntoAFlushOfAll) {
    power();
    Cpu &cpu = Cpus::at(0);
    Asid a[5];
    EXPECT_FALSE(cpu.owns(a[0]));
    EXPECT_EQ(cpu.assign(a[0]), TlbControl::flush_all); // who knows what the CPU holds
    EXPECT_EQ(cpu.assign(a[1]), TlbControl::keep);
    EXPECT_EQ(cpu.assign(a[2]), TlbControl::keep);
    EXPECT_EQ(a[0].number, 1u);
    EXPECT_EQ(a[2].number, asids - 1);
    EXPECT_TRUE(cpu.owns(a[0]) && cpu.owns(a[2]));
    EXPECT_EQ(cpu.assign(a[3]), TlbControl::flush_all);
    EXPECT_FALSE(cpu.owns(a[0]) || cpu.owns(a[1]) || cpu.owns(a[2]));
    EXPECT_TRUE(cpu.owns(a[3]));
}

TEST_F(SvmCpu, AsidsOfBeforeAreVoidAfterReenabling) {
    power();
    Asid asid;
    Cpus::at(0).assign(asid);
    Cpus::disable();
    ASSERT_TRUE(Cpus::enable(HWV_TENURE_OWN));
    EXPECT_FALSE(Cpus::at(0).owns(asid));
    EXPECT_EQ(Cpus::at(0).assign(asid), TlbControl::flush_all);
}

TEST_F(SvmCpu, EncryptedGuestsKeepTheirAsids) {
    hardware.leaves[0x8000'0000].eax = 0x8000'001f;
    hardware.leaves[0x8000'001f] = {.eax = 2, .ecx = 2};
    power();
    Asid asid;
    Cpus::at(0).assign(asid);
    EXPECT_EQ(asid.number, 3u);
}

// ---- permission maps ----

struct SvmMaps : SvmMachine {
    // Read and write intercept of an MSR: 0 passes, 1, 2, 3 = both exit.
    unsigned denied(std::uint32_t index) {
        const auto *map = reinterpret_cast<const std::uint8_t *>(Cpus::maps().msr_pa());
        const std::uint32_t bit = msr_bit(index);
        return map[bit / 8] >> bit % 8 & 3;
    }
    unsigned passed() {
        unsigned n = 0;
        for (std::uint32_t base : {0u, 0xc000'0000u, 0xc001'0000u})
            for (std::uint32_t i = 0; i < 0x2000; i++)
                n += denied(base + i) != 3;
        return n;
    }
};

TEST_F(SvmMaps, OnlyWhatTheCpuSwitchesPasses) {
    power();
    for (std::uint32_t index : {0x174u, 0x175u, 0x176u, 0xc000'0081u, 0xc000'0082u, 0xc000'0083u,
                                0xc000'0084u, 0xc000'0100u, 0xc000'0101u, 0xc000'0102u})
        EXPECT_EQ(denied(index), 0u) << std::hex << index;
    EXPECT_EQ(denied(msr::tsc_aux), 2u); // read without an exit, written with one
    EXPECT_EQ(passed(), 11u);
    for (std::uint32_t index : {0x10u, 0x1bu, 0x48u, 0x49u, 0x1d9u, 0x277u, 0xc000'0080u,
                                0xc000'0104u, 0xc001'0010u, 0xc001'0114u, 0xc001'0117u})
        EXPECT_EQ(denied(index), 3u) << std::hex << index;
}

TEST_F(SvmMaps, SpecCtrlPassesOnlyWhereTheCpuSwitchesIt) {
    features(feature::v_spec_ctrl);
    power();
    EXPECT_EQ(denied(msr::spec_ctrl), 0u);
    EXPECT_EQ(passed(), 12u);
}

TEST_F(SvmMaps, EveryPortExits) {
    power();
    const auto *map = reinterpret_cast<const std::uint8_t *>(Cpus::maps().io_pa());
    for (unsigned i = 0; i < 3 * 4096; i++) // port 0xffff with size 4 looks three bits further
        ASSERT_EQ(map[i], 0xff) << i;
}

TEST_F(SvmMaps, MsrBitsLieWhereTheManualPutsThem) {
    EXPECT_EQ(msr_bit(0), 0u);
    EXPECT_EQ(msr_bit(0x1fff), 0x3ffeu);
    EXPECT_EQ(msr_bit(0xc000'0000), 0x800u * 8);
    EXPECT_EQ(msr_bit(0xc001'0000), 0x1000u * 8);
    for (std::uint32_t index :
         {0x2000u, 0x4b56'4d00u, 0xc000'2000u, 0xc001'2000u, 0xc002'0000u, 0xffff'ffffu})
        EXPECT_EQ(msr_bit(index), ~0u) << std::hex << index;
}

} // namespace
