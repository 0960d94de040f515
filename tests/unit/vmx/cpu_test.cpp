// SPDX-License-Identifier: GPL-2.0-only
// The life of a CPU in hwv's service, and of vCPUs over CPUs: where their VMCS may be, which
// translations they run on.
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

struct VmxCpus : VmxMachine {
    void disable(std::uint32_t cpu) {
        hardware.cpu = cpu;
        host.irqs_off = true;
        Cpus::disable();
        host.irqs_off = false;
    }
    Status enable(std::uint32_t cpu, hwv_tenure tenure = HWV_TENURE_OWN) {
        hardware.cpu = cpu;
        host.irqs_off = true;
        const Status made = Cpus::enable(tenure);
        host.irqs_off = false;
        return made;
    }
    // Loads, runs, puts.
    void visit(Guest &guest, std::uint32_t cpu, unsigned entries = 2) {
        guest.load(cpu);
        for (unsigned i = 0; i < entries; i++)
            guest.run();
        guest.put();
    }
};

// ---- on and off ----

TEST_F(VmxCpus, AnOwnerSwitchesOnAndOff) {
    power();
    for (const fake::VmxCpu &cpu : vmx.cpus)
        EXPECT_TRUE(cpu.on && (cpu.cr4 & cr4::vmxe));
    EXPECT_TRUE(enable(0)); // again
    EXPECT_EQ(host.vmxe_calls, count);
    for (std::uint32_t i = 0; i < count; i++) {
        disable(i);
        disable(i);
    }
    for (const fake::VmxCpu &cpu : vmx.cpus)
        EXPECT_FALSE(cpu.on || (cpu.cr4 & cr4::vmxe));
    EXPECT_EQ(host.vmxe_calls, 2 * count);
}

TEST_F(VmxCpus, ACpuThatAnotherHoldsIsLeftAlone) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    others_vmxon();
    EXPECT_EQ(enable(0).error(), Error::busy);
    disable(0);
    EXPECT_TRUE(vmx.here().on && (vmx.here().cr4 & cr4::vmxe));
    EXPECT_EQ(host.vmxe_calls, 0u);
    Cpus::release(0);
}

TEST_F(VmxCpus, WhereTheKernelKeepsCr4NothingIsSwitchedOn) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    host.vmxe_error = -95; // EOPNOTSUPP
    EXPECT_FALSE(enable(0));
    EXPECT_FALSE(vmx.here().on || Cpus::at(0).enabled());
    Cpus::release(0);
}

TEST_F(VmxCpus, AFailedVmxonTakesCr4Back) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    vmx.revision++; // the CPU wants another
    EXPECT_EQ(enable(0).error(), Error::busy);
    EXPECT_FALSE(vmx.here().cr4 & cr4::vmxe);
    EXPECT_EQ(host.vmxe_calls, 2u);
    Cpus::release(0);
}

TEST_F(VmxCpus, NobodyRidesWhereVmxIsOff) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(Cpus::prepare(0));
    EXPECT_EQ(enable(0, HWV_TENURE_RIDE).error(), Error::no_device);
    vmx.here().cr4 |= cr4::vmxe; // set, but not in VMX operation
    EXPECT_EQ(enable(0, HWV_TENURE_RIDE).error(), Error::no_device);
    EXPECT_FALSE(Cpus::at(0).enabled());
    EXPECT_EQ(host.vmxe_calls, 0u);
    Cpus::release(0);
}

TEST_F(VmxCpus, EnableWithoutPrepareFails) {
    ASSERT_TRUE(start());
    EXPECT_EQ(enable(0).error(), Error::no_memory);
    EXPECT_FALSE(vmx.here().on || (vmx.here().cr4 & cr4::vmxe));
}

TEST_F(VmxCpus, MemoryThatIsMissingIsAnErrorAndNoLeak) {
    host.facts.speculation = HWV_SPEC_L1D_FLUSH; // and no IA32_FLUSH_CMD: a buffer is read instead
    for (std::int64_t n = 0; n < 3; n++) {       // CPU array, MSR map, buffer
        host.fail_after = n;
        EXPECT_EQ(start().error(), Error::no_memory) << n;
        EXPECT_EQ(host.blocks, blocks_before) << n;
    }
    host.fail_after = -1;
    ASSERT_TRUE(start());
    host.fail_after = 0;
    EXPECT_EQ(Cpus::prepare(0).error(), Error::no_memory);
    host.fail_after = -1;
    EXPECT_TRUE(Cpus::prepare(0));
    Cpus::release(0);
}

TEST_F(VmxCpus, MemoryThatAVcpuMissesIsAnErrorAndNoLeak) {
    power();
    for (std::int64_t n = 0; n < 2; n++) { // VMCS, virtual-APIC page
        const std::int64_t before = host.blocks;
        host.fail_after = n;
        Backend backend;
        EXPECT_EQ(backend.init(0).error(), Error::no_memory) << n;
        backend.destroy();
        backend.destroy();
        EXPECT_EQ(host.blocks, before) << n;
        host.fail_after = -1;
    }
}

TEST_F(VmxCpus, WhatAnotherOwnerLeftInTheCachesIsNotUsed) {
    const std::uint64_t root = Guest::next_root();
    for (fake::VmxCpu &cpu : vmx.cpus)
        cpu.translations[{1, root}] = 99; // of a VM whose root page is another's now
    power();
    Guest guest{0, root};
    visit(guest, 0);
}

// ---- a vCPU over CPUs ----

TEST_F(VmxCpus, AVcpuThatMovesIsEvictedFromWhereItWas) {
    power();
    Guest guest;
    visit(guest, 0);
    EXPECT_EQ(host.calls, 0u);
    visit(guest, 1);
    EXPECT_EQ(host.calls, 1u);
    EXPECT_EQ(vmx.cpus[0].current, ~0ull);
    visit(guest, 1);
    EXPECT_EQ(host.calls, 1u) << "it is there already";
}

TEST_F(VmxCpus, VcpusShareCpusInAnyOrder) {
    power();
    Guest guests[6];
    for (int round = 0; round < 6; round++)
        for (std::uint32_t cpu = 0; cpu < count; cpu++)
            for (unsigned i = 0; i < 6; i++)
                if ((i + round) % 3 != cpu) visit(guests[i], cpu, i % 3);
}

TEST_F(VmxCpus, StayingOnACpuCostsNothing) {
    power();
    Guest guest;
    visit(guest, 0);
    vmx.here().invalidated.clear();
    for (int i = 0; i < 3; i++) {
        guest.load(0);
        guest.run();
        EXPECT_TRUE(vmx.current().launched);
        guest.put();
    }
    EXPECT_TRUE(vmx.here().invalidated.empty());
}

TEST_F(VmxCpus, AVcpuThatIsDestroyedIsEvictedFirst) {
    power();
    {
        Guest guest;
        visit(guest, 2);
        hardware.cpu = 0;
    }
    EXPECT_EQ(host.calls, 1u);
    EXPECT_EQ(vmx.cpus[2].current, ~0ull);
    disable(2); // VMXOFF with nothing active
}

TEST_F(VmxCpus, ACpuThatGoesOfflineLeavesNothingBehind) {
    power();
    Guest guest;
    visit(guest, 3);
    disable(3);
    host.offline = {false, false, false, true};
    visit(guest, 0); // and nobody has to be asked
    EXPECT_EQ(host.calls, 0u);
    host.offline.clear();
    ASSERT_TRUE(enable(3));
    visit(guest, 3);
}

TEST_F(VmxCpus, AVcpuOfACpuThatIsOffIsNotEntered) {
    power();
    Guest guest;
    visit(guest, 0);
    disable(1);
    const std::uint64_t rip = guest.backend.rip();
    guest.load(1);
    EXPECT_FALSE(guest.backend.reachable());
    const RawExit raw = guest.enter();
    EXPECT_TRUE(raw.not_entered);
    EXPECT_EQ(raw.rip, rip);
    guest.put();
    visit(guest, 0);
}

TEST_F(VmxCpus, ACpuThatWentOffUnderAVcpuRefusesIt) { // a crash, or KVM's mistake
    power();
    Guest guest;
    guest.load(0);
    guest.run();
    vmx.refuse_entry = true;
    const RawExit raw = guest.enter();
    EXPECT_TRUE(raw.not_entered);
    EXPECT_EQ(decode(raw).reason, HWV_EXIT_NONE);
    vmx.refuse_entry = false;
    guest.run();
    guest.put();
}

// ---- translations ----

TEST_F(VmxCpus, AFlushComesBeforeTheNextEntryOnce) {
    power();
    Guest guest;
    guest.load(0);
    guest.run();
    vmx.here().invalidated.clear();
    vmx.change_tables(guest.root);
    guest.backend.flush_translations();
    guest.run();
    guest.run();
    EXPECT_EQ(vmx.here().invalidated, std::vector<std::uint64_t>{guest.root | 0x1e});
    guest.put();
}

TEST_F(VmxCpus, AFlushWhileNotLoadedIsNotForgotten) {
    power();
    Guest guest;
    visit(guest, 0);
    vmx.change_tables(guest.root);
    guest.backend.flush_translations();
    visit(guest, 0);
}

TEST_F(VmxCpus, AFailedEntryKeepsTheFlush) {
    power();
    Guest guest;
    guest.load(0);
    guest.run();
    vmx.change_tables(guest.root);
    guest.backend.flush_translations();
    vmx.refuse_entry = true;
    (void)guest.enter();
    vmx.refuse_entry = false;
    guest.run();
    guest.put();
}

TEST_F(VmxCpus, ComingBackDoesNotReviveTranslations) {
    power();
    Guest guest;
    visit(guest, 0);
    visit(guest, 1);
    vmx.change_tables(guest.root); // flushed where it is, on CPU 1
    guest.backend.flush_translations();
    visit(guest, 1);
    visit(guest, 0);
}

TEST_F(VmxCpus, TwoVcpusOfAVmLeaveNothingForEachOther) {
    power();
    Guest first{0}, second{1, first.root};
    visit(first, 0);
    visit(second, 1);
    vmx.change_tables(first.root); // both are told
    first.backend.flush_translations();
    second.backend.flush_translations();
    visit(second, 0);
    visit(first, 1);
    visit(first, 0);
}

TEST_F(VmxCpus, ARootWhosePageIsUsedAgainIsAnotherRoot) {
    power();
    const std::uint64_t root = Guest::next_root();
    for (int vm = 0; vm < 3; vm++) {
        Guest guest{0, root};
        visit(guest, 0);
        visit(guest, 1);
        vmx.change_tables(root); // freed, and the next VM's
    }
}

TEST_F(VmxCpus, AnotherRootOfTheSameVcpuIsTakenAtOnce) {
    power();
    Guest guest;
    guest.load(0);
    guest.run();
    const std::uint64_t other = Guest::next_root();
    vmx.here().translations[{1, other}] = 99;
    guest.backend.set_table_root(other | 0x1e);
    guest.run();
    EXPECT_EQ(guest[field::ept_pointer], other | 0x1e);
    guest.put();
}

TEST_F(VmxCpus, WithoutSingleContextsAllIsDropped) {
    vmx.facts.ept_capabilities &= ~(1ull << 25);
    capabilities();
    power();
    Guest guest;
    visit(guest, 0);
    vmx.here().invalidated.clear();
    vmx.change_tables(guest.root);
    guest.backend.flush_translations();
    visit(guest, 0);
    EXPECT_EQ(vmx.here().invalidated, std::vector<std::uint64_t>{~0ull});
}

TEST_F(VmxCpus, WithoutVpidsEntriesWork) {
    vmx.facts.secondary.may &= ~secondary::enable_vpid;
    capabilities();
    power();
    Guest guest;
    visit(guest, 0);
    vmx.change_tables(guest.root);
    guest.backend.flush_translations();
    visit(guest, 0);
    EXPECT_EQ(Cpus::features() & HWV_FEATURE_FLUSH_BY_ASID, 0u);
}

} // namespace
} // namespace hwv::vmx
