// SPDX-License-Identifier: GPL-2.0-only
// AMD nested paging: the entries are those of ordinary long-mode paging, with every nested access
// treated as a user access (AMD APM volume 2, "Nested Paging", "Page-Translation-Table Entry
// Fields").
#pragma once

#include "npt/entry.hpp"

namespace hwv::npt {

class NptFormat {
  public:
    static constexpr std::uint64_t p = 1ull << 0;
    static constexpr std::uint64_t rw = 1ull << 1;
    static constexpr std::uint64_t us = 1ull << 2;
    static constexpr std::uint64_t pwt = 1ull << 3; // PWT, PCD and PAT stay 0: write-back, by the
    static constexpr std::uint64_t pcd = 1ull << 4; // first entry of the host's PAT
    static constexpr std::uint64_t a = 1ull << 5;
    static constexpr std::uint64_t d = 1ull << 6;
    static constexpr std::uint64_t ps = 1ull << 7;
    static constexpr std::uint64_t was_dirty = 1ull << 9; // available to software
    static constexpr std::uint64_t nx = 1ull << 63;

    constexpr explicit NptFormat(std::uint64_t hw_mask = 0) : hw_(hw_mask) {}

    constexpr bool present(std::uint64_t entry) const { return entry & p; }
    constexpr bool is_leaf(std::uint64_t entry, unsigned level) const {
        return level == 1 || (entry & ps);
    }
    constexpr std::uint64_t address(std::uint64_t entry) const { return hw_.from_entry(entry); }
    constexpr Perms perms(std::uint64_t entry) const {
        return {bool(entry & p), bool(entry & rw), !(entry & nx)};
    }
    constexpr bool accessed(std::uint64_t entry) const { return entry & a; }
    constexpr bool dirty(std::uint64_t entry) const { return entry & (d | was_dirty); }
    constexpr bool written(std::uint64_t entry) const { return entry & d; }
    constexpr bool tracks_access() const { return true; }
    constexpr Level largest() const { return Level::page_1g; }

    // Present is readable: neither write-only nor execute-only exist.
    constexpr bool expressible(Perms perms) const { return perms.read; }
    constexpr bool encodable(const Leaf &leaf) const {
        return expressible(leaf.perms) && hw_.valid_frame(leaf.pfn, pages(leaf.level));
    }
    // U/S is 1 at every level, because nested accesses are user accesses; the leaf alone restricts.
    constexpr std::uint64_t make_table(std::uint64_t pa) const {
        return hw_.to_hw(pa) | p | rw | us;
    }
    constexpr std::uint64_t make_leaf(const Leaf &leaf) const {
        std::uint64_t entry = hw_.to_hw(leaf.pfn << page_shift) | us;
        entry |= leaf.level == Level::page_4k ? 0 : ps;
        entry |= leaf.dirty ? d : 0;
        return with_perms(with_accessed(entry, leaf.accessed), leaf.perms);
    }
    constexpr std::uint64_t with_perms(std::uint64_t entry, Perms perms) const {
        entry &= ~(p | rw | nx);
        return entry | (perms.read ? p : 0) | (perms.write ? rw : 0) | (perms.exec ? 0 : nx);
    }
    constexpr std::uint64_t with_accessed(std::uint64_t entry, bool on) const {
        return on ? entry | a : entry & ~a;
    }
    // The dirty log may start anew; that the host's page is dirty is not forgotten.
    constexpr std::uint64_t cleaned(std::uint64_t entry) const {
        return entry & d ? (entry & ~d) | was_dirty : entry;
    }
    constexpr std::uint64_t part(std::uint64_t entry, unsigned below, std::uint64_t index) const {
        return (below == 1 ? entry & ~ps : entry) + index * pages(below) * page_size;
    }
    // nCR3. The depth is not in it: it follows the host's CR4.LA57.
    constexpr std::uint64_t root_pointer(std::uint64_t pa, unsigned) const { return hw_.to_hw(pa); }

  private:
    HwAddress hw_;
};

static_assert(Format<NptFormat>);

namespace npt_check {
inline constexpr NptFormat plain{};
inline constexpr NptFormat sme{1ull << 47};
inline constexpr Leaf rwx{0, 0x12345, Level::page_4k, perms_all};
inline constexpr Leaf ro_2m{0, 0x400, Level::page_2m, {true, false, false}, true, true};

static_assert(plain.make_table(0x1234'5000) == 0x1234'5007);
static_assert(plain.make_leaf(rwx) == 0x1234'5007);
static_assert(plain.make_leaf(ro_2m) == 0x8000'0000'0040'00e5);
static_assert(sme.make_leaf(rwx) == 0x0000'8000'1234'5007);
static_assert(sme.make_table(0x5000) == 0x0000'8000'0000'5007);
static_assert(sme.root_pointer(0x5000, 4) == 0x0000'8000'0000'5000);
static_assert(sme.address(sme.make_leaf(rwx)) == 0x1234'5000);
static_assert(!sme.encodable({0, 1ull << 35, Level::page_4k, perms_all}));
static_assert(!plain.encodable({0, 0x201, Level::page_2m, perms_all}));
static_assert(!plain.encodable({0, 0x200, Level::page_2m, {false, false, true}}));
static_assert(!plain.encodable({0, 1ull << 40, Level::page_4k, perms_all}));
static_assert(!plain.encodable({0, ~0ull, Level::page_4k, perms_all}));
static_assert(plain.perms(plain.make_leaf(ro_2m)) == ro_2m.perms);
static_assert(plain.is_leaf(plain.make_leaf(ro_2m), 2) && !plain.is_leaf(plain.make_table(0), 2));
static_assert(plain.cleaned(plain.make_leaf(ro_2m)) == 0x8000'0000'0040'02a5);
static_assert(plain.dirty(plain.cleaned(plain.make_leaf(ro_2m))));
static_assert(!plain.written(plain.cleaned(plain.make_leaf(ro_2m))));
static_assert(sme.part(sme.make_leaf(ro_2m), 1, 511) == 0x8000'8000'005f'f065);
static_assert((plain.make_leaf(rwx) & (NptFormat::pwt | NptFormat::pcd | NptFormat::ps)) == 0);
} // namespace npt_check

} // namespace hwv::npt
