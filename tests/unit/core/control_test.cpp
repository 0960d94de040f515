// SPDX-License-Identifier: GPL-2.0-only
// Which values of CR0, CR4, EFER and RFLAGS a CPU takes, as tables. Intel SDM vol. 3 "Control
// Registers", "Initializing IA-32e Mode"; AMD APM vol. 2 "System-Control Registers".
#include <gtest/gtest.h>
#include "core/control.hpp"

namespace {

using namespace hwv;

constexpr std::uint64_t pe = cr0::pe, pg = cr0::pg, pae = cr4::pae, pcide = cr4::pcide;
constexpr std::uint64_t lme = efer::lme, lma = efer::lma;
constexpr ControlLimits all{.cr4 = ~0ull, .efer = ~0ull, .xcr0 = 7, .phys_bits = 48};

TEST(Cr0, paging_needs_protection_and_write_through_needs_cache_off) {
    for (unsigned bits = 0; bits < 16; ++bits) {
        const bool p = bits & 1, g = bits & 2, n = bits & 4, c = bits & 8;
        const std::uint64_t value =
            (p ? pe : 0) | (g ? pg : 0) | (n ? cr0::nw : 0) | (c ? cr0::cd : 0);
        EXPECT_EQ(cr0_valid(value), (!g || p) && (!n || c)) << std::hex << value;
    }
}

TEST(Cr0, upper_half_is_reserved) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        const std::uint64_t value = pe | cr0::cd | 1ull << bit;
        EXPECT_EQ(cr0_valid(value), bit < 32) << bit;
        EXPECT_EQ(cr0_change_allowed({pe, 0, 0, 0, false}, value), bit < 32) << bit;
    }
}

struct Cr0Row {
    const char *what;
    PagingRegisters now; // cr0, cr3, cr4, efer, CS.L
    std::uint64_t to;
    bool allowed;
};

const Cr0Row cr0_rows[] = {
    {"protection on", {0, 0, 0, 0, false}, pe, true},
    {"protection off", {pe, 0, 0, 0, false}, 0, true},
    {"both on at once", {0, 0, 0, 0, false}, pe | pg, true},
    {"paging without protection", {0, 0, 0, 0, false}, pg, false},
    {"protection off under paging", {pe | pg, 0, 0, 0, false}, pg, false},
    {"paging of 32 bits", {pe, 0, 0, 0, false}, pe | pg, true},
    {"paging with PAE", {pe, 0, pae, 0, false}, pe | pg, true},
    {"long mode without PAE", {pe, 0, 0, lme, false}, pe | pg, false},
    {"long mode", {pe, 0, pae, lme, false}, pe | pg, true},
    {"long mode while CS.L is set", {pe, 0, pae, lme, true}, pe | pg, false},
    {"CS.L means nothing without LME", {pe, 0, pae, 0, true}, pe | pg, true},
    {"PAE was looked at when paging came on", {pe | pg, 0, 0, lme, false}, pe | pg, true},
    {"out of paging", {pe | pg, 0, pae, 0, false}, pe, true},
    {"out of long mode", {pe | pg, 0, pae, lme | lma, false}, pe, true},
    {"out of long mode from 64-bit code", {pe | pg, 0, pae, lme | lma, true}, pe, false},
    {"out of paging with PCIDs", {pe | pg, 0, pae | pcide, lme | lma, false}, pe, false},
    {"other bits under PCIDs", {pe | pg, 0, pae | pcide, lme | lma, true}, pe | pg | cr0::ts, true},
    {"write-through alone", {pe, 0, 0, 0, false}, pe | cr0::nw, false},
    {"caches off", {pe, 0, 0, 0, false}, pe | cr0::nw | cr0::cd, true},
};

TEST(Cr0, changes) {
    for (const Cr0Row &row : cr0_rows)
        EXPECT_EQ(cr0_change_allowed(row.now, row.to), row.allowed) << row.what;
}

TEST(Cr4, only_bits_that_the_guest_was_offered) {
    for (unsigned offered = 0; offered < 64; ++offered) {
        const ControlLimits limits{.cr4 = 1ull << offered};
        for (unsigned bit = 0; bit < 64; ++bit)
            EXPECT_EQ(cr4_valid(1ull << bit, limits), bit == offered) << offered << ' ' << bit;
        EXPECT_TRUE(cr4_valid(0, limits));
    }
    constexpr ControlLimits some{.cr4 = pae | cr4::pge};
    EXPECT_TRUE(cr4_change_allowed({0, 0, 0, 0, false}, pae | cr4::pge, some));
    EXPECT_FALSE(cr4_change_allowed({0, 0, 0, 0, false}, pae | cr4::smep, some));
}

struct Cr4Row {
    const char *what;
    PagingRegisters now;
    std::uint64_t to;
    bool allowed;
};

constexpr std::uint64_t on = pe | pg, longer = lme | lma;
const Cr4Row cr4_rows[] = {
    {"PAE on and off outside long mode", {on, 0, pae, lme, false}, 0, true},
    {"PAE stays on in long mode", {on, 0, pae, longer, true}, pae, true},
    {"PAE off in long mode", {on, 0, pae, longer, true}, 0, false},
    {"PAE off in compatibility mode", {on, 0, pae, longer, false}, 0, false},
    {"five levels outside long mode", {0, 0, 0, 0, false}, cr4::la57, true},
    {"five levels on in long mode", {on, 0, pae, longer, true}, pae | cr4::la57, false},
    {"five levels off in long mode", {on, 0, pae | cr4::la57, longer, true}, pae, false},
    {"five levels stay", {on, 0, pae | cr4::la57, longer, true}, pae | cr4::la57 | cr4::pge, true},
    {"PCIDs on", {on, 0x1000, pae, longer, true}, pae | pcide, true},
    {"PCIDs on outside long mode", {on, 0, pae, 0, false}, pae | pcide, false},
    {"PCIDs on while CR3 has a PCID", {on, 0x1001, pae, longer, true}, pae | pcide, false},
    {"PCIDs on while CR3 has PCID 800h", {on, 0x1800, pae, longer, true}, pae | pcide, false},
    {"PCIDs stay while CR3 has one", {on, 0x1001, pae | pcide, longer, true}, pae | pcide, true},
    {"PCIDs off", {on, 0x1001, pae | pcide, longer, true}, pae, true},
};

TEST(Cr4, changes) {
    for (const Cr4Row &row : cr4_rows)
        EXPECT_EQ(cr4_change_allowed(row.now, row.to, all), row.allowed) << row.what;
}

TEST(Efer, only_bits_that_the_guest_was_offered) {
    for (unsigned offered = 0; offered < 64; ++offered) {
        const ControlLimits limits{.efer = 1ull << offered};
        for (unsigned bit = 0; bit < 64; ++bit) {
            EXPECT_EQ(efer_valid(1ull << bit, limits), bit == offered) << offered << ' ' << bit;
            EXPECT_EQ(efer_change_allowed({0, 0, 0, 0, false}, 1ull << bit, limits), bit == offered)
                << offered << ' ' << bit;
        }
    }
}

TEST(Efer, long_mode_is_not_switched_under_paging) {
    for (const bool paging : {false, true})
        for (const bool from : {false, true})
            for (const bool to : {false, true}) {
                const PagingRegisters now{paging ? on : pe, 0, pae, from ? lme : 0, false};
                EXPECT_EQ(efer_change_allowed(now, (to ? lme : 0) | efer::nxe, all),
                          !paging || from == to)
                    << paging << from << to;
            }
}

TEST(Efer, lma_follows_lme_and_paging) {
    for (const bool paging : {false, true})
        for (const bool enabled : {false, true})
            for (const bool active : {false, true}) {
                const std::uint64_t now =
                    efer::nxe | efer::sce | (enabled ? lme : 0) | (active ? lma : 0);
                const std::uint64_t expected =
                    efer::nxe | efer::sce | (enabled ? lme : 0) | (enabled && paging ? lma : 0);
                EXPECT_EQ(efer_after({paging ? on : pe, 0, pae, now, false}), expected)
                    << paging << enabled << active;
            }
}

// Intel SDM vol. 1 "EFLAGS Register": 1 reads as one; 3, 5, 15 and all above 21 as zero.
TEST(Rflags, each_bit) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        const bool reserved = bit == 3 || bit == 5 || bit == 15 || bit > 21;
        EXPECT_EQ(rflags_valid(rflags::fixed | 1ull << bit), !reserved) << bit;
        EXPECT_FALSE(rflags_valid(bit == 1 ? 0 : 1ull << bit)) << bit;
    }
}

} // namespace
