// SPDX-License-Identifier: GPL-2.0-only
// The rules of the guest's paging modes, each a pure function (AMD APM volume 2, "Page Translation
// and Protection" and "Page-Protection Checks"; Intel SDM volume 3, "Determination of Access
// Rights", "Page-Fault Exceptions", "Protection Keys").
#pragma once

#include "npt/entry.hpp"

#include <optional>

namespace hwv::npt {

namespace pte {
inline constexpr std::uint64_t present = 1 << 0;
inline constexpr std::uint64_t writable = 1 << 1;
inline constexpr std::uint64_t user = 1 << 2;
inline constexpr std::uint64_t accessed = 1 << 5;
inline constexpr std::uint64_t dirty = 1 << 6;
inline constexpr std::uint64_t large = 1 << 7;
inline constexpr std::uint64_t no_execute = 1ull << 63;
inline constexpr std::uint64_t address = 0x000f'ffff'ffff'f000;
} // namespace pte

// Page-fault error code.
namespace pf {
inline constexpr std::uint32_t present = 1 << 0;
inline constexpr std::uint32_t write = 1 << 1;
inline constexpr std::uint32_t user = 1 << 2;
inline constexpr std::uint32_t reserved = 1 << 3;
inline constexpr std::uint32_t fetch = 1 << 4;
inline constexpr std::uint32_t key = 1 << 5;
} // namespace pf

enum class AccessKind : std::uint8_t { read, write, fetch };

struct Access {
    AccessKind kind = AccessKind::read;
    bool user = false;     // CPL 3, unless the processor itself accesses (descriptor tables, TSS)
    bool implicit = false; // such an access of the processor itself: RFLAGS.AC does not help
};

constexpr std::uint64_t bit_range(unsigned low, unsigned high) // inclusive; none if high < low
{
    return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

struct GuestPaging {
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    bool alignment_check = false; // RFLAGS.AC
    bool pages_1g = true;         // CPUID says so to the guest
    unsigned phys_bits = 52;      // the guest's MAXPHYADDR, 32 to 52
    std::optional<std::uint32_t> pkru{};
    // PAE: those the processor holds (Intel); else they are read from memory (AMD nested paging).
    std::optional<std::array<std::uint64_t, 4>> pdptes{};

    constexpr bool enabled() const { return cr0 & (1ull << 31); }
    constexpr bool write_protect() const { return cr0 & (1 << 16); }
    constexpr bool pse() const { return cr4 & (1 << 4); }
    constexpr bool pae() const { return cr4 & (1 << 5); }
    constexpr bool la57() const { return cr4 & (1 << 12); }
    constexpr bool smep() const { return cr4 & (1 << 20); }
    constexpr bool smap() const { return cr4 & (1 << 21); }
    constexpr bool pke() const { return cr4 & (1 << 22); }
    constexpr bool long_mode() const { return efer & (1 << 10); }
    constexpr bool nx_enabled() const { return pae() && (efer & (1 << 11)); }
    constexpr bool pae_legacy() const { return pae() && !long_mode(); }

    constexpr unsigned levels() const {
        if (long_mode()) return la57() ? 5 : 4;
        return pae() ? 3 : 2;
    }
    constexpr unsigned entry_bytes() const { return pae() ? 8 : 4; }
    constexpr unsigned bits_per_level() const { return pae() ? 9 : 10; }
    constexpr unsigned shift(unsigned level) const {
        return page_shift + bits_per_level() * (level - 1);
    }
    constexpr std::uint64_t index(std::uint64_t gva, unsigned level) const {
        return (gva >> shift(level)) & ((1u << bits_per_level()) - 1);
    }
    constexpr std::uint64_t root() const {
        if (long_mode()) return cr3 & pte::address;
        return cr3 & (pae() ? 0xffff'ffe0 : 0xffff'f000);
    }
    constexpr bool canonical(std::uint64_t gva) const {
        if (!long_mode()) return true;
        const std::uint64_t top = gva >> (la57() ? 56 : 47);
        return top == 0 || top == (la57() ? 0xff : 0x1'ffff);
    }
};

// Whether the entry, present and legal, maps a page.
constexpr bool is_page(const GuestPaging &paging, unsigned level, std::uint64_t entry) {
    if (level == 1) return true;
    if (!(entry & pte::large)) return false;
    if (!paging.pae()) return paging.pse();
    return level == 2 || (level == 3 && paging.long_mode());
}

constexpr std::uint64_t page_bytes(const GuestPaging &paging, unsigned level) {
    return 1ull << paging.shift(level);
}

// Without PAE a 4 MiB page has address bits 39:32 in bits 20:13 (PSE-36).
constexpr std::uint64_t page_base(const GuestPaging &paging, unsigned level, std::uint64_t entry) {
    if (!paging.pae() && level == 2) return (entry & 0xffc0'0000) | ((entry >> 13) & 0xff) << 32;
    return entry & pte::address & ~(page_bytes(paging, level) - 1);
}

// The bits that must be 0 in a present entry.
constexpr std::uint64_t reserved_bits(const GuestPaging &paging, unsigned level,
                                      std::uint64_t entry) {
    const bool large = entry & pte::large;
    if (!paging.pae()) {
        const unsigned width = paging.phys_bits < 40 ? paging.phys_bits : 40;
        return level == 2 && large && paging.pse() ? bit_range(width - 19, 21) : 0;
    }
    std::uint64_t bits = bit_range(paging.phys_bits, 51);
    if (!paging.long_mode()) {
        bits |= bit_range(52, 62);
        // Bit 5 is reserved in a PDPTE, too, but QEMU sets it there as the accessed bit.
        if (level == 3) return bits | pte::no_execute | bit_range(1, 2) | bit_range(6, 8);
    }
    if (!paging.nx_enabled()) bits |= pte::no_execute;
    if (!large || level == 1) return bits;
    if (level == 2) return bits | bit_range(13, 20);
    return bits | (level == 3 && paging.pages_1g ? bit_range(13, 29) : pte::large);
}

// What all entries of a walk grant together.
struct PageRights {
    bool user = true;
    bool writable = true;
    bool executable = true;
    unsigned key = 0;

    constexpr void restrict_by(const GuestPaging &paging, std::uint64_t entry) {
        user = user && (entry & pte::user);
        writable = writable && (entry & pte::writable);
        executable = executable && !(paging.nx_enabled() && (entry & pte::no_execute));
    }
};

constexpr bool key_denies(const GuestPaging &paging, const PageRights &rights, Access access) {
    if (!paging.pkru || !paging.pke() || !paging.long_mode() || !rights.user) return false;
    if (access.kind == AccessKind::fetch) return false;
    const std::uint32_t bits = *paging.pkru >> (2 * rights.key);
    const bool write_counts = access.user || paging.write_protect();
    return (bits & 1) || ((bits & 2) && access.kind == AccessKind::write && write_counts);
}

constexpr bool rights_deny(const GuestPaging &paging, const PageRights &rights, Access access) {
    if (access.user && !rights.user) return true;
    if (access.kind == AccessKind::fetch)
        return !rights.executable || (!access.user && rights.user && paging.smep());
    const bool ac_helps = paging.alignment_check && !access.implicit;
    if (!access.user && rights.user && paging.smap() && !ac_helps) return true;
    const bool needs_writable = access.user || paging.write_protect();
    return access.kind == AccessKind::write && needs_writable && !rights.writable;
}

// The error code's cause bits of a denied access; 0 if it is allowed.
constexpr std::uint32_t denial(const GuestPaging &paging, const PageRights &rights, Access access) {
    const bool by_key = key_denies(paging, rights, access);
    if (!by_key && !rights_deny(paging, rights, access)) return 0;
    return pf::present | (by_key ? pf::key : 0);
}

// The error code's bits that describe the access.
constexpr std::uint32_t access_error_bits(const GuestPaging &paging, Access access) {
    const bool tells_fetch = paging.nx_enabled() || paging.smep();
    return (access.kind == AccessKind::write ? pf::write : 0) | (access.user ? pf::user : 0) |
           (access.kind == AccessKind::fetch && tells_fetch ? pf::fetch : 0);
}

constexpr Perms allowed(const GuestPaging &paging, const PageRights &rights, Access access) {
    const auto may = [&](AccessKind kind) {
        return denial(paging, rights, {kind, access.user, access.implicit}) == 0;
    };
    return {may(AccessKind::read), may(AccessKind::write), may(AccessKind::fetch)};
}

} // namespace hwv::npt
