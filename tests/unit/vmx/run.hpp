// SPDX-License-Identifier: GPL-2.0-only
// run.hpp - fixture: the run loop on Intel's backend, over a guest that a test scripts exit by
// exit.
#pragma once
#include <deque>
#include <memory>
#include "core/defaults.hpp"
#include "core/run_loop.hpp"
#include "cpu/fake_machine.hpp"
#include "vmx/machine.hpp"

namespace hwv::vmx {

using Vcpu = VcpuOf<Backend>;
using Turn = std::function<void(fake::FakeVmcs &)>;

inline void some_cpuid(std::uint32_t leaf, std::uint32_t, std::uint32_t (&out)[4]) {
    if (leaf == 0) out[0] = 0xd;
    if (leaf == 1 || leaf == 7) out[1] = out[2] = out[3] = ~0u;
    if (leaf == 0x8000'0000) out[0] = 0x8000'0008;
    if (leaf == 0x8000'0001) out[2] = out[3] = ~0u;
}

struct VmxRun : VmxMachine {
    void SetUp() override {
        VmxMachine::SetUp();
        ::fake::reset();
        ::fake::machine().cpuid = some_cpuid;
        if (no_apicv) host.facts.apicv = 0;
        power(HWV_TENURE_RIDE);
        ASSERT_TRUE(defaults::init());
        ASSERT_TRUE(residency::init());
        vm = std::make_unique<Vcpu::Machine>(nullptr, hwv_create_vm{}, Cpus::table());
        ASSERT_TRUE(vm->memory.init());
        vcpu = std::make_unique<Vcpu>(*vm, 0, nullptr, &page);
        ASSERT_TRUE(vcpu->init());
        ASSERT_TRUE(vm->add(*vcpu, 0));
        vmx.guest = [this](std::uint64_t *, fake::FakeVmcs &v) {
            ASSERT_FALSE(turns.empty()) << "an entry more than the test has";
            turns.front()(v);
            turns.pop_front();
        };
    }
    void TearDown() override {
        EXPECT_TRUE(turns.empty());
        EXPECT_EQ(vmx.acknowledged, host.served) << "an interrupt of the host's is lost";
        vmx.guest = nullptr;
        vcpu.reset();
        vm.reset();
        defaults::exit();
        residency::exit();
        VmxMachine::TearDown();
    }
    // What the guest does next: exits.
    void exits(
        ExitCode code, Turn turn = [](fake::FakeVmcs &) {}) {
        turns.push_back([code, turn](fake::FakeVmcs &v) {
            v[field::exit_reason] = number(code);
            turn(v);
        });
    }
    void is_kicked() {
        exits(ExitCode::external_interrupt, [this](fake::FakeVmcs &) { vcpu->ask(request::kick); });
    }
    int run(const hwv_reply &reply = {.wanted = HWV_REGS_ALL}) {
        page.reply = reply;
        const PreemptGuard guard;
        const int error = vcpu->run_guest(hardware.cpu, &host.works);
        host.irqs_off = false;
        EXPECT_EQ(vmx.here().current, ~0ull) << "KVM had none";
        return error;
    }
    // Another thread takes the CPU, and the vCPU goes on elsewhere.
    void moves_to(std::uint32_t cpu) {
        host.irqs_off = true;
        vcpu->put(true);
        host.irqs_off = false;
        EXPECT_EQ(vmx.here().current, ~0ull);
        hardware.cpu = cpu;
        vcpu->load(cpu);
    }

    bool no_apicv = false; // module parameter
    hwv_run page{};
    std::unique_ptr<Vcpu::Machine> vm;
    std::unique_ptr<Vcpu> vcpu;
    std::deque<Turn> turns;
};

} // namespace hwv::vmx
