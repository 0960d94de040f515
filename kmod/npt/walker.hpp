// SPDX-License-Identifier: GPL-2.0-only
// The guest's own page tables, walked as the processor does: 32-bit, PAE, 4-level and 5-level
// paging (AMD APM volume 2, "Page Translation and Protection"; Intel SDM volume 3, "Paging").
//
// Guest memory changes under the walk. Each entry is read once and judged by that value alone; an
// entry that changed before its accessed or dirty bit was set starts the walk anew, a bounded
// number of times.
#pragma once

#include "npt/entry.hpp"
#include "npt/walker_rules.hpp"

#include <optional>

namespace hwv::npt {

// Guest-physical memory in aligned 64-bit words; nothing where there is no memory.
template <typename R>
concept GuestMemory = requires(R &memory, std::uint64_t gpa) {
    { memory.read64(gpa) } -> std::same_as<std::optional<std::uint64_t>>;
};

enum class Swap : std::uint8_t { done, changed, unwritable };

// With this the walk sets accessed and dirty bits; without, it leaves no trace.
template <typename R>
concept GuestMemorySwap = GuestMemory<R> &&
    requires(R &memory, std::uint64_t gpa, std::uint64_t expected, std::uint64_t value) {
    { memory.compare_exchange64(gpa, expected, value) } -> std::same_as<Swap>;
};

enum class WalkStatus : std::uint8_t {
    ok,
    page_fault,    // error_code says why
    non_canonical, // #GP or #SS, by the segment used
    inaccessible,  // the entry at `gpa` is not (writable) memory
    retry,         // the guest keeps changing the entries: let it run on
};

struct Translation {
    WalkStatus status = WalkStatus::ok;
    std::uint64_t gpa = 0;
    std::uint64_t page_size = npt::page_size;
    Perms perms = perms_all; // what an access of this privilege may do there
    std::uint32_t error_code = 0;
};

template <GuestMemory R>
class Walker {
  public:
    static constexpr unsigned max_attempts = 8;

    constexpr Walker(const GuestPaging &paging, R &memory) : paging_(paging), memory_(memory) {}

    constexpr Translation translate(std::uint64_t gva, Access access) {
        if (!paging_.enabled()) return {.gpa = gva & 0xffff'ffff};
        if (!paging_.canonical(gva)) return {.status = WalkStatus::non_canonical};
        if (!paging_.long_mode()) gva &= 0xffff'ffff;
        for (unsigned attempt = 0; attempt < max_attempts; ++attempt) {
            const Translation result = walk(gva, access);
            if (result.status != WalkStatus::retry) return result;
        }
        return {.status = WalkStatus::retry};
    }

  private:
    // An entry as it was read: a half of its word outside PAE.
    struct Step {
        std::uint64_t gpa = 0;
        std::uint64_t word = 0;
        unsigned shift = 0;
        std::uint64_t entry = 0;
        bool pdpte = false; // of PAE: without rights and accessed bit
    };

    constexpr Translation fault(Access access, std::uint32_t cause) const {
        return {.status = WalkStatus::page_fault,
                .error_code = cause | access_error_bits(paging_, access)};
    }

    // False: there is no memory at step.gpa.
    constexpr bool read(Step &step, std::uint64_t table, unsigned level, std::uint64_t gva) const {
        const std::uint64_t i = paging_.index(gva, level);
        step.pdpte = paging_.pae_legacy() && level == 3;
        if (step.pdpte && paging_.pdptes) {
            step.entry = (*paging_.pdptes)[i];
            return true;
        }
        const std::uint64_t gpa = table + i * paging_.entry_bytes();
        step.gpa = gpa & ~std::uint64_t{7};
        step.shift = gpa & 4 ? 32 : 0;
        const std::optional<std::uint64_t> word = memory_.read64(step.gpa);
        step.word = word.value_or(0);
        step.entry = paging_.pae() ? step.word : (step.word >> step.shift) & 0xffff'ffff;
        return word.has_value();
    }

    constexpr Translation walk(std::uint64_t gva, Access access) {
        std::array<Step, max_depth> path{};
        PageRights rights;
        std::uint64_t table = paging_.root();
        const unsigned top = paging_.levels();
        for (unsigned level = top;; --level) {
            Step &step = path[top - level];
            if (!read(step, table, level, gva))
                return {.status = WalkStatus::inaccessible, .gpa = step.gpa};
            if (!(step.entry & pte::present)) return fault(access, 0);
            if (step.entry & reserved_bits(paging_, level, step.entry))
                return fault(access, pf::present | pf::reserved);
            if (!step.pdpte) rights.restrict_by(paging_, step.entry);
            if (is_page(paging_, level, step.entry)) {
                rights.key = (step.entry >> 59) & 15;
                return finish(path, top - level, level, gva, access, rights);
            }
            table = step.entry & pte::address;
        }
    }

    constexpr Translation finish(const std::array<Step, max_depth> &path, unsigned last,
                                 unsigned level, std::uint64_t gva, Access access,
                                 const PageRights &rights) {
        if (const std::uint32_t cause = denial(paging_, rights, access))
            return fault(access, cause);
        if constexpr (GuestMemorySwap<R>) {
            for (unsigned i = 0; i <= last; ++i) {
                const bool written = i == last && access.kind == AccessKind::write;
                const std::uint64_t bits = pte::accessed | (written ? pte::dirty : 0);
                const Swap swap = mark(path[i], bits);
                if (swap == Swap::changed) return {.status = WalkStatus::retry};
                if (swap == Swap::unwritable)
                    return {.status = WalkStatus::inaccessible, .gpa = path[i].gpa};
            }
        }
        const std::uint64_t size = page_bytes(paging_, level);
        return {.gpa = page_base(paging_, level, path[last].entry) | (gva & (size - 1)),
                .page_size = size,
                .perms = allowed(paging_, rights, access)};
    }

    constexpr Swap mark(const Step &step, std::uint64_t bits) {
        if (step.pdpte || (step.entry & bits) == bits) return Swap::done;
        return memory_.compare_exchange64(step.gpa, step.word, step.word | bits << step.shift);
    }

    const GuestPaging &paging_;
    R &memory_;
};

} // namespace hwv::npt
