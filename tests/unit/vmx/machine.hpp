// SPDX-License-Identifier: GPL-2.0-only
// machine.hpp - fixture: an Intel machine of four CPUs with VMX, vCPUs on it, and KVM beside them.
#pragma once
#include <gtest/gtest.h>
#include "fakes/hardware.hpp"
#include "fakes/host.hpp"
#include "fakes/vmx_hardware.hpp"
#include "vmx/backend.hpp"
#include "vmx/checker_states.hpp"

namespace hwv::vmx {

class VmxMachine : public testing::Test {
  protected:
    static constexpr std::uint32_t count = 4;

    void SetUp() override {
        hardware.reset();
        vmx.reset(count);
        host.reset();
        blocks_before = host.blocks;
        hardware.leaves[0] = {.eax = 10};
        hardware.leaves[1] = {.ecx = 1u << 5, .edx = 1u << 21};
        hardware.leaves[7] = {.ebx = 0};
        hardware.leaves[10] = {.eax = 4u << 8 | 2, .edx = 3};
        hardware.leaves[0x8000'0000] = {.eax = 0x8000'0008};
        hardware.leaves[0x8000'0001] = {.edx = 1u << 27};
        hardware.leaves[0x8000'0008] = {.eax = 48 << 8 | 52}; // memory is the test's own
        vmx.facts = test::facts();
        vmx.facts.physical_bits = 52;
        host.facts.cpu_timer = host.facts.apicv = 1;
        host.facts.posted_vector = 0xf2;
        for (hardware.cpu = 0; hardware.cpu < count; hardware.cpu++)
            hardware.here().msrs = msrs(hardware.cpu);
        hardware.cpu = 0;
        capabilities();
    }
    void TearDown() override {
        for (std::uint32_t i = 0; running && i < count; i++) {
            hardware.cpu = i;
            Cpus::disable();
            Cpus::release(i);
        }
        stop();
        EXPECT_EQ(host.blocks, blocks_before) << "memory not freed";
        EXPECT_EQ(host.guest_depth, 0);
        EXPECT_FALSE(host.irqs_off);
        for (const std::string &v : hardware.violations)
            ADD_FAILURE() << v;
    }

    // No two CPUs alike, where Linux has them so.
    static std::map<std::uint32_t, std::uint64_t> msrs(std::uint64_t cpu) {
        return {{msr::feature_control, 5},
                {msr::spec_ctrl, 0},
                {msr::pred_cmd, 0},
                {msr::flush_cmd, 0},
                {msr::sysenter_cs, 0x10},
                {msr::sysenter_esp, 0xffff'fe00'0000'3000 + 0x1000 * cpu},
                {msr::sysenter_eip, 0xffff'ffff'8200'0000},
                {msr::debugctl, 0},
                {msr::pat, 0x0407'0105'0007'0106},
                {msr::perf_global_ctrl, 0},
                {msr::pebs_enable, 0},
                {msr::efer, 0xd01},
                {msr::star, 0x23'0010'0000'0000},
                {msr::lstar, 0xffff'ffff'8210'0000},
                {msr::cstar, 0xffff'ffff'8211'0000},
                {msr::sfmask, 0x47700},
                {msr::fs_base, 0x7f00'0000'1000},
                {msr::gs_base, 0xffff'8880'0000'0000 + 0x1000 * cpu},
                {msr::kernel_gs_base, 0},
                {msr::tsc_aux, cpu}};
    }

    // The capability MSRs, from what the fake machine's CPUs do.
    void capabilities() {
        const CheckerFacts &f = vmx.facts;
        const auto set = [&](std::uint32_t index, std::uint64_t v) {
            for (fake::HardwareCpu &cpu : hardware.cpus)
                cpu.msrs[index] = v;
        };
        const auto controls = [&](std::uint32_t index, AllowedControls c) {
            set(index, std::uint64_t{c.may} << 32 | c.must);
        };
        set(msr::basic, std::uint64_t{vmx.revision} | 6ull << 50 | 1ull << 55);
        controls(msr::true_pin_controls, f.pin);
        controls(msr::true_primary_controls, f.primary);
        controls(msr::true_exit_controls, f.exit);
        controls(msr::true_entry_controls, f.entry);
        controls(msr::secondary_controls, f.secondary);
        // Without "true" ones: CR3 exits cannot be switched off.
        controls(msr::pin_controls, f.pin);
        controls(msr::primary_controls,
                 {f.primary.must | primary::cr3_load_exiting | primary::cr3_store_exiting,
                  f.primary.may});
        controls(msr::exit_controls, f.exit);
        controls(msr::entry_controls, f.entry);
        set(msr::cr0_fixed0, f.cr0_fixed0);
        set(msr::cr0_fixed1, f.cr0_fixed1);
        set(msr::cr4_fixed0, f.cr4_fixed0);
        set(msr::cr4_fixed1, f.cr4_fixed1);
        set(msr::misc, f.misc);
        set(msr::ept_vpid_cap, f.ept_capabilities);
    }

    // Takes every CPU into service; to ride, KVM has VMX on there.
    void power(hwv_tenure tenure = HWV_TENURE_OWN) {
        ASSERT_TRUE(start());
        running = true;
        for (std::uint32_t i = 0; i < count; i++) {
            hardware.cpu = i;
            if (tenure == HWV_TENURE_RIDE) others_vmxon();
            ASSERT_TRUE(Cpus::prepare(i));
            host.irqs_off = true;
            ASSERT_TRUE(Cpus::enable(tenure));
            host.irqs_off = false;
        }
        hardware.cpu = 0;
        hardware.msr_writes.clear();
    }
    // Another hypervisor on this CPU.
    void others_vmxon() {
        static const auto regions = test_pages();
        vmx.here().cr4 |= cr4::vmxe;
        ASSERT_TRUE(vmx.vmxon(regions + 4096 * hardware.cpu));
    }
    // Pages that nobody has to free, for VMCSs and VMXON regions of another hypervisor.
    static std::uint64_t test_pages() {
        alignas(4096) static std::uint32_t pages[16][1024];
        for (auto &page : pages)
            page[0] = fake::vmx().revision;
        return reinterpret_cast<std::uint64_t>(pages);
    }

    fake::Hardware &hardware = fake::hardware();
    fake::VmxHardware &vmx = fake::vmx();
    fake::Host &host = fake::host();
    std::int64_t blocks_before = 0;
    bool running = false;
};

// A vCPU and its general registers, in a VM of its own unless told otherwise.
struct Guest {
    explicit Guest(std::uint32_t id = 0, std::uint64_t tables = next_root()) : root{tables} {
        EXPECT_TRUE(backend.init(id));
        backend.set_table_root(root | 3 << 3 | 6);
    }
    ~Guest() { backend.destroy(); }
    static std::uint64_t next_root() {
        static std::uint64_t last = 0x10'0000;
        return last += 0x1000;
    }

    void load(std::uint32_t cpu, bool other_vcpu = false) {
        fake::hardware().cpu = cpu;
        before = fake::vmx().host_image();
        backend.load({cpu, cpu != last_cpu, other_vcpu});
        last_cpu = cpu;
    }
    // And the CPU is as it was, but what hwv owns.
    void put() {
        fake::host().irqs_off = true;
        backend.put();
        fake::host().irqs_off = false;
        fake::HostImage after = fake::vmx().host_image();
        if (fake::host().vmxe_calls) after.vmcs = before.vmcs;
        for (const auto &[index, value] : before.msrs)
            EXPECT_EQ(after.msrs[index], value) << "MSR " << std::hex << index;
        EXPECT_EQ(after.vmcs, before.vmcs) << "another's VMCS was current";
        EXPECT_TRUE(after == before) << "the host's state is not what it was";
    }
    RawExit enter() {
        fake::host().irqs_off = true;
        const RawExit raw = backend.enter(gprs);
        fake::host().irqs_off = false;
        return raw;
    }
    // Runs `what` as the guest, which exits with `code`.
    template <typename F>
    RawExit run(ExitCode code, F what) {
        bool ran = false;
        fake::vmx().guest = [&](std::uint64_t *, fake::FakeVmcs &v) {
            v[field::exit_reason] = number(code);
            what(v);
            ran = true;
        };
        const RawExit raw = enter();
        fake::vmx().guest = nullptr;
        EXPECT_TRUE(ran) << "not entered: reason " << std::hex << raw.reason << ", rule "
                         << std::dec << raw.rule;
        return raw;
    }
    RawExit run(ExitCode code = ExitCode::external_interrupt) {
        return run(code, [](fake::FakeVmcs &) {});
    }
    // What the VMCS holds between exits.
    template <typename F>
    std::uint64_t operator[](F f) {
        return fake::vmx().current()[f];
    }

    Backend backend;
    Gprs gprs = {};
    std::uint64_t root;
    std::uint32_t last_cpu = ~0u;
    fake::HostImage before;
};

} // namespace hwv::vmx
