// SPDX-License-Identifier: GPL-2.0-only
// machine.hpp - fixture: an AMD machine of four CPUs with SVM on, and vCPUs on it.
#pragma once
#include <gtest/gtest.h>
#include "fakes/hardware.hpp"
#include "fakes/host.hpp"
#include "svm/backend.hpp"
#include "svm/msr.hpp"

namespace hwv::svm {

namespace feature { // CPUID 8000000A EDX
inline constexpr std::uint32_t npt = 1u << 0, lbrv = 1u << 1, nrips = 1u << 3, tsc_ratio = 1u << 4,
                               vmcb_clean = 1u << 5, flush_by_asid = 1u << 6,
                               decode_assists = 1u << 7, pause_filter = 1u << 10,
                               pause_threshold = 1u << 12, vgif = 1u << 16, v_spec_ctrl = 1u << 20,
                               vnmi = 1u << 25;
}

class SvmMachine : public testing::Test {
  protected:
    void SetUp() override {
        hardware.reset();
        host.reset();
        blocks_before = host.blocks;
        hardware.leaves[0] = {.eax = 7};
        hardware.leaves[0x8000'0000] = {.eax = 0x8000'001a};
        hardware.leaves[0x8000'0001] = {.ecx = 1u << 2, .edx = 1u << 27};
        hardware.leaves[0x8000'0008] = {.eax = 48};
        hardware.leaves[0x8000'000a] = {.eax = 1, .ebx = asids, .edx = feature::npt};
        for (fake::HardwareCpu &cpu : hardware.cpus)
            cpu.msrs = {{msr::efer, 0xd01},     {msr::vm_cr, 0},         {msr::vm_hsave_pa, 0},
                        {msr::tsc_aux, 0x1111}, {msr::tsc_ratio, 0x777}, {msr::pred_cmd, 0},
                        {msr::spec_ctrl, 0}};
    }
    void TearDown() override {
        if (running) {
            for (std::uint32_t i = 0; i < 4; i++) {
                hardware.cpu = i;
                Cpus::disable();
                Cpus::release(i);
            }
        }
        stop();
        EXPECT_EQ(host.blocks, blocks_before) << "memory not freed";
        EXPECT_EQ(host.guest_depth, 0);
        for (const std::string &v : hardware.violations)
            ADD_FAILURE() << v;
    }

    void features(std::uint32_t edx) { hardware.leaves[0x8000'000a].edx = edx | feature::npt; }

    // Takes every CPU into service; to ride, KVM has SVM on there.
    void power(hwv_tenure tenure = HWV_TENURE_OWN) {
        ASSERT_TRUE(start());
        if (tenure == HWV_TENURE_RIDE)
            for (fake::HardwareCpu &cpu : hardware.cpus) {
                cpu.msrs[msr::efer] |= efer::svme;
                cpu.msrs[msr::vm_hsave_pa] = kvm_save_area;
            }
        for (std::uint32_t i = 0; i < 4; i++) {
            hardware.cpu = i;
            ASSERT_TRUE(Cpus::prepare(i));
            ASSERT_TRUE(Cpus::enable(tenure));
        }
        hardware.cpu = 0;
        hardware.msr_writes.clear();
        running = true;
    }

    static constexpr std::uint32_t asids = 4; // numbers 1 to 3 are usable
    static constexpr std::uint64_t kvm_save_area = 0x7000;
    fake::Hardware &hardware = fake::hardware();
    fake::Host &host = fake::host();
    std::int64_t blocks_before = 0;
    bool running = false;
};

// A vCPU and its general registers.
struct Guest {
    Guest() { EXPECT_TRUE(backend.init(0)); }
    ~Guest() { backend.destroy(); }

    void load(std::uint32_t cpu, bool other_vcpu = false) {
        fake::hardware().cpu = cpu;
        backend.load({cpu, cpu != last_cpu, other_vcpu});
        last_cpu = cpu;
    }
    RawExit enter() { return backend.enter(gprs); }
    // Runs `what` as the guest, which exits with `code`.
    template <typename F>
    RawExit run(ExitCode code, F what) {
        fake::hardware().guest = [&](std::uint64_t *, void *memory) {
            Vmcb &vmcb = *static_cast<Vmcb *>(memory);
            vmcb.control.exit_code = number(code);
            what(vmcb);
        };
        const RawExit raw = enter();
        fake::hardware().guest = nullptr;
        return raw;
    }
    RawExit run(ExitCode code) {
        return run(code, [](Vmcb &) {});
    }
    const ControlArea &control() const { return backend.vmcb().control; }
    const SaveArea &save() const { return backend.vmcb().save; }
    bool intercepts(ExitCode code) const { return control().intercepts.has(code); }

    Backend backend;
    Gprs gprs = {};
    std::uint32_t last_cpu = ~0u;
};

} // namespace hwv::svm
