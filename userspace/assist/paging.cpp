// SPDX-License-Identifier: GPL-2.0-only
#include "assist/paging.hpp"

#include <atomic>
#include <optional>

#include "assist/control_bits.hpp"

namespace assist {
namespace {

constexpr std::uint64_t pte_present = 1 << 0;
constexpr std::uint64_t pte_write = 1 << 1;
constexpr std::uint64_t pte_user = 1 << 2;
constexpr std::uint64_t pte_accessed = 1 << 5;
constexpr std::uint64_t pte_dirty = 1 << 6;
constexpr std::uint64_t pte_large = 1 << 7;
constexpr std::uint64_t pte_no_execute = 1ULL << 63;
constexpr std::uint64_t address_mask = 0x000f'ffff'ffff'f000;

constexpr std::uint64_t bits(unsigned high, unsigned low) {
    return (~std::uint64_t{0} >> (63 - high)) & (~std::uint64_t{0} << low);
}

// One paging mode: levels count from the root (highest) to 1.
struct Format {
    unsigned levels;
    unsigned entry_bytes;
    unsigned index_bits;
    bool pae_root; // the PAE page-directory-pointer table: 4 entries without permissions
};

constexpr Format format_32bit{2, 4, 10, false};
constexpr Format format_pae{3, 8, 9, true};
constexpr Format format_4level{4, 8, 9, false};
constexpr Format format_5level{5, 8, 9, false};

Format format_of(const PagingState &state) {
    if ((state.cr4 & cr4_pae) == 0) return format_32bit;
    if ((state.efer & efer_lma) == 0) return format_pae;
    return (state.cr4 & cr4_la57) != 0 ? format_5level : format_4level;
}

struct Entry {
    std::byte *at = nullptr;
    std::uint64_t value = 0;
};

class Walk {
  public:
    Walk(PhysicalMemory &memory, const PagingState &state, std::uint64_t linear, Access access)
        : memory_(memory),
          state_(state),
          format_(format_of(state)),
          linear_(linear),
          access_(access) {}

    // Nothing when another CPU changed an entry between its check and its accessed bit: walk again.
    std::optional<std::uint64_t> run();

  private:
    Entry load(std::uint64_t table, unsigned level) const;
    bool is_leaf(const Entry &entry, unsigned level) const;
    std::uint64_t reserved_bits(const Entry &entry, unsigned level, bool leaf) const;
    void check_present(const Entry &entry, unsigned level, bool leaf) const;
    void check_rights(std::uint64_t leaf) const;
    void check_key(std::uint64_t leaf) const;
    bool mark(const Entry &entry, std::uint64_t flags) const;
    std::uint64_t address(const Entry &entry, unsigned level) const;
    unsigned shift(unsigned level) const { return 12 + (level - 1) * format_.index_bits; }
    bool is_pae_root(unsigned level) const { return format_.pae_root && level == 3; }
    [[noreturn]] void fault(std::uint32_t code) const;

    PhysicalMemory &memory_;
    const PagingState &state_;
    Format format_;
    std::uint64_t linear_;
    Access access_;
    // Rights are the conjunction over all levels.
    bool writable_ = true;
    bool user_ = true;
    bool no_execute_ = false;
};

void Walk::fault(std::uint32_t code) const {
    if (access_ == Access::write) code |= pf_write;
    if (state_.user) code |= pf_user;
    const bool reports_fetch = (state_.cr4 & cr4_smep) != 0 ||
                               ((state_.cr4 & cr4_pae) != 0 && (state_.efer & efer_nxe) != 0);
    if (access_ == Access::execute && reports_fetch) code |= pf_fetch;
    throw Fault{vector_page_fault, true, code, linear_};
}

Entry Walk::load(std::uint64_t table, unsigned level) const {
    const auto index_bits = is_pae_root(level) ? 2 : format_.index_bits;
    const auto index = linear_ >> shift(level) & ((1U << index_bits) - 1);
    auto *at = memory_.ram(table + index * format_.entry_bytes, format_.entry_bytes, false);
    if (at == nullptr) throw Unsupported{"a guest page table is not in RAM"};
    if (format_.entry_bytes == 4)
        return {at, std::atomic_ref{*reinterpret_cast<std::uint32_t *>(at)}.load()};
    return {at, std::atomic_ref{*reinterpret_cast<std::uint64_t *>(at)}.load()};
}

bool Walk::is_leaf(const Entry &entry, unsigned level) const {
    if (level == 1) return true;
    if ((entry.value & pte_large) == 0) return false;
    if (format_.entry_bytes == 4) return (state_.cr4 & cr4_pse) != 0;
    return level == 2 || (level == 3 && !format_.pae_root);
}

std::uint64_t Walk::reserved_bits(const Entry &entry, unsigned level, bool leaf) const {
    if (format_.entry_bytes == 4) // PSE-36: bits 20:13 are address bits 39:32
        return leaf && level == 2 ? bits(21, 21) : 0;
    std::uint64_t reserved = state_.physical_bits < 52 ? bits(51, state_.physical_bits) : 0;
    if (is_pae_root(level)) return reserved | bits(63, 52) | bits(8, 5) | bits(2, 1);
    if ((state_.efer & efer_nxe) == 0) reserved |= pte_no_execute;
    if (format_.pae_root) reserved |= bits(62, 52);
    if (leaf && level > 1) reserved |= bits(shift(level) - 1, 13); // bit 12 is PAT
    const bool has_no_large = level >= 4;
    return has_no_large && (entry.value & pte_large) != 0 ? reserved | pte_large : reserved;
}

void Walk::check_present(const Entry &entry, unsigned level, bool leaf) const {
    if ((entry.value & pte_present) == 0) fault(0);
    if ((entry.value & reserved_bits(entry, level, leaf)) != 0) fault(pf_present | pf_reserved);
}

// SDM, "Protection Keys": user pages only; for supervisor accesses too, under CR0.WP for writes.
void Walk::check_key(std::uint64_t leaf) const {
    const bool on = (state_.efer & efer_lma) != 0 && (state_.cr4 & cr4_pke) != 0;
    if (!on || !user_ || access_ == Access::execute) return;
    const auto key = leaf >> 59 & 0xf;
    const bool access_disabled = (state_.pkru >> (2 * key) & 1) != 0;
    const bool write_disabled = (state_.pkru >> (2 * key + 1) & 1) != 0;
    const bool write_counts = state_.user || (state_.cr0 & cr0_wp) != 0;
    if (access_disabled || (access_ == Access::write && write_disabled && write_counts))
        fault(pf_present | pf_protection_key);
}

void Walk::check_rights(std::uint64_t leaf) const {
    const bool write_protected = !writable_ && (state_.user || (state_.cr0 & cr0_wp) != 0);
    bool allowed = user_ || !state_.user;
    if (access_ == Access::write) allowed &= !write_protected;
    if (access_ == Access::execute)
        allowed &= !no_execute_ && (state_.user || !user_ || (state_.cr4 & cr4_smep) == 0);
    else if (!state_.user && user_)
        allowed &= (state_.cr4 & cr4_smap) == 0 || state_.access_allowed;
    if (!allowed) fault(pf_present);
    check_key(leaf);
}

template <typename T>
bool set_bits(std::byte *at, std::uint64_t seen, std::uint64_t flags) {
    auto expected = static_cast<T>(seen);
    return std::atomic_ref{*reinterpret_cast<T *>(at)}.compare_exchange_strong(
        expected, static_cast<T>(seen | flags));
}

bool Walk::mark(const Entry &entry, std::uint64_t flags) const {
    if ((entry.value & flags) == flags) return true;
    return format_.entry_bytes == 4 ? set_bits<std::uint32_t>(entry.at, entry.value, flags)
                                    : set_bits<std::uint64_t>(entry.at, entry.value, flags);
}

std::uint64_t Walk::address(const Entry &entry, unsigned level) const {
    const auto offset = linear_ & (bits(shift(level) - 1, 0));
    if (format_.entry_bytes == 4 && level == 2)
        return (entry.value & bits(31, 22)) | (entry.value >> 13 & 0xff) << 32 | offset;
    return (entry.value & address_mask & ~bits(shift(level) - 1, 0)) | offset;
}

std::optional<std::uint64_t> Walk::run() {
    auto table = state_.cr3 & (format_.pae_root           ? bits(31, 5)
                               : format_.entry_bytes == 4 ? bits(31, 12)
                                                          : address_mask);
    for (auto level = format_.levels;; --level) {
        const auto entry = load(table, level);
        const bool leaf = is_leaf(entry, level);
        check_present(entry, level, leaf);
        if (!is_pae_root(level)) {
            writable_ &= (entry.value & pte_write) != 0;
            user_ &= (entry.value & pte_user) != 0;
            no_execute_ |= format_.entry_bytes == 8 && (entry.value & pte_no_execute) != 0;
        }
        if (leaf) {
            check_rights(entry.value);
            const auto flags = pte_accessed | (access_ == Access::write ? pte_dirty : 0);
            if (!mark(entry, flags)) return std::nullopt;
            return address(entry, level);
        }
        if (!is_pae_root(level) && !mark(entry, pte_accessed)) return std::nullopt;
        table = entry.value & (format_.entry_bytes == 4 ? bits(31, 12) : address_mask);
    }
}

} // namespace

std::uint64_t translate(PhysicalMemory &memory, const PagingState &state, std::uint64_t linear,
                        Access access) {
    if ((state.cr0 & cr0_pg) == 0) return linear & 0xffff'ffff;
    constexpr unsigned attempts = 64; // more means that somebody does nothing but change this entry
    for (unsigned i = 0; i < attempts; ++i)
        if (const auto gpa = Walk{memory, state, linear, access}.run()) return *gpa;
    throw Unsupported{"a guest page table changes all the time"};
}

Place translate_range(PhysicalMemory &memory, const PagingState &state, std::uint64_t linear,
                      unsigned size, Access access) {
    Place place;
    const auto first = static_cast<unsigned>(
        std::min<std::uint64_t>(size, page_size - (linear & (page_size - 1))));
    place.pieces[place.count++] = {translate(memory, state, linear, access), first};
    if (first == size) return place;
    auto next = linear + first;
    if ((state.efer & efer_lma) == 0) next &= 0xffff'ffff;
    place.pieces[place.count++] = {translate(memory, state, next, access), size - first};
    return place;
}

} // namespace assist
