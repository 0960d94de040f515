// SPDX-License-Identifier: GPL-2.0-only
#include "assist/paging.hpp"

#include "assist/control_bits.hpp"
#include "fixture.hpp"

namespace assist_test {
namespace {

using assist::Access;
using assist::PagingState;

constexpr std::uint64_t root = 0x1000;
constexpr std::uint64_t present = 1, writable = 2, user = 4, accessed = 0x20, dirty = 0x40,
                        large = 0x80, no_execute = 1ULL << 63;
constexpr std::uint64_t open = present | writable | user;

class Paging : public ::testing::Test {
  protected:
    // The error code, or nothing where the translation succeeds.
    std::optional<std::uint32_t> fault(std::uint64_t linear, Access access) {
        try {
            assist::translate(*memory, state, linear, access);
        } catch (const assist::Fault &fault) {
            EXPECT_EQ(fault.vector, 14);
            EXPECT_EQ(fault.address, linear);
            return fault.error_code;
        }
        return std::nullopt;
    }
    std::uint64_t translate(std::uint64_t linear, Access access = Access::read) {
        return assist::translate(*memory, state, linear, access);
    }
    std::uint64_t entry(std::uint64_t at) { return memory->get<std::uint64_t>(at); }

    // Four levels for linear addresses from 0: tables at 0x1000 to 0x4000, page 1 at 0x9000.
    void four_levels() {
        state.cr0 = assist::cr0_pg | assist::cr0_pe | assist::cr0_wp;
        state.cr4 = assist::cr4_pae;
        state.efer = assist::efer_lma | assist::efer_nxe;
        state.cr3 = root;
        memory->put(root, 0x2000 | open);
        memory->put(0x2000, 0x3000 | open);
        memory->put(0x3000, 0x4000 | open);
        memory->put(leaf, 0x9000 | open);
    }
    static constexpr std::uint64_t leaf = 0x4008;

    std::unique_ptr<FakeMemory> memory = std::make_unique<FakeMemory>();
    PagingState state;
};

TEST_F(Paging, OffMeansIdentityBelow4GiB) { EXPECT_EQ(translate(0x1234'5678), 0x1234'5678U); }

TEST_F(Paging, FourLevelsSetAccessedAndDirty) {
    four_levels();
    EXPECT_EQ(translate(0x1234), 0x9234U);
    for (const auto at : {root, std::uint64_t{0x2000}, std::uint64_t{0x3000}, leaf})
        EXPECT_EQ(entry(at) & (accessed | dirty), accessed) << at;
    EXPECT_EQ(translate(0x1234, Access::write), 0x9234U);
    EXPECT_EQ(entry(leaf) & dirty, dirty);
    EXPECT_EQ(entry(0x3000) & dirty, 0U);
}

TEST_F(Paging, FiveLevels) {
    four_levels();
    memory->put(0x8000 + 8 * 0x1, root | open);
    state.cr4 |= assist::cr4_la57;
    state.cr3 = 0x8000;
    EXPECT_EQ(translate(1ULL << 48 | 0x1234), 0x9234U);
    EXPECT_EQ(fault(0x1234, Access::read), 0U);
}

TEST_F(Paging, LargePages) {
    four_levels();
    memory->put(0x3000 + 8, 0x60'0000 | open | large);
    EXPECT_EQ(translate(0x2a'bcde), 0x6a'bcdeU);
    memory->put(0x2000 + 8, 0x8000'0000 | open | large);
    EXPECT_EQ(translate(0x4abc'def0), 0x8abc'def0U);
    memory->put(0x3000 + 8, 0x60'2000 | open | large); // bit 13
    EXPECT_EQ(fault(0x2a'bcde, Access::read), 9U);
    memory->put(0x3000 + 8, 0x60'1000 | open | large); // bit 12 is PAT
    EXPECT_EQ(translate(0x2a'bcde), 0x6a'bcdeU);
    memory->put(root + 8, 0x2000 | open | large);
    EXPECT_EQ(fault(1ULL << 39, Access::read), 9U);
}

TEST_F(Paging, ErrorCodesSayWhoAndWhat) {
    four_levels();
    memory->put(leaf, std::uint64_t{0});
    EXPECT_EQ(fault(0x1000, Access::read), 0U);
    EXPECT_EQ(fault(0x1000, Access::write), 2U);
    EXPECT_EQ(fault(0x1000, Access::execute), 0x10U);
    state.user = true;
    EXPECT_EQ(fault(0x1000, Access::write), 6U);
    state.efer &= ~assist::efer_nxe;
    EXPECT_EQ(fault(0x1000, Access::execute), 4U) << "without NXE and SMEP no fetch bit";
    state.cr4 |= assist::cr4_smep;
    EXPECT_EQ(fault(0x1000, Access::execute), 0x14U);
}

TEST_F(Paging, RightsAreTheConjunctionOfTheLevels) {
    four_levels();
    for (const auto at : {root, std::uint64_t{0x2000}, std::uint64_t{0x3000}, leaf}) {
        const auto whole = entry(at);
        memory->put(at, whole & ~user);
        state.user = true;
        EXPECT_EQ(fault(0x1000, Access::read), 5U) << at;
        state.user = false;
        EXPECT_EQ(fault(0x1000, Access::read), std::nullopt) << at;
        memory->put(at, whole & ~writable);
        EXPECT_EQ(fault(0x1000, Access::write), 3U) << at;
        state.cr0 &= ~assist::cr0_wp;
        EXPECT_EQ(fault(0x1000, Access::write), std::nullopt) << at;
        state.cr0 |= assist::cr0_wp;
        memory->put(at, whole | no_execute);
        EXPECT_EQ(fault(0x1000, Access::execute), 0x11U) << at;
        EXPECT_EQ(fault(0x1000, Access::read), std::nullopt) << at;
        memory->put(at, whole);
    }
}

TEST_F(Paging, SupervisorsAndUserPages) {
    four_levels();
    state.cr4 |= assist::cr4_smap | assist::cr4_smep;
    EXPECT_EQ(fault(0x1000, Access::read), 1U);
    EXPECT_EQ(fault(0x1000, Access::execute), 0x11U);
    state.access_allowed = true;
    EXPECT_EQ(fault(0x1000, Access::read), std::nullopt);
    EXPECT_EQ(fault(0x1000, Access::execute), 0x11U) << "AC lifts SMAP alone";
}

TEST_F(Paging, ReservedBits) {
    four_levels();
    state.physical_bits = 40;
    memory->put(leaf, 0x9000 | open | 1ULL << 40);
    EXPECT_EQ(fault(0x1000, Access::read), 9U);
    memory->put(leaf, 0x9000 | open | 1ULL << 39);
    EXPECT_EQ(translate(0x1000), 1ULL << 39 | 0x9000);
    memory->put(leaf, 0x9000 | open | no_execute);
    state.efer &= ~assist::efer_nxe;
    EXPECT_EQ(fault(0x1000, Access::read), 9U);
}

TEST_F(Paging, ProtectionKeys) {
    four_levels();
    state.cr4 |= assist::cr4_pke;
    memory->put(leaf, 0x9000 | open | 5ULL << 59);
    state.pkru = 2U << 10; // key 5: write disabled
    state.user = true;
    EXPECT_EQ(fault(0x1000, Access::read), std::nullopt);
    EXPECT_EQ(fault(0x1000, Access::write), 0x27U);
    state.pkru = 1U << 10; // access disabled
    EXPECT_EQ(fault(0x1000, Access::read), 0x25U);
    EXPECT_EQ(fault(0x1000, Access::execute), std::nullopt);
}

TEST_F(Paging, Pae) {
    state.cr0 = assist::cr0_pg | assist::cr0_pe;
    state.cr4 = assist::cr4_pae;
    state.cr3 = 0x1020;
    memory->put<std::uint64_t>(0x1020 + 3 * 8, 0x2000 | present);
    memory->put<std::uint64_t>(0x2000 + 8, 0x3000 | open);
    memory->put<std::uint64_t>(0x3000 + 2 * 8, 0x12'3456'7000 | open);
    const auto linear = 3ULL << 30 | 1 << 21 | 2 << 12 | 0x89a;
    EXPECT_EQ(translate(linear, Access::write), 0x12'3456'789aU);
    EXPECT_EQ(entry(0x1020 + 3 * 8), 0x2000 | present) << "no accessed bit up there";
    EXPECT_EQ(entry(0x3000 + 2 * 8) & dirty, dirty);
    memory->put<std::uint64_t>(0x1020 + 3 * 8, 0x2000 | open);
    EXPECT_EQ(fault(linear, Access::read), 9U);
}

TEST_F(Paging, ThirtyTwoBit) {
    state.cr0 = assist::cr0_pg | assist::cr0_pe | assist::cr0_wp;
    state.cr3 = root;
    memory->put<std::uint32_t>(root + 4 * 3, 0x2000 | open);
    memory->put<std::uint32_t>(0x2000 + 4 * 5, 0x7000 | present | user);
    EXPECT_EQ(translate(3 << 22 | 5 << 12 | 0x321), 0x7321U);
    EXPECT_EQ(memory->get<std::uint32_t>(0x2000 + 4 * 5) & (accessed | dirty), accessed);
    EXPECT_EQ(fault(3 << 22 | 5 << 12, Access::write), 3U);
    // A 4 MiB page with PSE-36 address bits, which is a table pointer without CR4.PSE.
    memory->put<std::uint32_t>(root + 4 * 4, 0x80'0000 | 0x12 << 13 | open | large);
    state.cr4 = assist::cr4_pse;
    EXPECT_EQ(translate(4 << 22 | 0x12'3456), 0x12'0092'3456U);
    memory->put<std::uint32_t>(root + 4 * 4, 0x80'0000 | 1 << 21 | open | large);
    EXPECT_EQ(fault(4 << 22, Access::read), 9U);
}

TEST_F(Paging, TablesOutsideOfRamAreRefused) {
    four_levels();
    state.cr3 = FakeMemory::device;
    EXPECT_THROW(translate(0x1000), assist::Unsupported);
}

} // namespace
} // namespace assist_test
