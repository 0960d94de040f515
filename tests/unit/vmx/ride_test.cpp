// SPDX-License-Identifier: GPL-2.0-only
// Beside KVM on the same CPUs: its VMCS is current again, its CPU as it left it. No emulator shows
// all of it.
#include <array>
#include <random>
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

// KVM's way: it loads a VMCS only where it believes that another is current, and issues a barrier
// only where one of its guests follows another.
class Kvm {
  public:
    struct Vcpu {
        std::uint64_t vmcs, root;
        unsigned cpu = ~0u;
    };

    void run(Vcpu &vcpu) {
        if (vcpu.cpu != hardware.cpu) move(vcpu);
        std::uint64_t &current = current_[hardware.cpu];
        if (current != vcpu.vmcs) {
            EXPECT_TRUE(vmx.vmptrld(vcpu.vmcs));
            hardware.wrmsr(msr::pred_cmd, pred_cmd::ibpb);
        }
        current = vcpu.vmcs;
        EXPECT_EQ(vmx.here().current, vcpu.vmcs) << "KVM runs on a VMCS that is not its own";
        EXPECT_TRUE(vmx.here().on && (vmx.here().cr4 & cr4::vmxe));
        vmx.run_tagged(1, vcpu.root | 0x1e); // VPIDs are its own: they may be hwv's
        vmx.current().launched = true;
    }

  private:
    void move(Vcpu &vcpu) { // its IPI
        const std::uint32_t here = hardware.cpu;
        if (vcpu.cpu != ~0u) {
            hardware.cpu = vcpu.cpu;
            EXPECT_TRUE(vmx.vmclear(vcpu.vmcs));
            if (current_[vcpu.cpu] == vcpu.vmcs) current_[vcpu.cpu] = 0;
        }
        hardware.cpu = vcpu.cpu = here;
        EXPECT_TRUE(vmx.vmclear(vcpu.vmcs));
    }
    fake::Hardware &hardware = fake::hardware();
    fake::VmxHardware &vmx = fake::vmx();
    std::array<std::uint64_t, 4> current_{};
};

struct VmxRide : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        host.facts.speculation = HWV_SPEC_IBPB;
        hardware.watch_predictor = true;
        power(HWV_TENURE_RIDE);
        for (unsigned i = 0; i < 4; i++)
            vcpus[i] = {test_pages() + 4096 * (4 + i), 0x5000 + 0x1000 * i};
    }
    void TearDown() override {
        for (std::uint32_t i = 0; i < count; i++) {
            hardware.cpu = i;
            Cpus::disable();
            EXPECT_TRUE(vmx.here().on && (vmx.here().cr4 & cr4::vmxe)) << "KVM needs it";
        }
        EXPECT_EQ(host.vmxe_calls, 0u);
        VmxMachine::TearDown();
    }
    void visit(Guest &guest, std::uint32_t cpu, unsigned entries = 1) {
        guest.load(cpu);
        for (unsigned i = 0; i < entries; i++)
            guest.run();
        guest.put();
    }
    Kvm kvm;
    Kvm::Vcpu vcpus[4];
};

TEST_F(VmxRide, KvmsVmcsIsCurrentAgainAfterEveryPut) {
    Guest guest;
    for (int i = 0; i < 3; i++) {
        hardware.cpu = 1;
        kvm.run(vcpus[0]);
        visit(guest, 1, 2);
        EXPECT_EQ(vmx.here().current, vcpus[0].vmcs);
        EXPECT_TRUE(vmx.current().launched);
    }
}

TEST_F(VmxRide, WhereNoVmcsWasCurrentNoneIs) {
    Guest guest;
    visit(guest, 1);
    EXPECT_EQ(vmx.here().current, ~0ull);
}

TEST_F(VmxRide, NothingOfHwvsIsActiveAfterAPut) {
    Guest guest;
    visit(guest, 0);
    for (const auto &[pa, v] : vmx.vmcs)
        EXPECT_FALSE(v.active) << std::hex << pa;
    visit(guest, 1); // so nobody has to be called
    EXPECT_EQ(host.calls, 0u);
}

TEST_F(VmxRide, BarriersComeWithTheGuestAndGoWithIt) {
    Guest guest;
    guest.load(0, false);
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
    guest.run();
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
    guest.put();
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 2u);
}

TEST_F(VmxRide, GuestsOfBothInAnyOrderStayApart) {
    Guest guests[3];
    std::mt19937 random{1};
    for (int i = 0; i < 4000; i++) {
        hardware.cpu = random() % count;
        if (random() % 2) {
            kvm.run(vcpus[random() % 4]);
            continue;
        }
        Guest &guest = guests[random() % 3];
        if (random() % 4 == 0) {
            vmx.change_tables(guest.root);
            guest.backend.flush_translations();
        }
        visit(guest, hardware.cpu, random() % 3);
    }
}

TEST_F(VmxRide, MsrsThatKvmLeavesToItsGuestAreAsFound) {
    Guest guest;
    for (std::uint32_t cpu : {0u, 1u, 0u}) {
        std::uint64_t value = 0x9000 + cpu; // KVM's guest's, not the kernel's
        for (std::uint32_t index : {msr::star, msr::lstar, msr::sfmask, msr::tsc_aux})
            hardware.cpus[cpu].msrs[index] = value += 0x100;
        guest.load(cpu); // put() compares
        guest.run();
        guest.put();
    }
}

// KVM would not have stopped while hwv holds its VM.
TEST_F(VmxRide, WhereKvmSwitchedOffNothingIsEnteredNorSwitchedOn) {
    Guest guest;
    hardware.cpu = 2;
    ASSERT_TRUE(vmx.vmxoff());
    vmx.here().cr4 &= ~cr4::vmxe;
    guest.load(2);
    EXPECT_TRUE(guest.enter().not_entered);
    guest.put();
    others_vmxon();
}

TEST_F(VmxRide, ACpuNotInServiceKeepsKvmsVmcsUntouched) {
    Guest guest;
    visit(guest, 0);
    hardware.cpu = 3;
    Cpus::disable();
    kvm.run(vcpus[0]);
    const auto before = vmx.current().fields;
    Guest fresh{1};
    for (Guest *g : {&guest, &fresh}) {
        g->gprs[HWV_RSP] = 0x1234;
        g->backend.set_rip(0x5678);
        g->load(3);
        EXPECT_TRUE(g->backend.reachable());
        g->backend.set_cr3(0x7000);
        g->backend.set_segment(HWV_FS, {0x1000, 0xffff, 8, 0x93});
        EXPECT_EQ(g->backend.rflags(), rflags::fixed);
        EXPECT_TRUE(g->enter().not_entered);
        EXPECT_EQ(g->backend.cr3(), 0x7000u);
        g->put();
        EXPECT_EQ(vmx.here().current, vcpus[0].vmcs);
        EXPECT_EQ(vmx.current().fields, before);
    }
    for (Guest *g : {&guest, &fresh}) { // what was set there is not lost
        g->load(0);
        g->run();
        EXPECT_EQ(g->backend.cr3(), 0x7000u);
        EXPECT_EQ(g->backend.segment(HWV_FS).base, 0x1000u);
        g->put();
    }
}

// Reboot: hwv's part of a CPU ends while a vCPU is loaded there.
TEST_F(VmxRide, AVcpuThatIsLoadedKeepsItsVmcsUntilItIsPut) {
    Guest guest;
    hardware.cpu = 2;
    kvm.run(vcpus[0]);
    const auto before = vmx.current().fields;
    guest.load(2);
    guest.run();
    host.irqs_off = true;
    Cpus::disable();
    host.irqs_off = false;
    guest.backend.set_cr3(0x7000);
    EXPECT_EQ(guest.backend.cr3(), 0x7000u);
    hardware.msr_writes.clear();
    guest.put();
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
    EXPECT_EQ(vmx.current().fields, before);
    kvm.run(vcpus[0]);
    guest.load(2);
    EXPECT_TRUE(guest.enter().not_entered);
    guest.put();
}

} // namespace
} // namespace hwv::vmx
