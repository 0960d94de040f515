// SPDX-License-Identifier: GPL-2.0-only
// The guest page-table walker: modes, page sizes, reserved bits, accessed and dirty bits, races.
#include "guest_pages.hpp"

#include <gtest/gtest.h>

namespace npt_test {
namespace {

constexpr Access reading{AccessKind::read};
constexpr Access writing{AccessKind::write};
constexpr Access fetching{AccessKind::fetch};

std::vector<Path> all_modes(std::uint64_t flags = p | w | u) {
    return {legacy(0xc012'3456, flags), pae(0xc012'3456, flags), four(0xffff'8123'4567'89ab, flags),
            five(0xff01'2345'6789'abcd, flags)};
}

void expect_fault(const Translation &result, std::uint32_t error_code) {
    EXPECT_EQ(result.status, WalkStatus::page_fault);
    EXPECT_EQ(result.error_code, error_code);
}

TEST(Walker, WithoutPagingAddressesAre32BitPhysical) {
    Path path = legacy();
    path.paging.cr0 = 0;
    path.gva = 0x1'2345'6789;
    EXPECT_EQ(path.walk().gpa, 0x2345'6789u);
    EXPECT_EQ(path.walk().perms, perms_all);
    EXPECT_EQ(path.memory.reads, 0u);
}

TEST(Walker, FindsSmallPagesInEveryMode) {
    for (Path &path : all_modes()) {
        const Translation result = path.look();
        EXPECT_EQ(result.status, WalkStatus::ok);
        EXPECT_EQ(result.gpa, 0x9000 | (path.gva & 0xfff));
        EXPECT_EQ(result.page_size, 0x1000u);
        EXPECT_EQ(path.memory.reads, path.slots.size()) << "each entry is read once";
    }
}

TEST(Walker, FindsLargePages) {
    Path pde4m = legacy(0xc03f'fabc);
    pde4m.set(0, 0x0040'0000 | p | ps);
    EXPECT_EQ(pde4m.look().gpa, 0x007f'fabcu);
    EXPECT_EQ(pde4m.look().page_size, 4u << 20);
    pde4m.set(0, 0x0040'0000 | 0xab << 13 | p | ps);
    EXPECT_EQ(pde4m.look().gpa, 0xab'007f'fabcu) << "PSE-36";
    pde4m.paging.cr4 = 0;
    pde4m.set(0, 0x2000 | p | ps);
    EXPECT_EQ(pde4m.look().page_size, 0x1000u) << "PS is ignored without CR4.PSE";

    Path pde2m = pae(0xc03f'fabc);
    pde2m.set(1, 0x12'3440'0000 | p | ps | 1 << 12);
    EXPECT_EQ(pde2m.look().gpa, 0x12'345f'fabcu) << "bit 12 is PAT";
    EXPECT_EQ(pde2m.look().page_size, 2u << 20);

    Path huge = four(0x7fff'ffff'f123);
    huge.set(1, 0x40'4000'0000 | p | ps);
    EXPECT_EQ(huge.look().gpa, 0x40'7fff'f123u);
    EXPECT_EQ(huge.look().page_size, 1u << 30);
    huge.set(1, 0x3000 | p);
    huge.set(2, 0x40'0020'0000 | p | ps);
    EXPECT_EQ(huge.look().gpa, 0x40'003f'f123u);
}

TEST(Walker, IgnoresWhatIsNoAddressInCr3) {
    Path long_mode = four();
    long_mode.paging.cr3 |= 1ull << 63 | 0xabc; // no-flush bit, PCID
    EXPECT_EQ(long_mode.look().status, WalkStatus::ok);
    Path old = legacy();
    old.paging.cr3 |= 0xffff'ffff'0000'0018;
    EXPECT_EQ(old.look().status, WalkStatus::ok);
    Path aligned_32 = pae(0x0012'3456);
    aligned_32.paging.cr3 = 0x1020 | 0x18;
    aligned_32.memory.words[0x1020] = aligned_32.get(0);
    aligned_32.set(0, 0);
    EXPECT_EQ(aligned_32.look().status, WalkStatus::ok);
}

TEST(Walker, TruncatesAddressesOutsideLongMode) {
    Path path = legacy();
    path.gva |= 0xffff'ffff'0000'0000;
    EXPECT_EQ(path.look().gpa, 0x9456u);
    Path wide = pae();
    wide.gva |= 0xffff'ffff'0000'0000;
    EXPECT_EQ(wide.look().gpa, 0x9456u);
}

TEST(Walker, NonCanonicalIsNoPageFault) {
    Path path = four();
    for (const std::uint64_t gva : {1ull << 47, 0xffff'7fff'ffff'ffffull, 1ull << 63}) {
        path.gva = gva;
        EXPECT_EQ(path.look().status, WalkStatus::non_canonical);
    }
    Path deep = five();
    deep.gva = 1ull << 47;
    EXPECT_NE(deep.look().status, WalkStatus::non_canonical);
    deep.gva = 1ull << 56;
    EXPECT_EQ(deep.look().status, WalkStatus::non_canonical);
    EXPECT_EQ(path.memory.reads + deep.memory.reads, 1u) << "only the canonical one walked";
}

TEST(Walker, EveryEntryMustBePresent) {
    for (Path &path : all_modes()) {
        for (std::size_t i = 0; i < path.slots.size(); ++i) {
            const std::uint64_t old = path.get(i);
            path.set(i, 0xffff'fffe & ~p); // all else is ignored then
            expect_fault(path.walk(reading), 0);
            expect_fault(path.walk({AccessKind::write, true}), pf::write | pf::user);
            path.set(i, old);
        }
        EXPECT_EQ(path.walk().status, WalkStatus::ok);
    }
}

TEST(Walker, PaeRegistersGoBeforeMemory) {
    Path path = pae();
    path.paging.pdptes = {0, 0, 0, path.get(0)};
    path.set(0, 0);
    EXPECT_EQ(path.walk().status, WalkStatus::ok);
    EXPECT_EQ(path.get(0), 0u);
    (*path.paging.pdptes)[3] = 0;
    expect_fault(path.walk(), 0);
}

TEST(Walker, MissingMemoryIsNamed) {
    for (Path &path : all_modes()) {
        for (std::size_t i = 0; i < path.slots.size(); ++i) {
            path.memory.end = 0x1000 * (i + 1);
            const Translation result = path.walk();
            EXPECT_EQ(result.status, WalkStatus::inaccessible);
            EXPECT_EQ(result.gpa, path.slots[i] & ~7ull);
        }
    }
}

struct Reserved {
    const char *name;
    std::function<Path()> mode;
    std::size_t entry;
    std::uint64_t base; // what the entry is without them
    std::uint64_t bits; // each of them alone must fault ...
    std::uint64_t free; // ... and each of these not
};

// MAXPHYADDR is 40.
const Reserved reserved_rows[] = {
    {"PDE", [] { return legacy(); }, 0, 0x2000 | p, 0, 0xe78},
    {"PDE 4M", [] { return legacy(); }, 0, p | ps, 1 << 21, 0x1f'fe00 | 0x118},
    {"PTE", [] { return legacy(); }, 1, p, 0, 0xffff'fff8},
    {"PAE PDPTE", [] { return pae(); }, 0, 0x2000 | p, bit_range(40, 63) | 0x1c6, 0xe38},
    {"PAE PDE", [] { return pae(); }, 1, 0x3000 | p, bit_range(40, 62), nx | 0xe18},
    {"PAE PDE 2M", [] { return pae(); }, 1, p | ps, bit_range(40, 62) | bit_range(13, 20),
     nx | 0x1f18},
    {"PAE PTE", [] { return pae(); }, 2, p, bit_range(40, 62), nx | 0xf98},
    {"PML4E", [] { return four(); }, 0, 0x2000 | p, bit_range(40, 51) | ps,
     nx | bit_range(52, 62) | 0xe18},
    {"PDPTE", [] { return four(); }, 1, 0x3000 | p, bit_range(40, 51),
     nx | bit_range(52, 62) | 0xe18},
    {"PDPTE 1G", [] { return four(); }, 1, p | ps, bit_range(40, 51) | bit_range(13, 29),
     nx | bit_range(52, 62) | 0x1f18},
    {"PDE", [] { return four(); }, 2, 0x4000 | p, bit_range(40, 51),
     nx | bit_range(52, 62) | 0xe18},
    {"PDE 2M", [] { return four(); }, 2, p | ps, bit_range(40, 51) | bit_range(13, 20),
     nx | bit_range(52, 62) | 0x1f18},
    {"PTE", [] { return four(); }, 3, p, bit_range(40, 51), nx | bit_range(52, 62) | 0xf98},
    {"PML5E", [] { return five(); }, 0, 0x2000 | p, bit_range(40, 51) | ps,
     nx | bit_range(52, 62) | 0xe18},
};

TEST(Walker, ReservedBits) {
    for (const Reserved &row : reserved_rows) {
        Path path = row.mode();
        for (unsigned bit = 0; bit < 64; ++bit) {
            const std::uint64_t value = 1ull << bit;
            if (!((row.bits | row.free) & value)) continue;
            path.set(row.entry, row.base | value);
            SCOPED_TRACE(testing::Message() << row.name << " bit " << bit);
            if (row.bits & value)
                expect_fault(path.look(reading), pf::present | pf::reserved);
            else
                EXPECT_EQ(path.look(reading).status, WalkStatus::ok);
        }
    }
}

TEST(Walker, ReservedBitsFollowTheProcessor) {
    Path narrow = legacy();
    narrow.paging.phys_bits = 36;
    narrow.set(0, p | ps | 1 << 17);
    expect_fault(narrow.look(), pf::present | pf::reserved);
    narrow.set(0, p | ps | 1 << 16);
    EXPECT_EQ(narrow.look().gpa >> 32, 8u);

    Path no_nx = four();
    no_nx.paging.efer &= ~efer_nxe;
    no_nx.set(3, no_nx.get(3) | nx);
    expect_fault(no_nx.look(fetching), pf::present | pf::reserved);

    Path no_1g = four();
    no_1g.paging.pages_1g = false;
    no_1g.set(1, p | ps);
    expect_fault(no_1g.look(), pf::present | pf::reserved);

    Path all_52 = four();
    all_52.paging.phys_bits = 52;
    all_52.set(3, p | 0x000f'ffff'ffff'f000);
    EXPECT_EQ(all_52.look().gpa, 0x000f'ffff'ffff'f9abu);
}

TEST(Walker, ReservedIsSeenBeforeWhatLiesBelow) {
    Path path = four();
    path.set(1, path.get(1) | 1ull << 45);
    path.set(3, 0);
    expect_fault(path.look(), pf::present | pf::reserved);
}

TEST(Walker, SetsAccessedOnTheWayAndDirtyAtTheEnd) {
    for (Path &path : all_modes()) {
        const std::size_t first = path.slots.size() == 3 ? 1 : 0; // PDPTEs of PAE have none
        path.walk(reading);
        for (std::size_t i = first; i <= path.last(); ++i)
            EXPECT_EQ(path.get(i) & (a | d), a);
        path.walk(writing);
        for (std::size_t i = first; i <= path.last(); ++i)
            EXPECT_EQ(path.get(i) & (a | d), i == path.last() ? a | d : a);
        if (first) {
            EXPECT_EQ(path.get(0) & (a | d), 0u);
        }
        path.memory.before_swap = [] { FAIL() << "nothing left to set"; };
        EXPECT_EQ(path.walk(writing).status, WalkStatus::ok);
    }
}

TEST(Walker, SetsBitsInItsHalfOfTheWordOnly) {
    for (const std::uint64_t gva : {0xc012'3456ull, 0xc052'2456ull}) {
        Path path = legacy(gva);
        const std::uint64_t neighbour = path.slots[1] ^ 4;
        path.memory.put32(neighbour, 0xdead'b000);
        path.walk(writing);
        EXPECT_EQ(path.memory.get32(neighbour), 0xdead'b000u);
        EXPECT_EQ(path.get(1) & (a | d), a | d);
    }
}

TEST(Walker, LeavesNoTraceOfAFaultOrWithoutTheMeans) {
    for (Path &path : all_modes(p)) {
        const auto before = path.memory.words;
        EXPECT_EQ(path.walk(writing).status, WalkStatus::page_fault);
        EXPECT_EQ(path.look(reading).status, WalkStatus::ok);
        EXPECT_EQ(path.memory.words, before);
    }
}

TEST(Walker, ReadOnlyTablesAreNamed) {
    Path path = four();
    path.memory.read_only_from = 0x3000;
    const Translation result = path.walk();
    EXPECT_EQ(result.status, WalkStatus::inaccessible);
    EXPECT_EQ(result.gpa, path.slots[2]);
}

TEST(Walker, StartsAnewWhenTheGuestChangesAnEntry) {
    Path path = four();
    unsigned swaps = 0;
    path.memory.before_swap = [&] {
        if (++swaps == 2) path.set(3, 0x7000 | p | w | u); // between its read and its accessed bit
    };
    const Translation result = path.walk(writing);
    EXPECT_EQ(result.gpa & ~0xfffull, 0x7000u);
    EXPECT_EQ(path.get(3), 0x7000 | p | w | u | a | d);

    Path gone = four();
    gone.memory.before_swap = [&] { gone.set(3, 0); };
    expect_fault(gone.walk(writing), pf::write);
    EXPECT_EQ(gone.get(3), 0u);
}

TEST(Walker, GivesUpOnAGuestThatNeverStops) {
    Path path = four();
    std::uint64_t turn = 0;
    path.memory.before_swap = [&] { path.set(0, 0x2000 | p | ++turn << 52); };
    EXPECT_EQ(path.walk().status, WalkStatus::retry);
    EXPECT_EQ(turn, Walker<GuestWords>::max_attempts);
}

struct ConstexprWords {
    constexpr std::optional<std::uint64_t> read64(std::uint64_t) { return p | w | u; }
};

constexpr std::uint64_t walk_at_compile_time() {
    ConstexprWords memory;
    const GuestPaging paging{.cr0 = cr0_pg, .cr4 = cr4_pae, .efer = efer_lma};
    return Walker{paging, memory}.translate(0x1234, {}).gpa;
}
static_assert(walk_at_compile_time() == 0x234);

} // namespace
} // namespace npt_test
