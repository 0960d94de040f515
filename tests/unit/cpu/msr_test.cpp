// SPDX-License-Identifier: GPL-2.0-only
// MSRs that hwv answers itself, and the rules for what goes to the backend, as tables.
#include <gtest/gtest.h>
#include "core/guest_state.hpp"
#include "cpu/fake_machine.hpp"
#include "cpu/msr.hpp"

namespace {

using namespace hwv::cpu;
using enum MsrResult;

class MsrTest : public testing::Test {
  protected:
    MsrTest() {
        fake::reset();
        set_cpuid(amd);
        apic.set_tsc(fake::Machine::tsc_khz, 0);
        apic.reset();
        msrs.reset({.microcode = 0x0a20'1025,
                    .arch_capabilities = 0x69,
                    .spec_ctrl = ~0ull,
                    .pred_cmd = ~0ull});
    }
    static constexpr hwv_cpuid_entry amd[] = {
        {.leaf = 0, .eax = 0xd},
        {.leaf = 1, .ecx = 1u << 21 | 1u << 24, .edx = ~0u},
        {.leaf = 7, .flags = HWV_CPUID_SUBLEAF, .ebx = 2},
        {.leaf = 0x8000'0000, .eax = 0x8000'0008},
        {.leaf = 0x8000'0001, .edx = 1u << 11 | 1u << 20 | 1u << 25 | 1u << 27 | 1u << 29},
        {.leaf = 0x8000'0008, .eax = 0x3028, .ebx = 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24},
    };
    template <unsigned N>
    void set_cpuid(const hwv_cpuid_entry (&entries)[N]) {
        ASSERT_TRUE(static_cast<bool>(cpuid.set(entries, N, 0)));
        apic.set_features({.tsc_deadline = cpuid.has(feature::tsc_deadline)}); // as a vCPU does
    }
    MsrResult wr(std::uint32_t index, std::uint64_t value) {
        effect = {};
        written = value;
        return msrs.write(index, written, context, effect);
    }
    MsrResult rd(std::uint32_t index) { return msrs.read(index, got, context); }
    std::uint64_t value_of(std::uint32_t index) {
        EXPECT_EQ(rd(index), done) << std::hex << index;
        return got;
    }

    LocalApic apic{0, nullptr};
    CpuidTable cpuid;
    PvState pv;
    MsrFile msrs{apic, cpuid, pv};
    MsrContext context;
    MsrEffect effect;
    std::uint64_t got = 0, written = 0;
};

TEST_F(MsrTest, values_and_write_rules) {
    constexpr std::uint64_t any = ~0ull;
    const struct {
        std::uint32_t index;
        std::uint64_t reset, write;
        MsrResult result;
        std::uint64_t after;
    } rows[] = {
        {0x8b, 0x0a20'1025, 5, done, 0x0a20'1025}, // dropped
        {0xfe, 0x508, 0x508, fault, 0x508},
        {0x179, 10, 10, fault, 10},
        {0x17a, 0, any, done, 7},
        {0x1a0, 0x1801, 0, done, 0x1800},
        {0x3a, 1, 5, fault, 1},
        {0x3a, 1, 1, done, 1},
        {0xc001'0000, 0, 0, done, 0},
        {0xc001'0004, 0, 0xabcd, fault, 0},
        {0xc001'0010, 0, any, done, 0},
        {0xc001'0015, 1u << 24, 1u << 18, done, 1u << 18},
        {0xc001'0114, 0x18, 0, fault, 0x18},
        {0xc001'1029, 2, 2, done, 2},
        {0xc001'1029, 2, 0x202, fault, 2},
    };
    for (const auto &row : rows) {
        EXPECT_EQ(value_of(row.index), row.reset) << std::hex << row.index;
        EXPECT_EQ(wr(row.index, row.write), row.result) << std::hex << row.index;
        EXPECT_EQ(value_of(row.index), row.after) << std::hex << row.index;
    }
    context.host = true;
    EXPECT_EQ(wr(0xc001'0114, 0x10), done);
    EXPECT_EQ(wr(0x8b, 7), done);
    context.host = false;
    EXPECT_EQ(value_of(0xc001'0114), 0x10u);
    EXPECT_EQ(value_of(0x8b), 7u);
}

TEST_F(MsrTest, write_only_and_absent) {
    EXPECT_EQ(rd(0x79), fault);
    EXPECT_EQ(wr(0x79, 0x1234), done);
    EXPECT_EQ(wr(0xc001'0020, 0x1234), done);
    EXPECT_EQ(rd(0xc001'0020), fault);
    EXPECT_EQ(rd(0x10a), fault) << "CPUID does not say ARCH_CAPABILITIES";
    for (std::uint32_t index : {0xc000'0104u, 0xc001'1020u, 0x12345u}) {
        EXPECT_EQ(rd(index), backend) << "nobody's here; the backend decides";
        EXPECT_EQ(wr(index, 0), backend);
    }
}

TEST_F(MsrTest, x2apic_range_is_the_apics) {
    EXPECT_EQ(rd(0x802), fault) << "xAPIC mode";
    EXPECT_EQ(value_of(msr::apic_base), 0xfee0'0900u);
    EXPECT_EQ(wr(msr::apic_base, 0xfee0'0d00), done);
    EXPECT_EQ(value_of(0x803), 0x5'0014u);
    EXPECT_EQ(wr(0x80f, 0x1ff), done);
    EXPECT_EQ(wr(0x83f, 0x61), done);
    EXPECT_EQ(effect.kind, MsrEffect::Kind::apic);
    EXPECT_EQ(effect.apic.kind, ApicEffect::Kind::ipi);
    EXPECT_EQ(effect.apic.message,
              (InterruptMessage{.shorthand = Shorthand::self, .vector = 0x61}));
    EXPECT_EQ(rd(0x8ff), fault);
    EXPECT_EQ(wr(0x8ff, 0), fault);
    EXPECT_EQ(rd(0x900), backend);
}

TEST_F(MsrTest, efer) {
    using namespace hwv;
    const struct {
        std::uint64_t old, value;
        bool paging;
        MsrResult result;
        std::uint64_t to_backend;
    } rows[] = {
        {0, efer::lme | efer::sce | efer::nxe, false, backend, efer::lme | efer::sce | efer::nxe},
        {0, efer::ffxsr, false, backend, efer::ffxsr},
        {0, efer::svme, false, fault, 0},
        {0, efer::lmsle, false, fault, 0},
        {0, efer::tce, false, fault, 0},
        {0, 1ull << 40, false, fault, 0},
        {efer::lme | efer::lma, efer::lma, true, fault, 0},
        {0, efer::lme, true, fault, 0},
        {efer::lme | efer::lma, efer::lme | efer::nxe, true, backend,
         efer::lme | efer::lma | efer::nxe},
        {efer::lme, efer::lme | efer::lma, false, backend, efer::lme},
    };
    for (const auto &row : rows) {
        context = {.efer = row.old, .paging = row.paging};
        EXPECT_EQ(wr(msr::efer, row.value), row.result) << std::hex << row.value;
        if (row.result == backend) {
            EXPECT_EQ(written, row.to_backend) << std::hex << row.value;
        }
    }
    context = {};
    static constexpr hwv_cpuid_entry nothing[] = {{.leaf = 0, .eax = 1}, {.leaf = 1}};
    set_cpuid(nothing);
    for (std::uint64_t bit : {efer::sce, efer::lme, efer::nxe, efer::ffxsr})
        EXPECT_EQ(wr(msr::efer, bit), fault) << bit;
}

TEST_F(MsrTest, what_the_backend_gets_is_checked) {
    constexpr std::uint64_t non_canonical = 0x8000'0000'0000;
    for (std::uint32_t index : {msr::fs_base, msr::gs_base, msr::kernel_gs_base, msr::lstar,
                                msr::cstar, msr::sysenter_esp, msr::sysenter_eip}) {
        EXPECT_EQ(wr(index, non_canonical), fault) << index;
        EXPECT_EQ(wr(index, non_canonical - 1), backend) << index;
        EXPECT_EQ(wr(index, ~0ull << 47), backend) << index;
    }
    EXPECT_EQ(wr(msr::star, ~0ull), backend);
    EXPECT_EQ(wr(msr::sfmask, 1ull << 32), fault);
    EXPECT_EQ(wr(msr::tsc_aux, 5), backend);
    EXPECT_EQ(wr(msr::tsc_aux, 1ull << 32), fault);
    EXPECT_EQ(wr(msr::pat, 0x0007'0406'0007'0406), backend);
    for (std::uint64_t bad : {2ull, 3ull, 8ull, 0x0200'0000'0000'0000ull, 0x0103ull})
        EXPECT_EQ(wr(msr::pat, bad), fault) << bad;
    EXPECT_EQ(rd(msr::efer), backend);
}

TEST_F(MsrTest, speculation_controls_follow_cpuid) {
    EXPECT_EQ(wr(msr::spec_ctrl, 7), backend);
    EXPECT_EQ(rd(msr::spec_ctrl), backend);
    EXPECT_EQ(wr(msr::spec_ctrl, 8), fault);
    EXPECT_EQ(wr(msr::spec_ctrl, 0x80), fault) << "PSFD is not in this CPUID";
    EXPECT_EQ(wr(msr::pred_cmd, 1), backend);
    EXPECT_EQ(wr(msr::pred_cmd, 0x80), fault);
    EXPECT_EQ(rd(msr::pred_cmd), fault);
    EXPECT_EQ(wr(msr::flush_cmd, 1), fault);
    static constexpr hwv_cpuid_entry intel[] = {
        {.leaf = 0, .eax = 7},
        {.leaf = 1, .edx = ~0u},
        {.leaf = 7, .flags = 1, .edx = 1u << 26 | 1u << 28 | 1u << 29 | 1u << 31}};
    set_cpuid(intel);
    EXPECT_EQ(wr(msr::spec_ctrl, 7), backend);
    EXPECT_EQ(wr(msr::flush_cmd, 1), backend);
    EXPECT_EQ(wr(msr::flush_cmd, 2), fault);
    EXPECT_EQ(value_of(msr::arch_capabilities), 0x69u);
    EXPECT_EQ(wr(msr::tsc_aux, 1), fault) << "neither RDTSCP nor RDPID";
    EXPECT_EQ(rd(msr::tsc_aux), fault);
    static constexpr hwv_cpuid_entry nothing[] = {{.leaf = 0, .eax = 1}, {.leaf = 1}};
    set_cpuid(nothing);
    EXPECT_EQ(wr(msr::spec_ctrl, 0), fault);
    EXPECT_EQ(rd(msr::spec_ctrl), fault);
    EXPECT_EQ(wr(msr::pred_cmd, 1), fault);
}

TEST_F(MsrTest, later_speculation_controls_follow_leaf_7_2) {
    static constexpr struct {
        unsigned bit;
        std::uint64_t value;
    } rules[] = {{0, 1u << 7}, {1, 3u << 3}, {2, 3u << 5}, {3, 1u << 8}, {4, 1u << 10}};
    for (const auto &rule : rules) {
        const hwv_cpuid_entry entries[] = {
            {.leaf = 0, .eax = 7},
            {.leaf = 7, .flags = HWV_CPUID_SUBLEAF, .eax = 2, .edx = 1u << 26},
            {.leaf = 7, .subleaf = 2, .flags = HWV_CPUID_SUBLEAF, .edx = 1u << rule.bit}};
        set_cpuid(entries);
        EXPECT_EQ(wr(msr::spec_ctrl, rule.value), backend) << rule.bit;
        EXPECT_EQ(wr(msr::spec_ctrl, 0x5f8 & ~rule.value), fault) << rule.bit;
    }
}

TEST_F(MsrTest, virt_spec_ctrl_is_ssbd_alone) {
    EXPECT_EQ(rd(msr::virt_spec_ctrl), fault);
    EXPECT_EQ(wr(msr::virt_spec_ctrl, 0), fault);
    static constexpr hwv_cpuid_entry entries[] = {{.leaf = 0x8000'0000, .eax = 0x8000'0008},
                                                  {.leaf = 0x8000'0008, .ebx = 1u << 25}};
    set_cpuid(entries);
    EXPECT_EQ(rd(msr::virt_spec_ctrl), backend);
    EXPECT_EQ(wr(msr::virt_spec_ctrl, 4), backend);
    EXPECT_EQ(wr(msr::virt_spec_ctrl, 6), fault);
}

TEST_F(MsrTest, the_hosts_limits_bind_whatever_cpuid_says) {
    CpuidTable offered;
    static constexpr hwv_cpuid_entry poor[] = {{.leaf = 0, .eax = 7},
                                               {.leaf = 0x8000'0008, .ebx = 1u << 12 | 1u << 14}};
    ASSERT_TRUE(static_cast<bool>(offered.set(poor, 2, 0)));
    const MsrFacts facts = msr_facts(offered);
    EXPECT_EQ(facts.spec_ctrl, 1u);
    EXPECT_EQ(facts.pred_cmd, 1u);
    msrs.reset(facts);
    EXPECT_EQ(wr(msr::spec_ctrl, 1), backend);
    EXPECT_EQ(wr(msr::spec_ctrl, 4), fault) << "SSBD, which only the guest's CPUID has";
    context.host = true;
    EXPECT_EQ(wr(msr::spec_ctrl, 4), fault);
    context.host = false;
    msrs.reset({});
    EXPECT_EQ(wr(msr::spec_ctrl, 0), fault);
    EXPECT_EQ(rd(msr::spec_ctrl), fault);
    EXPECT_EQ(wr(msr::pred_cmd, 1), fault);
}

TEST_F(MsrTest, mtrrs) {
    EXPECT_EQ(value_of(0x2ff), 0u);
    EXPECT_EQ(wr(0x2ff, 0xc06), done);
    for (std::uint64_t bad : {0xc02ull, 0x1000ull, 0x106ull, 1ull << 40})
        EXPECT_EQ(wr(0x2ff, bad), fault) << bad;
    EXPECT_EQ(value_of(0x2ff), 0xc06u);
    const std::uint32_t fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                   0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    for (std::uint32_t index : fixed)
        EXPECT_EQ(wr(index, 0x0606'0606'0606'0600 | (index & 1 ? 5 : 4)), done);
    for (std::uint32_t index : fixed)
        EXPECT_EQ(value_of(index) & 0xff, index & 1 ? 5u : 4u) << index;
    EXPECT_EQ(wr(0x250, 0x07), fault) << "UC- is PAT's alone";
    for (std::uint32_t index = 0x200; index < 0x210; index += 2) {
        EXPECT_EQ(wr(index, 0xc000'0000 | index << 12 | 6), done);
        EXPECT_EQ(wr(index + 1, 0xff'c000'0800), done);
    }
    for (std::uint32_t index = 0x200; index < 0x210; index += 2)
        EXPECT_EQ(value_of(index), 0xc000'0000 | index << 12 | 6);
    EXPECT_EQ(wr(0x200, 0x106), fault);
    EXPECT_EQ(wr(0x200, 1ull << 40 | 6), fault) << "40 physical address bits";
    EXPECT_EQ(wr(0x201, 1ull << 40 | 0x800), fault);
    EXPECT_EQ(wr(0x201, 1), fault);
    EXPECT_EQ(rd(0x210), backend);
    EXPECT_EQ(rd(0x251), backend);
    EXPECT_EQ(rd(0x270), backend);
}

TEST_F(MsrTest, machine_check_banks) {
    for (std::uint32_t index = 0x400; index < 0x400 + 4 * MsrFile::mc_banks; ++index) {
        EXPECT_EQ(value_of(index), 0u);
        EXPECT_EQ(wr(index, 0), done);
        EXPECT_EQ(wr(index, ~0ull), index % 4 ? fault : done) << index;
    }
    EXPECT_EQ(wr(msr::hwcr, 1u << 18), done);
    EXPECT_EQ(wr(0x401, 5), done) << "McStatusWrEn";
    EXPECT_EQ(value_of(0x401), 5u);
    EXPECT_EQ(rd(0x400 + 4 * MsrFile::mc_banks), backend);
}

TEST_F(MsrTest, tsc_and_its_adjustment) {
    const std::uint64_t now = value_of(msr::tsc);
    EXPECT_EQ(wr(msr::tsc, now + 1000), done);
    EXPECT_EQ(effect.kind, MsrEffect::Kind::tsc);
    EXPECT_EQ(msrs.tsc_offset(), 1000u);
    EXPECT_EQ(value_of(msr::tsc_adjust), 1000u);
    EXPECT_EQ(wr(msr::tsc_adjust, 400), done);
    EXPECT_EQ(value_of(msr::tsc), now + 400);
    context.host = true;
    EXPECT_EQ(wr(msr::tsc_adjust, 0), done);
    EXPECT_EQ(value_of(msr::tsc), now + 400) << "restoring one does not move the other";
    EXPECT_EQ(wr(msr::tsc, 5), done);
    EXPECT_EQ(value_of(msr::tsc), 5u);
    EXPECT_EQ(value_of(msr::tsc_adjust), 0u);
}

TEST_F(MsrTest, deadline_only_with_its_cpuid_bit) {
    EXPECT_EQ(wr(msr::tsc_deadline, 5), done);
    EXPECT_EQ(value_of(msr::tsc_deadline), 0u) << "not in deadline mode";
    static constexpr hwv_cpuid_entry nothing[] = {{.leaf = 0, .eax = 1}, {.leaf = 1}};
    set_cpuid(nothing);
    EXPECT_EQ(wr(msr::tsc_deadline, 5), fault);
    EXPECT_EQ(rd(msr::tsc_deadline), fault);
    EXPECT_EQ(rd(msr::tsc_adjust), fault);
    EXPECT_EQ(wr(msr::tsc_adjust, 0), fault);
}

TEST_F(MsrTest, paravirtual_records) {
    using Kind = MsrEffect::Kind;
    const struct {
        std::uint32_t index;
        std::uint64_t value;
        MsrResult result;
        Kind kind;
    } rows[] = {
        {0x11, 0x5000, done, Kind::wall_clock},
        {0x4b56'4d00, 0x6000, done, Kind::wall_clock},
        {0x12, 0x7001, done, Kind::system_time},
        {0x4b56'4d01, 0x8001, done, Kind::system_time},
        {0x4b56'4d03, 0x9041, done, Kind::steal_time},
        {0x4b56'4d03, 0x9003, fault, Kind::none},
        {0x4b56'4d04, 0xa005, done, Kind::pv_eoi},
        {0x4b56'4d04, 0xa003, fault, Kind::none},
    };
    for (const auto &row : rows) {
        EXPECT_EQ(wr(row.index, row.value), row.result) << std::hex << row.index;
        EXPECT_EQ(effect.kind, row.kind);
        if (row.result == done) {
            EXPECT_EQ(effect.gpa, row.value & ~1ull);
            EXPECT_EQ(value_of(row.index), row.value);
        }
    }
    EXPECT_EQ(pv.system_time, 0x8001u);
    EXPECT_EQ(pv.steal_time, 0x9041u);
    EXPECT_EQ(pv.eoi, 0xa005u);
    for (std::uint32_t index : {0x4b56'4d02u, 0x4b56'4d05u, 0x4b56'4d06u, 0x4000'0000u})
        EXPECT_EQ(rd(index), backend);
}

// All that Debian's 6.1 and 6.12 kernels touch without a fixup on the CPUs that the beds have.
TEST_F(MsrTest, nothing_that_linux_reads_unasked_faults) {
    for (std::uint32_t index :
         {0x10u,        0x1bu,        0x3bu,        0x8bu,        0xfeu,
          0x179u,       0x17au,       0x1a0u,       0x1d9u,       0x200u,
          0x20fu,       0x250u,       0x26fu,       0x2ffu,       0x400u,
          0x427u,       0xc001'0010u, 0xc001'0015u, 0xc001'001au, 0xc001'001du,
          0xc001'001fu, 0xc001'0055u, 0xc001'0058u, 0xc001'0112u, 0xc001'1029u})
        EXPECT_EQ(rd(index), done) << std::hex << index;
}

TEST_F(MsrTest, a_scaled_tsc_is_read_and_written_as_the_guest_sees_it) {
    msrs.set_tsc_ratio(tsc_as_host / 2);
    fake::machine().ns = 1'000'000; // 2,000,000 ticks of the host
    EXPECT_EQ(value_of(msr::tsc), 1'000'000u);
    EXPECT_EQ(wr(msr::tsc, 5'000'000), done);
    EXPECT_EQ(value_of(msr::tsc), 5'000'000u);
    EXPECT_EQ(msrs.guest_tsc(2'000'100), 5'000'050u);
}

} // namespace
