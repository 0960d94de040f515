// SPDX-License-Identifier: GPL-2.0-only
// Guest memory with page tables in it, for the walker: one way through the tables per mode.
#pragma once

#include "npt/walker.hpp"

#include <functional>
#include <map>
#include <vector>

namespace npt_test {

using namespace hwv::npt;

constexpr std::uint64_t cr0_pg = 1u << 31, cr0_wp = 1u << 16;
constexpr std::uint64_t cr4_pse = 1 << 4, cr4_pae = 1 << 5, cr4_la57 = 1 << 12;
constexpr std::uint64_t cr4_smep = 1 << 20, cr4_smap = 1 << 21, cr4_pke = 1 << 22;
constexpr std::uint64_t efer_lma = 1 << 10, efer_nxe = 1 << 11;
constexpr std::uint64_t p = 1, w = 2, u = 4, a = 0x20, d = 0x40, ps = 0x80, nx = 1ull << 63;

// Sparse; words that nobody wrote read as zero below the end of memory.
struct GuestWords {
    std::map<std::uint64_t, std::uint64_t> words;
    std::uint64_t end = 1ull << 40;
    std::uint64_t read_only_from = ~0ull;
    unsigned reads = 0;
    std::function<void()> before_swap;

    std::optional<std::uint64_t> read64(std::uint64_t gpa) {
        ++reads;
        if (gpa % 8 || gpa >= end) return std::nullopt;
        return words[gpa];
    }
    Swap compare_exchange64(std::uint64_t gpa, std::uint64_t expected, std::uint64_t value) {
        if (before_swap) before_swap();
        if (gpa >= read_only_from) return Swap::unwritable;
        if (words[gpa] != expected) return Swap::changed;
        words[gpa] = value;
        return Swap::done;
    }
    void put32(std::uint64_t gpa, std::uint64_t value) {
        std::uint64_t &word = words[gpa & ~7ull];
        const unsigned shift = gpa & 4 ? 32 : 0;
        word = (word & ~(0xffff'ffffull << shift)) | value << shift;
    }
    std::uint64_t get32(std::uint64_t gpa) {
        return words[gpa & ~7ull] >> (gpa & 4 ? 32 : 0) & 0xffff'ffff;
    }
};

// Read-only view: the walk must then leave no trace.
struct GuestWordsReader {
    GuestWords *memory;
    std::optional<std::uint64_t> read64(std::uint64_t gpa) { return memory->read64(gpa); }
};

// A paging mode, and the entries on the way to one address, top first: tables at 0x1000, 0x2000 ...
struct Path {
    GuestPaging paging;
    GuestWords memory;
    std::uint64_t gva = 0;
    std::vector<std::uint64_t> slots; // gpa of each entry

    explicit Path(std::uint64_t cr4, std::uint64_t efer, std::uint64_t address,
                  std::uint64_t flags = p | w | u, std::uint64_t page = 0x9000) {
        paging.cr0 = cr0_pg | cr0_wp;
        paging.cr3 = 0x1000;
        paging.cr4 = cr4;
        paging.efer = efer;
        paging.phys_bits = 40;
        gva = address;
        const bool wide = cr4 & cr4_pae;
        const unsigned levels = efer & efer_lma ? (cr4 & cr4_la57 ? 5 : 4) : wide ? 3 : 2;
        for (unsigned i = 0; i < levels; ++i) {
            const unsigned shift = 12 + (levels - 1 - i) * (wide ? 9 : 10);
            const std::uint64_t index = address >> shift & (wide ? 511 : 1023);
            slots.push_back(0x1000 * (i + 1) + index * (wide ? 8 : 4));
            const bool pdpte = levels == 3 && i == 0;
            set(i, i + 1 == levels ? page | flags : 0x1000 * (i + 2) | (pdpte ? p : flags));
        }
    }

    bool wide() const { return paging.cr4 & cr4_pae; }
    void set(std::size_t i, std::uint64_t value) {
        if (wide())
            memory.words[slots[i]] = value;
        else
            memory.put32(slots[i], value);
    }
    std::uint64_t get(std::size_t i) {
        return wide() ? memory.words[slots[i]] : memory.get32(slots[i]);
    }
    std::size_t last() const { return slots.size() - 1; }

    // Sets A/D.
    Translation walk(Access access = {}) { return Walker{paging, memory}.translate(gva, access); }
    // Leaves no trace.
    Translation look(Access access = {}) {
        GuestWordsReader reader{&memory};
        return Walker{paging, reader}.translate(gva, access);
    }
};

inline Path legacy(std::uint64_t gva = 0xc012'3456, std::uint64_t flags = p | w | u) {
    return Path{cr4_pse, 0, gva, flags};
}
inline Path pae(std::uint64_t gva = 0xc012'3456, std::uint64_t flags = p | w | u) {
    return Path{cr4_pae, efer_nxe, gva, flags};
}
inline Path four(std::uint64_t gva = 0xffff'8123'4567'89ab, std::uint64_t flags = p | w | u) {
    return Path{cr4_pae, efer_nxe | efer_lma, gva, flags};
}
inline Path five(std::uint64_t gva = 0xff01'2345'6789'abcd, std::uint64_t flags = p | w | u) {
    return Path{cr4_pae | cr4_la57, efer_nxe | efer_lma, gva, flags};
}

} // namespace npt_test
