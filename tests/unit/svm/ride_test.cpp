// SPDX-License-Identifier: GPL-2.0-only
// Beside KVM on the same CPUs: what each believes to be alone with stays apart. No emulator shows a
// mistake here.
#include <array>
#include <random>
#include "svm/machine.hpp"

using namespace hwv;
using namespace hwv::svm;

namespace {

// KVM's way with ASIDs and predictions: numbers are handed out one by one and flushed only when
// they run out; a barrier comes when one of its own guests follows another.
class Kvm {
  public:
    struct Vcpu {
        std::uint64_t name;
        std::uint32_t cpu = ~0u, asid = 0;
        std::uint64_t generation = 0;
    };

    void run(Vcpu &vcpu) {
        Hand &hand = hands_[hardware.cpu];
        if (hand.current != vcpu.name) hardware.wrmsr(msr::pred_cmd, pred_cmd::ibpb);
        hand.current = vcpu.name;
        if (vcpu.cpu != hardware.cpu || vcpu.generation != hand.generation) number(vcpu, hand);
        hardware.run_tagged(vcpu.name, vcpu.asid);
    }

  private:
    struct Hand {
        std::uint64_t generation = 1, current = 0;
        std::uint32_t next = last + 1;
    };
    void number(Vcpu &vcpu, Hand &hand) {
        if (hand.next > last) {
            hand.generation++;
            hand.next = 1;
            hardware.here().tlb.clear();
        }
        vcpu.cpu = hardware.cpu;
        vcpu.generation = hand.generation;
        vcpu.asid = hand.next++;
    }
    static constexpr std::uint32_t last = 3; // SvmMachine::asids - 1
    fake::Hardware &hardware = fake::hardware();
    std::array<Hand, 4> hands_;
};

struct SvmRide : SvmMachine {
    // Loads, runs `entries` times, puts.
    void visit(Guest &guest, std::uint32_t cpu, unsigned entries = 1, bool other_vcpu = false) {
        guest.load(cpu, other_vcpu);
        for (unsigned i = 0; i < entries; i++)
            guest.run(ExitCode::intr);
        guest.backend.put();
    }
    Kvm kvm;
};

TEST_F(SvmRide, TranslationsAndPredictionsOfKvmsGuestsAndHwvsNeverMix) {
    host.facts.speculation = HWV_SPEC_IBPB;
    features(feature::flush_by_asid);
    hardware.watch_predictor = true;
    power(HWV_TENURE_RIDE);
    Guest guests[3];
    Kvm::Vcpu vcpus[] = {{0xa1}, {0xa2}, {0xa3}, {0xa4}};
    const Guest *last[4] = {};
    std::mt19937 random{1};
    for (int i = 0; i < 20000; i++) {
        const std::uint32_t cpu = random() % 4;
        hardware.cpu = cpu;
        if (random() % 2) {
            kvm.run(vcpus[random() % 4]);
            continue;
        }
        Guest &guest = guests[random() % 3];
        if (random() % 4 == 0) guest.backend.flush_translations();
        visit(guest, cpu, random() % 3, last[cpu] != &guest);
        last[cpu] = &guest;
    }
}

TEST_F(SvmRide, ALoadedGuestsFlushIsOneOfAll) { // without flush by ASID the number stays
    power(HWV_TENURE_RIDE);
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr,
              [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::flush_all); });
    guest.run(ExitCode::intr, [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::keep); });
    guest.backend.flush_translations();
    guest.run(ExitCode::intr,
              [](Vmcb &v) { EXPECT_EQ(v.control.tlb_control, TlbControl::flush_all); });
    guest.backend.put();
}

TEST_F(SvmRide, NothingIsInTheTlbAfterThePut) {
    power(HWV_TENURE_RIDE);
    Guest guest;
    visit(guest, 0);
    EXPECT_TRUE(hardware.here().tlb.empty());
}

TEST_F(SvmRide, AnOwnerKeepsItsTranslations) {
    power();
    Guest guest;
    visit(guest, 0);
    EXPECT_FALSE(hardware.here().tlb.empty());
}

TEST_F(SvmRide, TheGuestThatFlushesIsOneThatTheCpuTakes) {
    host.facts.sme_mask = 1ull << 47;
    hardware.address_mask = ~host.facts.sme_mask;
    power(HWV_TENURE_RIDE);
    unsigned seen = 0;
    hardware.idle_guest = [&](void *memory) {
        const Vmcb &v = *static_cast<const Vmcb *>(memory);
        EXPECT_EQ(svm::check(v, ((1ull << 48) - 1)), Rule::none);
        EXPECT_EQ(v.control.tlb_control, TlbControl::flush_all);
        EXPECT_EQ(v.control.clean, 0u);
        EXPECT_TRUE(v.control.nested_cr3 >> 47 & 1);
        ++seen;
    };
    Guest guest;
    visit(guest, 0);
    visit(guest, 0);
    EXPECT_EQ(seen, 2u);
}

TEST_F(SvmRide, KvmsSwitchAndItsSaveAreaAreNeverTouched) {
    features(feature::tsc_ratio);
    power(HWV_TENURE_RIDE);
    Guest guest;
    for (std::uint32_t cpu : {0u, 1u, 0u})
        visit(guest, cpu, 2);
    Cpus::disable();
    EXPECT_EQ(hardware.writes_of(msr::efer), 0u);
    EXPECT_EQ(hardware.writes_of(msr::vm_hsave_pa), 0u);
    for (const fake::HardwareCpu &cpu : hardware.cpus) {
        EXPECT_TRUE(cpu.msrs.at(msr::efer) & efer::svme);
        EXPECT_EQ(cpu.msrs.at(msr::vm_hsave_pa), kvm_save_area);
    }
}

TEST_F(SvmRide, ATscOfItsOwnFrequencyIsInTheCpuWithItsGuestAlone) {
    features(feature::tsc_ratio);
    power(HWV_TENURE_RIDE);
    Guest guest;
    constexpr std::uint64_t ratio = 3ull << 31, others = 5ull << 30;
    guest.backend.set_tsc_ratio(ratio);
    for (std::uint32_t cpu : {0u, 1u}) {
        hardware.cpus[cpu].msrs[msr::tsc_ratio] = others;
        guest.load(cpu);
        guest.run(ExitCode::intr,
                  [&](Vmcb &) { EXPECT_EQ(hardware.here().msrs[msr::tsc_ratio], ratio); });
        guest.backend.put();
        EXPECT_EQ(hardware.here().msrs[msr::tsc_ratio], others);
    }
}

// KVM writes neither again while it believes that its value is there.
TEST_F(SvmRide, MsrsThatKvmLeavesToItsGuestAreAsFoundAfterThePut) {
    features(feature::tsc_ratio);
    power(HWV_TENURE_RIDE);
    Guest guest;
    ASSERT_TRUE(guest.backend.set_msr(msr::tsc_aux, 0x77));
    for (std::uint32_t cpu : {0u, 1u}) {
        hardware.cpus[cpu].msrs[msr::tsc_aux] = 0x9000 + cpu;
        hardware.cpus[cpu].msrs[msr::tsc_ratio] = 0x1'8000'0000 + cpu;
        guest.load(cpu);
        guest.run(ExitCode::intr, [&](Vmcb &) {
            EXPECT_EQ(hardware.here().msrs[msr::tsc_aux], 0x77u);
            EXPECT_EQ(hardware.here().msrs[msr::tsc_ratio], tsc_ratio_default);
        });
        guest.backend.put();
        EXPECT_EQ(hardware.here().msrs[msr::tsc_aux], 0x9000u + cpu);
        EXPECT_EQ(hardware.here().msrs[msr::tsc_ratio], 0x1'8000'0000u + cpu);
    }
}

TEST_F(SvmRide, TheFlushAtThePutKeepsTheHostsBreakpointsAndLdt) {
    power(HWV_TENURE_RIDE);
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    hardware.here().dr[1] = 0x8000;
    hardware.here().dr[6] = 0xffff'0ff1;
    hardware.here().dr[7] = 0x40c;
    hardware.here().ldt = 0x48;
    const std::size_t stored = hardware.vmsaves.size();
    unsigned seen = 0;
    hardware.idle_guest = [&](void *) {
        EXPECT_EQ(hardware.here().dr[7] & 0xff, 0u); // no breakpoint in the world switch
        EXPECT_EQ(hardware.vmsaves.size(), stored + 1);
        ++seen;
    };
    guest.backend.put();
    EXPECT_EQ(seen, 1u);
    EXPECT_EQ(hardware.here().dr[1], 0x8000u);
    EXPECT_EQ(hardware.here().dr[6], 0xffff'0ff1u);
    EXPECT_EQ(hardware.here().dr[7], 0x40cu);
}

TEST_F(SvmRide, AMachineCheckDuringTheFlushIsTheHosts) {
    power(HWV_TENURE_RIDE);
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    hardware.idle_guest = [](void *vmcb) {
        static_cast<Vmcb *>(vmcb)->control.exit_code =
            number(ExitCode::exception + vector::machine_check);
    };
    host.irqs_off = true;
    guest.backend.put();
    host.irqs_off = false;
    EXPECT_EQ(host.machine_checks, 1u);
}

TEST_F(SvmRide, WhereKvmSwitchedOffTheGuestIsNotEntered) {
    power(HWV_TENURE_RIDE);
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::intr);
    hardware.here().msrs[msr::efer] &= ~efer::svme; // as if hwv's hold on KVM's VM did not count
    hardware.refuse_entry = true;
    EXPECT_EQ(guest.enter().code, number(ExitCode::not_entered));
    guest.backend.put();
    guest.load(0);
    EXPECT_EQ(guest.enter().code, number(ExitCode::not_entered));
    guest.backend.put();
    EXPECT_FALSE(hardware.here().msrs[msr::efer] & efer::svme);
}

} // namespace
