// SPDX-License-Identifier: GPL-2.0-only
// What makes a machine unusable, said by name, and what a guest runs with on one that is usable.
#include <bit>
#include "vmx/machine.hpp"

namespace hwv::vmx {
namespace {

struct VmxCapabilities : VmxMachine {
    hwv_unusable unusable() {
        capabilities();
        host.log.clear();
        return read_capabilities().unusable;
    }
    bool logged(const std::string &part) const {
        for (const std::string &line : host.log)
            if (line.find(part) != std::string::npos) return true;
        return false;
    }
};

TEST_F(VmxCapabilities, ThisMachineIsUsable) {
    EXPECT_EQ(unusable(), HWV_USABLE);
    EXPECT_TRUE(host.log.empty());
    const Capabilities c = read_capabilities();
    EXPECT_EQ(c.revision, vmx.revision);
    EXPECT_TRUE(c.vpid && c.invept_context && c.tsc_aux && c.perf_global_ctrl && c.pebs);
    EXPECT_FALSE(c.l1d_flush);
    EXPECT_TRUE(c.ept.execute_only && c.ept.accessed_dirty);
    EXPECT_EQ(c.ept.largest, npt::Level::page_1g);
    EXPECT_EQ(c.facts.physical_bits, 52u);
    EXPECT_EQ(c.facts.linear_bits, 48u);
    EXPECT_EQ(c.facts.perf_global_ctrl, 0x1'0007'0000'000fu); // metrics too
}

TEST_F(VmxCapabilities, WithoutVmxOrWithAFirmwareThatLocksIt) {
    for (fake::HardwareCpu &cpu : hardware.cpus)
        cpu.msrs[msr::feature_control] = 1; // locked, off
    EXPECT_EQ(unusable(), HWV_UNUSABLE_LOCKED);
    hardware.here().msrs[msr::feature_control] = 4; // not locked: VMXON would fault
    EXPECT_EQ(unusable(), HWV_UNUSABLE_LOCKED);
    hardware.here().msrs.erase(msr::feature_control);
    EXPECT_EQ(unusable(), HWV_UNUSABLE_LOCKED);
    hardware.leaves[1].ecx = 0;
    EXPECT_EQ(unusable(), HWV_UNUSABLE_NO_VIRT);
    ASSERT_TRUE(start()); // and that is no error
}

struct Needed {
    AllowedControls CheckerFacts::*group;
    std::uint32_t bit;
    const char *name;
    hwv_unusable why = HWV_UNUSABLE_NO_CONTROL;
};
constexpr auto P = &CheckerFacts::pin, Q = &CheckerFacts::primary, S = &CheckerFacts::secondary,
               X = &CheckerFacts::exit, E = &CheckerFacts::entry;
const Needed needed[] = {
    {P, pin::external_interrupt_exiting, "external_interrupt_exiting"},
    {P, pin::nmi_exiting, "nmi_exiting"},
    {P, pin::virtual_nmis, "virtual_nmis"},
    {Q, primary::interrupt_window_exiting, "interrupt_window_exiting"},
    {Q, primary::nmi_window_exiting, "nmi_window_exiting"},
    {Q, primary::use_tsc_offsetting, "use_tsc_offsetting"},
    {Q, primary::hlt_exiting, "hlt_exiting"},
    {Q, primary::mwait_exiting, "mwait_exiting"},
    {Q, primary::monitor_exiting, "monitor_exiting"},
    {Q, primary::rdpmc_exiting, "rdpmc_exiting"},
    {Q, primary::use_tpr_shadow, "use_tpr_shadow"},
    {Q, primary::mov_dr_exiting, "mov_dr_exiting"},
    {Q, primary::unconditional_io_exiting, "unconditional_io_exiting"},
    {Q, primary::use_msr_bitmaps, "use_msr_bitmaps"},
    {Q, primary::secondary_controls, "secondary_controls", HWV_UNUSABLE_NO_NESTED_PAGING},
    {S, secondary::enable_ept, "enable_ept", HWV_UNUSABLE_NO_NESTED_PAGING},
    {S, secondary::unrestricted_guest, "unrestricted_guest", HWV_UNUSABLE_NO_UNRESTRICTED},
    {S, secondary::wbinvd_exiting, "wbinvd_exiting"},
    {X, exit_control::save_debug_controls, "save_debug_controls"},
    {X, exit_control::host_address_space_size, "host_address_space_size"},
    {X, exit_control::save_pat, "save_pat"},
    {X, exit_control::load_pat, "load_pat"},
    {X, exit_control::load_efer, "load_efer"},
    {E, entry_control::load_debug_controls, "load_debug_controls"},
    {E, entry_control::ia32e_mode_guest, "ia32e_mode_guest"},
    {E, entry_control::load_pat, "load_pat"},
    {E, entry_control::load_efer, "load_efer"},
};

TEST_F(VmxCapabilities, EachControlThatIsMissingIsNamed) {
    const CheckerFacts whole = vmx.facts;
    for (const Needed &n : needed) {
        vmx.facts = whole;
        (vmx.facts.*n.group).may &= ~n.bit;
        EXPECT_EQ(unusable(), n.why) << n.name;
        EXPECT_TRUE(logged(std::string("lacks the control ") + n.name)) << n.name;
    }
}

TEST_F(VmxCapabilities, AControlThatCannotBeSwitchedOffIsNamed) {
    const CheckerFacts whole = vmx.facts;
    const std::pair<std::uint32_t, const char *> controls[] = {
        {primary::cr3_load_exiting, "cr3_load_exiting"},
        {primary::cr3_store_exiting, "cr3_store_exiting"},
        {primary::invlpg_exiting, "invlpg_exiting"}};
    for (const auto &[bit, name] : controls) {
        vmx.facts = whole;
        vmx.facts.primary.must |= bit;
        EXPECT_EQ(unusable(), HWV_UNUSABLE_NO_CONTROL) << name;
        EXPECT_TRUE(logged(std::string("cannot switch off the control ") + name)) << name;
    }
}

TEST_F(VmxCapabilities, WithoutTheTrueMsrsCr3ExitsCannotBeSwitchedOff) {
    EXPECT_EQ(unusable(), HWV_USABLE);
    hardware.here().msrs[msr::basic] &= ~(1ull << 55);
    EXPECT_EQ(read_capabilities().unusable, HWV_UNUSABLE_NO_CONTROL);
}

TEST_F(VmxCapabilities, TablesAndFlushesThatHwvUsesAreAskedFor) {
    const std::uint64_t whole = vmx.facts.ept_capabilities;
    for (unsigned bit : {6u, 14u, 20u}) { // four levels, write-back, INVEPT
        vmx.facts.ept_capabilities = whole & ~(1ull << bit);
        EXPECT_EQ(unusable(), HWV_UNUSABLE_NO_NESTED_PAGING) << bit;
    }
    vmx.facts.ept_capabilities = whole & ~(1ull << 25 | 1ull << 26); // of no type
    EXPECT_EQ(unusable(), HWV_UNUSABLE_NO_NESTED_PAGING);
    vmx.facts.ept_capabilities = whole & ~(1ull << 25);
    EXPECT_EQ(unusable(), HWV_USABLE);
    vmx.facts.ept_capabilities = whole & ~(1ull << 17);
    EXPECT_EQ(unusable(), HWV_USABLE);
    EXPECT_EQ(read_capabilities().ept.largest, npt::Level::page_2m);
    vmx.facts.ept_capabilities = whole & ~(3ull << 16);
    EXPECT_EQ(unusable(), HWV_USABLE);
    EXPECT_EQ(read_capabilities().ept.largest, npt::Level::page_4k);
}

TEST_F(VmxCapabilities, FeaturesAreReportedNeutrally) {
    Capabilities c;
    constexpr std::uint64_t always = HWV_FEATURE_NEXT_RIP | HWV_FEATURE_VNMI;
    EXPECT_EQ(vmx::features(c), always);
    c.vpid = true;
    EXPECT_EQ(vmx::features(c), always | HWV_FEATURE_FLUSH_BY_ASID);
    c.facts.secondary.may = secondary::use_tsc_scaling;
    EXPECT_EQ(vmx::features(c), always | HWV_FEATURE_FLUSH_BY_ASID | HWV_FEATURE_TSC_SCALING);
    c.facts.secondary.may = secondary::pause_loop_exiting;
    EXPECT_EQ(vmx::features(c), always | HWV_FEATURE_FLUSH_BY_ASID | HWV_FEATURE_PAUSE_FILTER);
    c.timer = true;
    c.facts.secondary.may = 0;
    EXPECT_EQ(vmx::features(c), always | HWV_FEATURE_FLUSH_BY_ASID | HWV_FEATURE_CPU_TIMER);
    c = {.apicv = true};
    EXPECT_EQ(vmx::features(c), always | HWV_FEATURE_APICV);
    c = {.posted = true};
    EXPECT_EQ(vmx::features(c), always | HWV_FEATURE_POSTED_INTERRUPTS);
}

TEST_F(VmxCapabilities, ApicVirtualizationIsAllOfItsControlsOrNone) {
    capabilities();
    EXPECT_TRUE(read_capabilities().apicv);
    EXPECT_EQ(read_capabilities().secondary_controls() & apic_controls, 0u); // by state
    host.facts.apicv = 0;
    EXPECT_FALSE(read_capabilities().apicv);
    host.facts.apicv = 1;
    const std::uint32_t all = vmx.facts.secondary.may;
    for (const std::uint32_t control :
         {secondary::virtualize_x2apic_mode, secondary::apic_register_virtualization,
          secondary::virtual_interrupt_delivery}) {
        vmx.facts.secondary.may = all & ~control;
        capabilities();
        EXPECT_FALSE(read_capabilities().apicv) << control;
        EXPECT_EQ(read_capabilities().unusable, HWV_USABLE) << control;
    }
}

TEST_F(VmxCapabilities, InterruptsArePostedWhereAllThatTheyNeedIsThere) {
    const auto posts = [this] {
        capabilities();
        const Capabilities c = read_capabilities();
        const bool takes = c.exit_controls() & exit_control::acknowledge_interrupt_on_exit;
        EXPECT_EQ(c.posted, takes);
        EXPECT_EQ(c.pin_controls() & pin::posted_interrupts, 0u); // by state
        return c.posted;
    };
    EXPECT_TRUE(posts());
    host.facts.posted_vector = 0;
    EXPECT_FALSE(posts());
    host.facts.posted_vector = 0xf2;
    host.facts.apicv = 0;
    EXPECT_FALSE(posts());
    host.facts.apicv = 1;
    vmx.facts.pin.may &= ~pin::posted_interrupts;
    EXPECT_FALSE(posts());
    vmx.facts.pin.may |= pin::posted_interrupts;
    vmx.facts.exit.may &= ~exit_control::acknowledge_interrupt_on_exit;
    EXPECT_FALSE(posts());
}

TEST_F(VmxCapabilities, ATimerThatMiscountsOrIsNotWantedIsNotUsed) {
    capabilities();
    const auto timer = [] {
        const Capabilities c = read_capabilities();
        EXPECT_EQ(c.timer, (c.pin_controls() & pin::preemption_timer) != 0);
        return c.timer;
    };
    EXPECT_TRUE(timer());
    EXPECT_EQ(read_capabilities().timer_shift, 5u);
    for (const std::uint32_t signature : {0x20652u, 0x20655u, 0x306a8u}) {
        hardware.leaves[1].eax = signature;
        EXPECT_FALSE(timer()) << std::hex << signature;
    }
    hardware.leaves[1].eax = 0x306a9;
    EXPECT_TRUE(timer());
    host.facts.cpu_timer = 0;
    EXPECT_FALSE(timer());
    host.facts.cpu_timer = 1;
    vmx.facts.pin.may &= ~pin::preemption_timer;
    capabilities();
    EXPECT_FALSE(timer());
}

TEST_F(VmxCapabilities, ControlsThatGuestsAlwaysRunWith) {
    capabilities();
    const Capabilities c = read_capabilities();
    EXPECT_TRUE(c.facts.pin(c.pin_controls()) && c.facts.primary(c.primary_controls()));
    EXPECT_TRUE(c.facts.secondary(c.secondary_controls()));
    EXPECT_TRUE(c.facts.exit(c.exit_controls()) && c.facts.entry(c.entry_controls()));
    // Those are for states that ask for them.
    EXPECT_FALSE(c.primary_controls() &
                 (primary::interrupt_window_exiting | primary::nmi_window_exiting |
                  primary::cr3_load_exiting | primary::cr3_store_exiting));
    EXPECT_FALSE(c.entry_controls() & entry_control::ia32e_mode_guest);
    EXPECT_TRUE(c.exit_controls() & exit_control::load_perf_global_ctrl);
    EXPECT_TRUE(c.entry_controls() & entry_control::load_perf_global_ctrl);
}

TEST_F(VmxCapabilities, AnOldPerformanceMonitorNeedsNoRest) {
    hardware.leaves[10].eax = 4u << 8 | 1; // without PERF_GLOBAL_CTRL
    const Capabilities c = read_capabilities();
    EXPECT_FALSE(c.perf_global_ctrl || c.pebs);
    EXPECT_FALSE(c.exit_controls() & exit_control::load_perf_global_ctrl);
    EXPECT_FALSE(c.entry_controls() & entry_control::load_perf_global_ctrl);
}

TEST_F(VmxCapabilities, LeavesBeyondTheMaximumCountAsZero) {
    hardware.leaves[0].eax = 1; // what is above answers with all ones
    const Capabilities c = read_capabilities();
    EXPECT_FALSE(c.l1d_flush || c.perf_global_ctrl || c.facts.rtm || c.facts.sgx);
}

// ---- the MSR map ----

struct VmxMaps : VmxMachine {
    // 0: neither exits, 1: writes do, 2: reads do, 3: both.
    unsigned denied(std::uint32_t index) {
        const auto *map = reinterpret_cast<const std::uint8_t *>(Cpus::msr_map().pa());
        const std::uint32_t bit = msr_bit(index), write = bit + write_offset;
        return (map[bit / 8] >> bit % 8 & 1) << 1 | (map[write / 8] >> write % 8 & 1);
    }
    unsigned open_bits() {
        const auto *map = reinterpret_cast<const std::uint8_t *>(Cpus::msr_map().pa());
        unsigned n = 0;
        for (unsigned i = 0; i < 4096; i++)
            n += 8 - std::popcount(map[i]);
        return n;
    }
};

TEST_F(VmxMaps, OnlyWhatTheCpuSwitchesPasses) {
    power();
    for (std::uint32_t index :
         {0x174u, 0x175u, 0x176u, 0x277u, 0xc000'0100u, 0xc000'0101u, 0xc000'0102u})
        EXPECT_EQ(denied(index), 0u) << std::hex << index;
    EXPECT_EQ(denied(msr::tsc_aux), 1u);
    EXPECT_EQ(open_bits(), 7u * 2 + 1);
    for (std::uint32_t index : {0x10u, 0x1bu, 0x3au, 0x48u, 0x49u, 0x10bu, 0x1d9u, 0x38fu, 0x3f1u,
                                0x480u, 0xc000'0080u, 0xc000'0081u, 0xc000'0082u, 0xc000'0084u})
        EXPECT_EQ(denied(index), 3u) << std::hex << index;
}

TEST_F(VmxMaps, WithoutTscAuxNobodyReadsIt) {
    hardware.leaves[0x8000'0001].edx = 0;
    power();
    EXPECT_EQ(denied(msr::tsc_aux), 3u);
}

TEST_F(VmxMaps, BitsLieWhereTheManualPutsThem) {
    EXPECT_EQ(msr_bit(0), 0u);
    EXPECT_EQ(msr_bit(0x1fff), 0x1fffu);
    EXPECT_EQ(msr_bit(0xc000'0000), 1024u * 8);
    EXPECT_EQ(write_offset, 2048u * 8);
    for (std::uint32_t index : {0x2000u, 0x4b56'4d00u, 0xc000'2000u, 0xc001'0000u, 0xffff'ffffu})
        EXPECT_EQ(msr_bit(index), ~0u) << std::hex << index;
}

TEST_F(VmxMaps, EveryGuestHasTheMapAndNoPort) {
    power();
    Guest guest;
    guest.load(0);
    guest.run(ExitCode::hlt);
    EXPECT_EQ(guest[field::msr_bitmap], Cpus::msr_map().pa());
    EXPECT_TRUE(guest[field::primary_controls] & primary::unconditional_io_exiting);
    EXPECT_FALSE(guest[field::primary_controls] & primary::use_io_bitmaps);
    guest.put();
}

} // namespace
} // namespace hwv::vmx
