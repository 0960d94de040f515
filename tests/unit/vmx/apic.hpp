// SPDX-License-Identifier: GPL-2.0-only
// apic.hpp - fixture: a guest whose local APIC is in x2APIC mode, on a CPU that works on it.
#pragma once
#include "fakes/vmx_apic.hpp"
#include "vmx/run.hpp"

namespace hwv::vmx {

namespace reg = cpu::apic_reg;
inline constexpr std::uint32_t eoi = 0x80b, self_ipi = 0x83f, icr = 0x830, tpr = 0x808;
inline constexpr std::uint64_t x2apic_base = 0xfee0'0d00;
using Vectors = std::vector<std::uint8_t>;

struct VmxApic : VmxRun {
    void SetUp() override {
        VmxRun::SetUp();
        ASSERT_TRUE(vcpu->apic.set_base(x2apic_base));
        write(0x80f, 0x1ff);
    }
    void write(std::uint32_t index, std::uint64_t value) {
        cpu::ApicEffect effect;
        ASSERT_TRUE(vcpu->apic.write_msr(index, value, effect));
    }
    std::uint64_t read(std::uint32_t index) {
        std::uint64_t value = 0;
        EXPECT_TRUE(vcpu->apic.read_msr(index, value));
        return value;
    }
    // What the guest does next: `turn`, and then it is kicked, if nothing of it has exited.
    void does(std::function<void(fake::VirtualApic &, fake::FakeVmcs &)> turn, bool last = true) {
        exits(ExitCode::external_interrupt, [this, turn, last](fake::FakeVmcs &v) {
            fake::VirtualApic guest{v};
            turn(guest, v);
            if (last) vcpu->ask(request::kick);
        });
    }
    // From here on the guest takes interrupts, or not.
    void interrupts(bool open) {
        is_kicked();
        ASSERT_EQ(run(), 0);
        page.regs.rflags = rflags::fixed | (open ? rflags::if_ : 0);
        vmx.interrupts.clear();
    }
    int go() { return run({.dirty = HWV_REGS_GPR, .wanted = HWV_REGS_ALL}); }
    static bool on(fake::FakeVmcs &v) {
        return (v[field::secondary_controls] & apic_controls) == apic_controls;
    }
    static bool window(fake::FakeVmcs &v) {
        return v[field::primary_controls] & primary::interrupt_window_exiting;
    }
};

} // namespace hwv::vmx
