// SPDX-License-Identifier: GPL-2.0-only
// The vocabulary of the nested page tables, and what a table format has to supply.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace hwv::npt {

inline constexpr unsigned page_shift = 12;
inline constexpr std::uint64_t page_size = 1ull << page_shift;
inline constexpr unsigned index_bits = 9;
inline constexpr std::size_t entries_per_table = 1u << index_bits;
inline constexpr unsigned max_depth = 5;

// A leaf's size. The number is the level of the table that holds it, counted from 1 at the bottom.
enum class Level : std::uint8_t { page_4k = 1, page_2m = 2, page_1g = 3 };

constexpr unsigned number(Level level) { return static_cast<unsigned>(level); }

// 4 KiB pages that one entry of a table at this level (1 .. max_depth) spans.
constexpr std::uint64_t pages(unsigned level) { return 1ull << (index_bits * (level - 1)); }
constexpr std::uint64_t pages(Level level) { return pages(number(level)); }

constexpr bool aligned(std::uint64_t frame, Level level) { return !(frame & (pages(level) - 1)); }

struct Perms {
    bool read = false;
    bool write = false;
    bool exec = false;

    friend constexpr bool operator==(const Perms &, const Perms &) = default;
    friend constexpr Perms operator&(Perms a, Perms b) {
        return {a.read && b.read, a.write && b.write, a.exec && b.exec};
    }
    constexpr bool none() const { return !read && !write && !exec; }
    constexpr bool within(Perms other) const { return (*this & other) == *this; }
};

inline constexpr Perms perms_all{true, true, true};
inline constexpr Perms perms_no_write{true, false, true};

// One mapping: `gfn` and `pfn` are frame numbers of 4 KiB, both aligned to the level. On a format
// without accessed and dirty bits every present leaf counts as accessed, every writable one as
// dirty.
struct Leaf {
    std::uint64_t gfn = 0;
    std::uint64_t pfn = 0;
    Level level = Level::page_4k;
    Perms perms{};
    bool accessed = false;
    bool dirty = false;

    friend constexpr bool operator==(const Leaf &, const Leaf &) = default;
};

// Guest frames [first, end).
struct GfnRange {
    std::uint64_t first = 0;
    std::uint64_t end = 0;

    constexpr std::uint64_t size() const { return end > first ? end - first : 0; }
    constexpr bool covers(std::uint64_t gfn, std::uint64_t count) const {
        return first <= gfn && gfn + count <= end;
    }
};

// Every physical address that the CPU will read from a table passes through here: under memory
// encryption the host's mask is part of it (AMD APM volume 2, "Secure Memory Encryption").
class HwAddress {
  public:
    constexpr explicit HwAddress(std::uint64_t hw_mask = 0) : mask_(hw_mask) {}

    constexpr std::uint64_t to_hw(std::uint64_t pa) const { return pa | mask_; }
    constexpr std::uint64_t from_entry(std::uint64_t entry) const { return entry & field & ~mask_; }
    // Whether this many frames from `pfn` on, a power of two, can be named at all and are aligned.
    constexpr bool valid_frame(std::uint64_t pfn, std::uint64_t count) const {
        return !(pfn & ~((field & ~mask_) >> page_shift)) && !(pfn & (count - 1));
    }

  private:
    static constexpr std::uint64_t field = 0x000f'ffff'ffff'f000; // bits 51:12 in both formats
    std::uint64_t mask_;
};

// What the table template asks of a format. All are pure functions of the entry's 64 bits.
template <typename F>
concept Format = std::copy_constructible<F> &&
    requires(const F f, std::uint64_t entry, unsigned level, Perms perms, Leaf leaf, bool on) {
    { f.present(entry) } -> std::same_as<bool>;
    { f.is_leaf(entry, level) } -> std::same_as<bool>;   // of a present entry
    { f.address(entry) } -> std::same_as<std::uint64_t>; // of a leaf or table, host-physical
    { f.perms(entry) } -> std::same_as<Perms>;
    { f.accessed(entry) } -> std::same_as<bool>;
    { f.dirty(entry) } -> std::same_as<bool>;    // written at any time while it was mapped
    { f.written(entry) } -> std::same_as<bool>;  // written since it was made clean
    { f.tracks_access() } -> std::same_as<bool>; // hardware maintains accessed and dirty bits
    { f.encodable(leaf) } -> std::same_as<bool>;
    { f.expressible(perms) } -> std::same_as<bool>;
    { f.make_table(entry) } -> std::same_as<std::uint64_t>;
    { f.make_leaf(leaf) } -> std::same_as<std::uint64_t>;
    { f.with_perms(entry, perms) } -> std::same_as<std::uint64_t>;
    { f.with_accessed(entry, on) } -> std::same_as<std::uint64_t>;
    { f.cleaned(entry) } -> std::same_as<std::uint64_t>;
    {
        f.part(entry, level, entry)
        } -> std::same_as<std::uint64_t>; // large leaf, level below, index
    { f.root_pointer(entry, level) } -> std::same_as<std::uint64_t>; // root pa, depth
    { f.largest() } -> std::same_as<Level>;                          // leaf
};

// What a vendor's CPUs walk: the format, and how many levels.
template <Format F>
struct TableShape {
    F format;
    unsigned depth; // 4 or 5; for NPT that of the host's paging
};

} // namespace hwv::npt
