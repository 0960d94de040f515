// SPDX-License-Identifier: GPL-2.0-only
// Registers as the core sees them, and the checker.
#include "svm/machine.hpp"

namespace hwv::svm {
namespace {

struct SvmState : SvmMachine {
    void SetUp() override {
        SvmMachine::SetUp();
        features(extra);
        power();
        guest.emplace();
        guest->load(0);
        guest->run(ExitCode::intr); // from here on a clean bit over a changed field is seen
    }
    void TearDown() override {
        guest->run(ExitCode::intr);
        guest->backend.put();
        guest.reset();
        SvmMachine::TearDown();
    }
    Backend &backend() { return guest->backend; }
    std::optional<Guest> guest;
    std::uint32_t extra = 0;
};

TEST_F(SvmState, AfterReset) {
    Backend &b = backend();
    b.reset();
    EXPECT_EQ(b.cr0(), 0x6000'0010u);
    EXPECT_EQ(b.cr2() | b.cr3() | b.cr4() | b.efer(), 0u);
    EXPECT_EQ(b.rip(), 0xfff0u);
    EXPECT_EQ(b.rflags(), 2u);
    EXPECT_EQ(b.debug(6), 0xffff'0ff0u);
    EXPECT_EQ(b.debug(7), 0x400u);
    EXPECT_EQ(b.segment(HWV_CS).base, 0xffff'0000u);
    EXPECT_EQ(b.segment(HWV_CS).selector, 0xf000);
    EXPECT_EQ(b.segment(HWV_CS).attributes, 0x9b);
    EXPECT_EQ(b.segment(HWV_DS).attributes, 0x93);
    EXPECT_EQ(b.segment(HWV_LDTR).attributes, 0x82);
    EXPECT_EQ(b.segment(HWV_TR).attributes, 0x83);
    EXPECT_EQ(b.gdtr().limit, 0xffffu);
    EXPECT_EQ(b.cpl(), 0u);
    EXPECT_EQ(b.msr(msr::pat), 0x0007'0406'0007'0406u);
}

TEST_F(SvmState, CachesStayOnWhateverCr0Says) {
    backend().set_cr0(cr0::pe | cr0::cd | cr0::nw);
    EXPECT_EQ(guest->save().cr0, cr0::pe | cr0::et);
    EXPECT_EQ(backend().cr0(), cr0::pe | cr0::et | cr0::cd | cr0::nw);
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_read + 0));
    backend().set_cr0(cr0::pe);
    EXPECT_FALSE(guest->intercepts(ExitCode::cr_read + 0));
    EXPECT_TRUE(guest->intercepts(ExitCode::cr0_sel_write));
}

TEST_F(SvmState, TsAndMpAreTheGuestsToChange) {
    backend().set_cr0(cr0::pe | cr0::ts | cr0::cd);
    guest->run(ExitCode::intr,
               [](Vmcb &v) { v.save.cr0 = (v.save.cr0 & ~cr0::ts) | cr0::mp; }); // CLTS, MOV
    EXPECT_EQ(backend().cr0(), cr0::pe | cr0::et | cr0::mp | cr0::cd);
}

TEST_F(SvmState, MachineChecksStayOnWhateverCr4Says) {
    backend().set_cr4(cr4::pae);
    EXPECT_EQ(backend().cr4(), cr4::pae);
    EXPECT_EQ(guest->save().cr4, cr4::pae | cr4::mce);
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_read + 4));
    EXPECT_TRUE(guest->intercepts(ExitCode::cr_write + 4));
    backend().set_cr4(cr4::pae | cr4::mce);
    EXPECT_FALSE(guest->intercepts(ExitCode::cr_read + 4));
}

TEST_F(SvmState, SvmeIsSetAndHidden) {
    backend().set_efer(efer::lme | efer::sce);
    EXPECT_EQ(backend().efer(), efer::lme | efer::sce);
    EXPECT_EQ(guest->save().efer, efer::lme | efer::sce | efer::svme);
}

TEST_F(SvmState, EveryChangeDirtiesItsGroup) { // the fake hardware compares at each entry
    Backend &b = backend();
    const auto changes = {
        +[](Backend &x) { x.set_cr0(cr0::pe | cr0::wp); },
        +[](Backend &x) { x.set_cr2(0x1234); },
        +[](Backend &x) { x.set_cr3(0x5000); },
        +[](Backend &x) { x.set_cr4(cr4::pse); },
        +[](Backend &x) { x.set_efer(efer::nxe); },
        +[](Backend &x) { x.set_tpr(7); },
        +[](Backend &x) {
            x.set_gdtr({0x1000, 0x7f, 0});
        },
        +[](Backend &x) {
            x.set_idtr({0x2000, 0xfff, 0});
        },
        +[](Backend &x) { x.set_debug(6, 0xffff'0ff1); },
        +[](Backend &x) { x.set_debug(7, 0x402); },
        +[](Backend &x) { x.grant_debug(); },
        +[](Backend &x) { (void)x.set_msr(msr::pat, 0); },
        +[](Backend &x) { x.set_table_root(0x9000); },
        +[](Backend &x) { x.set_tsc_offset(99); },
        +[](Backend &x) { x.flush_translations(); },
        +[](Backend &x) { x.want_interrupt_window(true, 16); },
        +[](Backend &x) { x.want_interrupt_window(false, 0); },
        +[](Backend &x) { x.set_nmi_blocked(true); },
        +[](Backend &x) { x.reset(); },
    };
    for (const auto change : changes) {
        change(b);
        guest->run(ExitCode::intr);
    }
    for (unsigned i = 0; i < HWV_SEGMENTS; i++) {
        b.set_segment(i, {0x1000u * i, 0xffff, static_cast<std::uint16_t>(8 * i), 0x93});
        guest->run(ExitCode::intr);
    }
}

TEST_F(SvmState, NothingChangedIsNothingDirty) {
    Backend &b = backend();
    b.set_tpr(b.tpr());
    b.want_interrupt_window(false, 0);
    b.inject(exception(6));
    b.set_rip(0x1234);
    b.set_rflags(0x202);
    EXPECT_EQ(guest->control().clean, clean::all);
}

TEST_F(SvmState, SegmentsRoundTrip) {
    for (unsigned i = 0; i < HWV_SEGMENTS; i++) {
        const std::uint16_t type = i == HWV_TR ? 0x8b : 0x93;
        const Segment flat{0x1234'5678'9000, 0xffff'ffff, 0x33,
                           static_cast<std::uint16_t>(type | segment::g | segment::avl)};
        backend().set_segment(i, flat);
        const Segment back = backend().segment(i);
        EXPECT_EQ(back.base, flat.base) << i;
        EXPECT_EQ(back.limit, flat.limit) << i;
        EXPECT_EQ(back.selector, flat.selector) << i;
        EXPECT_EQ(back.attributes, flat.attributes) << i;
    }
    EXPECT_EQ(&guest->save().fs - &guest->save().es, 4);
    backend().set_segment(HWV_FS, {0xf5, 0, 0, 0x93});
    backend().set_segment(HWV_GS, {0x65, 0, 0, 0x93});
    EXPECT_EQ(guest->save().fs.base, 0xf5u);
    EXPECT_EQ(guest->save().gs.base, 0x65u);
}

TEST_F(SvmState, UnusableIsNotPresent) {
    backend().set_segment(HWV_DS, {0, 0, 0, segment::unusable | 0x93});
    EXPECT_FALSE(guest->save().ds.attributes & segment::present);
    EXPECT_TRUE(backend().segment(HWV_DS).attributes & segment::unusable);
}

TEST_F(SvmState, PrivilegeFollowsTheStackSegmentAndBack) {
    backend().set_segment(HWV_SS, {0, 0xffff'ffff, 0x2b, 0xcf3});
    EXPECT_EQ(backend().cpl(), 3u);
    guest->run(ExitCode::intr, [](Vmcb &v) { v.save.cpl = 0; }); // SYSCALL
    EXPECT_EQ(backend().segment(HWV_SS).attributes >> segment::dpl_shift & 3, 0u);
}

TEST_F(SvmState, SwitchedMsrsAreReadAndWritten) {
    const std::uint32_t switched[] = {0x174,       0x175,       0x176,       0x277,
                                      0xc000'0081, 0xc000'0082, 0xc000'0083, 0xc000'0084,
                                      0xc000'0100, 0xc000'0101, 0xc000'0102, 0xc000'0103};
    std::uint64_t value = 0x1000;
    for (std::uint32_t index : switched)
        ASSERT_TRUE(backend().set_msr(index, value++)) << std::hex << index;
    value = 0x1000;
    for (std::uint32_t index : switched)
        EXPECT_EQ(backend().msr(index), value++) << std::hex << index;
    EXPECT_EQ(guest->save().star, 0x1004u);
    EXPECT_EQ(guest->save().kernel_gs_base, 0x100au);
    for (std::uint32_t index : {0x48u, 0x1d9u, 0xc000'0080u, 0xc001'0114u}) {
        EXPECT_FALSE(backend().set_msr(index, 1)) << std::hex << index;
        EXPECT_FALSE(backend().msr(index)) << std::hex << index;
    }
    backend().set_msr(msr::pat, 0x0007'0406'0007'0406);
}

TEST_F(SvmState, ABarrierIsIssuedAndNotKept) {
    hardware.msr_writes.clear();
    EXPECT_TRUE(backend().set_msr(msr::pred_cmd, pred_cmd::ibpb));
    EXPECT_EQ(hardware.writes_of(msr::pred_cmd), 1u);
    EXPECT_FALSE(backend().msr(msr::pred_cmd));
    hardware.here().msrs.erase(msr::pred_cmd);
    EXPECT_FALSE(backend().set_msr(msr::pred_cmd, pred_cmd::ibpb)) << "a CPU without it";
}

TEST_F(SvmState, TheHostsMsrsAreNotTouched) {
    hardware.msr_writes.clear();
    for (int i = 0; i < 5; i++)
        guest->run(ExitCode::intr);
    EXPECT_TRUE(hardware.msr_writes.empty());
}

// ---- the checker ----

struct Broken {
    Rule rule;
    void (*spoil)(Vmcb &);
};

const Broken broken[] = {
    {Rule::efer_svme_clear, [](Vmcb &v) { v.save.efer &= ~efer::svme; }},
    {Rule::cr0_nw_without_cd, [](Vmcb &v) { v.save.cr0 |= cr0::nw; }},
    {Rule::cr0_high_bits, [](Vmcb &v) { v.save.cr0 |= 1ull << 32; }},
    {Rule::cr3_reserved_bits, [](Vmcb &v) { v.save.cr3 |= 1ull << 52; }},
    {Rule::cr4_reserved_bits, [](Vmcb &v) { v.save.cr4 |= 1ull << 31; }},
    {Rule::dr6_high_bits, [](Vmcb &v) { v.save.dr6 |= 1ull << 32; }},
    {Rule::dr7_high_bits, [](Vmcb &v) { v.save.dr7 |= 1ull << 63; }},
    {Rule::efer_reserved_bits, [](Vmcb &v) { v.save.efer |= 1ull << 40; }},
    {Rule::long_mode_without_pae, [](Vmcb &v) { v.save.cr4 &= ~cr4::pae; }},
    {Rule::long_mode_without_protection, [](Vmcb &v) { v.save.cr0 &= ~cr0::pe; }},
    {Rule::long_mode_cs_l_and_d, [](Vmcb &v) { v.save.cs.attributes |= segment::db; }},
    {Rule::vmrun_not_intercepted,
     [](Vmcb &v) { v.control.intercepts.set(ExitCode::vmrun, false); }},
    {Rule::map_address, [](Vmcb &v) { v.control.msr_map |= 1ull << 52; }},
    {Rule::map_address, [](Vmcb &v) { v.control.io_map |= 8; }},
    {Rule::asid_zero, [](Vmcb &v) { v.control.asid = 0; }},
    {Rule::event_type, [](Vmcb &v) { v.control.event_inj = 1u << 31 | 1u << 8; }},
    {Rule::event_type, [](Vmcb &v) { v.control.event_inj = 1u << 31 | 5u << 8; }},
    {Rule::event_vector, [](Vmcb &v) { v.control.event_inj = 1u << 31 | 3u << 8 | 2; }},
    {Rule::event_vector, [](Vmcb &v) { v.control.event_inj = 1u << 31 | 3u << 8 | 32; }},
    {Rule::nested_cr3_address, [](Vmcb &v) { v.control.nested_cr3 = 1ull << 52; }},
    {Rule::pat_type, [](Vmcb &v) { v.save.g_pat = 0x02; }},
    {Rule::pat_type, [](Vmcb &v) { v.save.g_pat = 0x08ull << 56; }},
    {Rule::nested_paging_off, [](Vmcb &v) { v.control.nested_ctl = 0; }},
    {Rule::interrupts_not_masked, [](Vmcb &v) { v.control.int_ctl = 0; }},
    {Rule::machine_check_off, [](Vmcb &v) { v.save.cr4 &= ~cr4::mce; }},
};

constexpr std::uint64_t bits48 = (1ull << 48) - 1;

Vmcb long_mode_vmcb() {
    Vmcb v{};
    v.control.intercepts = required_intercepts();
    v.control.nested_ctl = 1;
    v.control.int_ctl = int_ctl::v_intr_masking;
    v.control.asid = 1;
    v.save.efer = efer::svme | efer::lme | efer::lma;
    v.save.cr0 = cr0::pe | cr0::pg;
    v.save.cr4 = cr4::pae | cr4::mce;
    v.save.cs.attributes = 0x9b | segment::l;
    v.save.dr6 = 0xffff'0ff0;
    v.save.dr7 = 0x400;
    v.save.g_pat = 0x0007'0406'0007'0406;
    return v;
}

TEST(SvmChecker, NamesTheRuleThatIsBroken) {
    EXPECT_EQ(check(long_mode_vmcb(), bits48), Rule::none);
    for (const Broken &b : broken) {
        Vmcb v = long_mode_vmcb();
        b.spoil(v);
        EXPECT_EQ(check(v, bits48), b.rule) << &b - broken;
    }
}

TEST(SvmChecker, EachRequiredInterceptIsMissed) {
    // HAZARDS: SVM's own instructions, #DB #AC #MC, events of the host, its ports, MSRs, power
    // states
    const std::uint32_t codes[] = {0x41, 0x51, 0x52, 0x60, 0x61, 0x62, 0x63, 0x6f, 0x72,
                                   0x73, 0x76, 0x78, 0x7a, 0x7b, 0x7c, 0x7e, 0x7f, 0x81,
                                   0x82, 0x83, 0x84, 0x85, 0x86, 0x89, 0x8a, 0x8b, 0x8c,
                                   0x8d, 0x8e, 0xa0, 0xa1, 0xa3, 0xa4};
    for (std::uint32_t code : codes) {
        Vmcb v = long_mode_vmcb();
        ASSERT_TRUE(v.control.intercepts.has(static_cast<ExitCode>(code))) << std::hex << code;
        v.control.intercepts.set(static_cast<ExitCode>(code), false);
        EXPECT_EQ(check(v, bits48), Rule::intercept_missing) << std::hex << code;
    }
    unsigned required = 0;
    for (std::uint32_t word : required_intercepts().words)
        required += __builtin_popcount(word);
    EXPECT_EQ(required, std::size(codes) + 1); // and VMRUN, which has a rule of its own
}

TEST(SvmChecker, LegalStatesPass) {
    Vmcb v = long_mode_vmcb();
    v.save.cr3 = bits48 & ~0xfffull;
    v.control.event_inj = 1u << 31 | 3u << 8 | 14;
    EXPECT_EQ(check(v, bits48), Rule::none);
    v.control.event_inj = 1u << 31 | 0xff; // an interrupt has any vector
    EXPECT_EQ(check(v, bits48), Rule::none);
    v.control.event_inj = 3u << 8 | 99; // not valid: not looked at
    EXPECT_EQ(check(v, bits48), Rule::none);
    v.save.cr0 |= cr0::nw | cr0::cd;
    EXPECT_EQ(check(v, bits48), Rule::none);
    v.save.efer = efer::svme | efer::lme; // long mode not active yet: its rules do not hold
    v.save.cr0 = cr0::pe;
    v.save.cr4 = cr4::mce;
    EXPECT_EQ(check(v, bits48), Rule::none);
}

TEST_F(SvmState, EveryGuestAfterResetPassesTheChecker) {
    backend().reset();
    EXPECT_EQ(check(backend().vmcb(), bits48), Rule::none);
}

} // namespace
} // namespace hwv::svm
