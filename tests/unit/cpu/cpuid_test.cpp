// SPDX-License-Identifier: GPL-2.0-only
// The default CPUID table for made-up hosts, and what a vCPU answers from its table.
#include <gtest/gtest.h>
#include <cstring>
#include <map>
#include <string>
#include <vector>
#include "cpu/cpuid.hpp"
#include "core/guest_state.hpp"

namespace {

using namespace hwv::cpu;
using Key = std::pair<std::uint32_t, std::uint32_t>;

std::map<Key, CpuidResult> host;

void read_host(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t (&out)[4]) {
    CpuidResult r;
    if (auto it = host.find({leaf, subleaf}); it != host.end()) r = it->second;
    out[0] = r.eax, out[1] = r.ebx, out[2] = r.ecx, out[3] = r.edx;
}

CpuidResult name(std::uint32_t max, const char *vendor) {
    CpuidResult r{max};
    std::memcpy(&r.ebx, vendor, 4);
    std::memcpy(&r.edx, vendor + 4, 4);
    std::memcpy(&r.ecx, vendor + 8, 4);
    return r;
}

// Every feature bit set: what is left over is what hwv lets through.
void generous_host(const char *vendor) {
    host.clear();
    host[{0, 0}] = name(0x20, vendor);
    host[{1, 0}] = {0x00a2'0f12, 0x1234'0800, ~0u, ~0u};
    host[{4, 0}] = {0xfc00'c121, 0x01c0'003f, 63, 0};
    host[{4, 1}] = {0xfc00'c163, 0x03c0'003f, 0x7fff, 6};
    host[{7, 0}] = {1, ~0u, ~0u, ~0u};
    host[{7, 1}] = {~0u, ~0u, ~0u, ~0u};
    host[{0xa, 0}] = {~0u, ~0u, ~0u, ~0u};
    host[{0xd, 0}] = {0x2e7, 0x988, 0x988, 0};
    host[{0xd, 1}] = {0x1f, 0x988, 0x1800, 0};
    host[{0xd, 2}] = {256, 576, 0, 0};
    host[{0xd, 5}] = {64, 1088, 0, 0};
    host[{0xd, 6}] = {512, 1152, 2, 0};
    host[{0xd, 7}] = {1024, 1664, 2, 0};
    host[{0xd, 9}] = {8, 2688, 0, 0};
    host[{0x15, 0}] = {2, 200, 24'000'000, 0};
    host[{0x16, 0}] = {2400, 4000, 100, 0};
    host[{0x8000'0000, 0}] = name(0x8000'0028, vendor);
    host[{0x8000'0001, 0}] = {0x00a2'0f12, 0, ~0u, ~0u};
    host[{0x8000'0007, 0}] = {~0u, ~0u, ~0u, ~0u};
    host[{0x8000'0008, 0}] = {0x3934, ~0u, 0x703f, 0};
    host[{0x8000'000a, 0}] = {1, 0x8000, 0, ~0u};
    host[{0x8000'001d, 0}] = {0x4121, 0x01c0'003f, 63, 0};
    host[{0x8000'001d, 1}] = {0x4163, 0x03c0'003f, 0x7fff, 1};
    host[{0x8000'001e, 0}] = {5, 0x102, 0x100, 0};
    host[{0x8000'001f, 0}] = {~0u, ~0u, ~0u, ~0u};
    host[{0x8000'0021, 0}] = {~0u, ~0u, ~0u, ~0u};
}

class CpuidTest : public testing::Test {
  protected:
    CpuidTest() { generous_host("AuthenticAMD"); }

    // The default table with `cores` asked for, as vCPU `id` has it.
    void build(std::uint32_t cores = 1, std::uint32_t id = 0) {
        entries.resize(HWV_MAX_CPUID);
        std::uint32_t count = HWV_MAX_CPUID;
        ASSERT_TRUE(static_cast<bool>(supported_cpuid(facts, entries.data(), count)));
        entries.resize(count);
        for (auto &e : entries)
            if (e.leaf == 1) e.ebx = (e.ebx & ~0xff'0000u) | cores << 16;
        ASSERT_TRUE(static_cast<bool>(table.set(entries.data(), count, id)));
    }
    CpuidResult at(std::uint32_t leaf, std::uint32_t subleaf = 0) const {
        return table.lookup(leaf, subleaf, [&] { return state; });
    }

    CpuidFacts facts{read_host, 0xe7, 48, 2'400'000, true};
    CpuidState state{7, false, true};
    std::vector<hwv_cpuid_entry> entries;
    CpuidTable table;
};

TEST_F(CpuidTest, what_hwv_does_not_offer_is_gone) {
    build();
    const struct {
        std::uint32_t leaf, subleaf;
        unsigned reg;
        std::uint32_t bits;
        const char *what;
    } absent[] = {
        {1, 0, 2, 1u << 5, "VMX"},
        {1, 0, 2, 1u << 3, "MONITOR"},
        {1, 0, 2, 1u << 6, "SMX"},
        {1, 0, 2, 1u << 15, "PDCM"},
        {1, 0, 3, 1u << 21, "DS"},
        {1, 0, 3, 1u << 22, "ACPI"},
        {7, 0, 1, 1u << 2, "SGX"},
        {7, 0, 1, 1u << 14, "MPX"},
        {7, 0, 1, 1u << 25, "PT"},
        {7, 0, 2, 3u << 3, "PKU"},
        {7, 0, 2, 1u << 5, "WAITPKG"},
        {7, 0, 2, 1u << 7, "CET SS"},
        {7, 0, 2, 1u << 16, "LA57"},
        {7, 0, 3, 1u << 20, "CET IBT"},
        {7, 0, 3, 7u << 24 & ~(3u << 26), "AMX"},
        {7, 0, 3, 1u << 22, "AMX BF16"},
        {7, 1, 0, 1u << 26, "LAM"},
        {0xd, 1, 0, 3u << 3, "XSAVES, XFD"},
        {0xa, 0, 0, ~0u, "PMU"},
        {0x8000'0001, 0, 2, 1u << 2, "SVM"},
        {0x8000'0001, 0, 2, 1u << 29, "MWAITX"},
        {0x8000'0001, 0, 2, 1u << 10, "IBS"},
        {0x8000'0001, 0, 2, 1u << 23, "PMC"},
        {0x8000'0008, 0, 1, 1u << 4, "RDPRU"},
        {0x8000'0008, 0, 1, 1u << 3, "INVLPGB"},
        {0x8000'000a, 0, 3, ~0u, "SVM features"},
        {0x8000'001f, 0, 0, ~0u, "SEV"},
        {0x8000'0021, 0, 0, 1u << 8, "AutoIBRS"},
    };
    for (const auto &a : absent) {
        const CpuidResult r = at(a.leaf, a.subleaf);
        const std::uint32_t regs[] = {r.eax, r.ebx, r.ecx, r.edx};
        EXPECT_EQ(regs[a.reg] & a.bits, 0u) << a.what;
    }
}

TEST_F(CpuidTest, what_hwv_adds_is_there_on_a_poor_host) {
    host.clear();
    host[{0, 0}] = name(1, "GenuineIntel");
    facts.xcr0_guest = 0;
    build();
    EXPECT_TRUE(table.has(feature::x2apic) && table.has(feature::tsc_deadline) &&
                table.has(feature::apic));
    EXPECT_TRUE(at(1).ecx >> 31) << "hypervisor bit";
    EXPECT_FALSE(table.has(feature::xsave));
    EXPECT_EQ(at(0).eax, 0xdu);
    EXPECT_EQ(at(6).eax, 4u) << "ARAT";
    EXPECT_EQ(at(0xd), CpuidResult{});
    EXPECT_TRUE(table.has(feature::tsc_adjust));
}

TEST_F(CpuidTest, avx_goes_with_its_state) {
    facts.xcr0_guest = 3;
    build();
    EXPECT_TRUE(table.has(feature::xsave));
    EXPECT_FALSE(table.has({1, 0, 2, 28}) || table.has({1, 0, 2, 12}) || table.has({7, 0, 1, 5}) ||
                 table.has({7, 0, 1, 16}));
    EXPECT_EQ(at(0xd).ecx, 576u);
    facts.xcr0_guest = 7;
    build();
    EXPECT_TRUE(table.has({1, 0, 2, 28}) && table.has({7, 0, 1, 5}));
    EXPECT_FALSE(table.has({7, 0, 1, 16})) << "AVX-512F";
    facts.xcr0_guest = 0xe7;
    build();
    EXPECT_TRUE(table.has({7, 0, 1, 16}));
}

TEST_F(CpuidTest, arch_capabilities_are_hwvs_own_on_intel) {
    for (const char *maker : {"AuthenticAMD", "GenuineIntel"}) {
        generous_host(maker);
        host[{7, 0}].edx = 0;
        build();
        EXPECT_EQ(table.has(feature::arch_capabilities), std::string{maker} == "GenuineIntel");
    }
}

TEST_F(CpuidTest, the_kernel_knows_more_of_the_cpu_than_its_leaves_say) {
    host[{0x8000'0000, 0}] = name(0x8000'0008, "AuthenticAMD");
    host[{0x8000'0008, 0}].ebx = 0;
    host.erase({0x8000'0021, 0});
    build();
    EXPECT_EQ(at(0x8000'0000).eax, 0x8000'0008u);
    facts.ext8_ebx = 3u << 25;
    facts.ext21_eax = 1u << 5;
    facts.ext21_ecx = 3u << 1;
    build();
    EXPECT_EQ(at(0x8000'0000).eax, 0x8000'0021u);
    EXPECT_EQ(at(0x8000'0008).ebx, 3u << 25);
    EXPECT_EQ(at(0x8000'0021).eax, 1u << 5);
    EXPECT_EQ(at(0x8000'0021).ecx, 3u << 1);
}

TEST_F(CpuidTest, leaf_7_ends_where_hwv_knows_it) {
    for (const std::uint32_t last : {0u, 1u, 2u, 3u}) {
        host[{7, 0}].eax = last;
        host[{7, 2}] = {~0u, ~0u, ~0u, last < 2 ? 0 : ~0u};
        build();
        EXPECT_EQ(at(7, 0).eax, last < 1 ? 1 : last > 2 ? 2 : last);
        EXPECT_EQ(at(7, 2), (CpuidResult{0, 0, 0, last < 2 ? 0u : 0x3fu}));
    }
    facts.spec_ctrl = false;
    build();
    EXPECT_EQ(at(7, 2).edx, 0x20u) << "MCDT_NO controls nothing";
}

TEST_F(CpuidTest, speculation_controls_go_with_spec_ctrl) {
    facts.spec_ctrl = false;
    build();
    EXPECT_FALSE(table.has(feature::spec_ctrl) || table.has(feature::amd_ibrs) ||
                 table.has(feature::amd_ssbd));
    EXPECT_TRUE(table.has(feature::amd_ibpb)) << "PRED_CMD needs no switching";
    facts.spec_ctrl = true;
    build();
    EXPECT_TRUE(table.has(feature::spec_ctrl) && table.has(feature::amd_ibrs) &&
                table.has(feature::amd_ssbd));
}

TEST_F(CpuidTest, xsave_sizes_follow_xcr0) {
    build();
    EXPECT_EQ(at(0xd).eax, 0xe7u);
    EXPECT_EQ(at(0xd).ecx, 2688u);
    EXPECT_EQ(at(0xd, 9), CpuidResult{}) << "PKRU is not offered";
    EXPECT_EQ(at(0xd, 1).eax, 7u);
    const struct {
        std::uint64_t xcr0;
        std::uint32_t standard, compacted;
    } sizes[] = {
        {1, 576, 576}, {3, 576, 576}, {7, 832, 832}, {0xe7, 2688, 576 + 256 + 64 + 512 + 1024}};
    for (const auto &s : sizes) {
        state.xcr0 = s.xcr0;
        EXPECT_EQ(at(0xd).ebx, s.standard) << s.xcr0;
        EXPECT_EQ(at(0xd, 1).ebx, s.compacted) << s.xcr0;
    }
    EXPECT_TRUE(valid_xcr0(0xe7, 0xe7) && valid_xcr0(7, 0xe7) && valid_xcr0(1, 0xe7));
    for (std::uint64_t bad : {0ull, 2ull, 5ull, 0x27ull, 0xe3ull, 0x207ull})
        EXPECT_FALSE(valid_xcr0(bad, 0xe7)) << bad;
}

TEST_F(CpuidTest, state_shows_in_leaf_1) {
    build();
    EXPECT_FALSE(at(1).ecx >> 27 & 1);
    state.osxsave = true;
    EXPECT_TRUE(at(1).ecx >> 27 & 1);
    EXPECT_TRUE(at(1).edx >> 9 & 1);
    state.apic_enabled = false;
    EXPECT_FALSE(at(1).edx >> 9 & 1);
    EXPECT_FALSE(at(0x8000'0001).edx >> 9 & 1);
}

TEST_F(CpuidTest, topology_of_one_package) {
    const struct {
        std::uint32_t cores, id, bits;
    } places[] = {{1, 0, 0}, {2, 1, 1}, {3, 2, 2}, {4, 3, 2}, {5, 4, 3}, {64, 63, 6}};
    for (const auto &p : places) {
        build(p.cores, p.id);
        EXPECT_EQ(at(1).ebx, p.id << 24 | p.cores << 16 | 0x0800);
        EXPECT_EQ(at(1).edx >> 28 & 1, p.cores > 1);
        EXPECT_EQ(at(0xb, 0), (CpuidResult{0, 1, 0x100, p.id}));
        EXPECT_EQ(at(0xb, 1), (CpuidResult{p.bits, p.cores, 0x201, p.id}));
        EXPECT_EQ(at(0xb, 2), (CpuidResult{0, 0, 2, p.id}));
        EXPECT_EQ(at(0x8000'0008).ecx, p.bits << 12 | (p.cores - 1));
        EXPECT_EQ(at(0x8000'0001).ecx >> 1 & 1, p.cores > 1) << "CmpLegacy";
        EXPECT_EQ(at(0x8000'001e).eax, p.id);
        EXPECT_EQ(at(0x8000'001e).ebx, p.id);
        EXPECT_EQ(at(0x8000'001d, 0).eax >> 14 & 0xfff, 0u) << "L1 is private";
        EXPECT_EQ(at(0x8000'001d, 1).eax >> 14 & 0xfff, p.cores - 1) << "L3 is shared";
        EXPECT_EQ(at(4, 1).eax >> 14 & 0xfff, (1u << p.bits) - 1);
        EXPECT_EQ(at(4, 0).eax >> 26, (1u << p.bits) - 1);
    }
}

TEST_F(CpuidTest, callers_own_topology_stays) {
    build(0, 5);
    EXPECT_EQ(at(0x8000'001d, 1).eax, 0x4163u & ~(0xfffu << 14));
    for (auto &e : entries)
        if (e.leaf == 0xb) e.ebx = 7;
    ASSERT_TRUE(static_cast<bool>(
        table.set(entries.data(), static_cast<std::uint32_t>(entries.size()), 5)));
    EXPECT_EQ(at(0xb, 1).ebx, 7u);
    EXPECT_EQ(at(0xb, 1).edx, 5u);
}

TEST_F(CpuidTest, out_of_range_is_zero_or_the_last_basic_leaf) {
    build();
    EXPECT_EQ(at(0x17), CpuidResult{});
    EXPECT_EQ(at(0x8000'0029), CpuidResult{});
    EXPECT_EQ(at(0xffff'ffff), CpuidResult{});
    EXPECT_EQ(at(0x9), CpuidResult{}) << "inside, but nothing";
    generous_host("GenuineIntel");
    build();
    EXPECT_EQ(at(0).eax, 0x16u);
    EXPECT_NE(at(0x16), CpuidResult{});
    for (std::uint32_t leaf : {0x17u, 0x1fu, 0x3fff'ffffu, 0x8000'0029u, 0xffff'ffffu})
        EXPECT_EQ(at(leaf), at(0x16)) << leaf;
    EXPECT_EQ(at(0x9), CpuidResult{});
    EXPECT_EQ(at(0x4000'0002), CpuidResult{});
    EXPECT_EQ(at(0x4000'0200), CpuidResult{});
}

TEST_F(CpuidTest, frequencies) {
    build();
    EXPECT_EQ(at(0x15), (CpuidResult{5, 12, 1'000'000'000, 0}))
        << "2.4 GHz over the APIC timer's clock";
    EXPECT_EQ(at(0x4000'0010), (CpuidResult{2'400'000, 1'000'000, 0, 0}));
    facts.tsc_khz = 2'445'407;
    build();
    EXPECT_EQ(at(0x15), CpuidResult{}) << "a guest's 32-bit product would overflow";
    EXPECT_EQ(at(0x16).eax, 2445u);
}

TEST_F(CpuidTest, paravirtual_leaves) {
    build();
    EXPECT_EQ(at(0x4000'0000), (CpuidResult{0x4000'0010, 0x4b4d'564b, 0x564b'4d56, 0x4d}));
    EXPECT_EQ(at(0x4000'0001).eax, kvm_features);
    char text[13] = {};
    const CpuidResult r = at(0x4000'0100);
    std::memcpy(text, &r.ebx, 4);
    std::memcpy(text + 4, &r.ecx, 4);
    std::memcpy(text + 8, &r.edx, 4);
    EXPECT_STREQ(text, "hwvhwvhwvhwv");
    EXPECT_EQ(at(0x4000'0101).eax, static_cast<std::uint32_t>(HWV_ABI_VERSION));
}

TEST_F(CpuidTest, too_small_a_buffer_learns_the_size) {
    build();
    std::uint32_t count = 3;
    std::vector<hwv_cpuid_entry> few(3);
    EXPECT_EQ(supported_cpuid(facts, few.data(), count).error(), hwv::Error::too_big);
    EXPECT_EQ(count, entries.size());
    count = 0;
    EXPECT_EQ(supported_cpuid(facts, nullptr, count).error(), hwv::Error::too_big);
    EXPECT_EQ(count, entries.size());
}

TEST_F(CpuidTest, bad_tables_are_refused_and_change_nothing) {
    build();
    const auto refused = [&](std::vector<hwv_cpuid_entry> t) {
        const auto status = table.set(t.data(), static_cast<std::uint32_t>(t.size()), 0);
        EXPECT_EQ(table.count(), entries.size());
        return status.error();
    };
    using hwv::Error;
    EXPECT_EQ(refused(std::vector<hwv_cpuid_entry>(HWV_MAX_CPUID + 1)), Error::too_big);
    EXPECT_EQ(refused({{.leaf = 1, .flags = 2}}), Error::invalid);
    EXPECT_EQ(refused({{.leaf = 1, .reserved = 1}}), Error::invalid);
    EXPECT_EQ(refused({{.leaf = 1}, {.leaf = 1}}), Error::invalid);
    EXPECT_EQ(refused({{.leaf = 4, .subleaf = 1, .flags = 1}, {.leaf = 4}}), Error::invalid);
    EXPECT_EQ(
        refused({{.leaf = 4, .subleaf = 1, .flags = 1}, {.leaf = 4, .subleaf = 1, .flags = 1}}),
        Error::invalid);
}

TEST_F(CpuidTest, unsorted_tables_and_odd_leaves) {
    const std::vector<hwv_cpuid_entry> t = {
        {.leaf = 0x8fff'ffff, .eax = 7},
        {.leaf = 4, .subleaf = 1, .flags = 1, .eax = 0x43},
        {.leaf = 0, .eax = 4},
        {.leaf = 4, .subleaf = 0, .flags = 1, .eax = 0x21},
        {.leaf = 2, .subleaf = 9, .eax = 5},
    };
    ASSERT_TRUE(static_cast<bool>(table.set(t.data(), static_cast<std::uint32_t>(t.size()), 0)));
    EXPECT_EQ(at(0x8fff'ffff).eax, 7u);
    EXPECT_EQ(at(4, 0).eax, 0x21u);
    EXPECT_EQ(at(4, 1).eax, 0x43u);
    EXPECT_EQ(at(4, 2), CpuidResult{});
    EXPECT_EQ(at(2, 0).eax, 5u);
    EXPECT_EQ(at(2, 77).eax, 5u) << "without the flag every subleaf";
}

TEST_F(CpuidTest, cr4_follows_the_table) {
    build();
    using namespace hwv;
    EXPECT_TRUE(table.cr4_allowed() & cr4::osxsave);
    EXPECT_EQ(table.cr4_allowed() & (cr4::la57 | cr4::vmxe | cr4::smxe | cr4::pke | cr4::cet), 0u);
    host[{7, 0}].ebx = 0;
    host[{1, 0}].ecx = 0;
    build();
    EXPECT_EQ(table.cr4_allowed() &
                  (cr4::smep | cr4::smap | cr4::fsgsbase | cr4::pcide | cr4::osxsave),
              0u);
    EXPECT_TRUE(table.cr4_allowed() & cr4::pae);
    EXPECT_EQ(table.xcr0_allowed(), 0xe7u);
    EXPECT_EQ(table.phys_bits(), 48u);
}

} // namespace
