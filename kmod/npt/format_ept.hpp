// SPDX-License-Identifier: GPL-2.0-only
// Intel EPT entries (Intel SDM volume 3, "EPT Translation Mechanism", "EPT and Memory Typing").
#pragma once

#include "npt/entry.hpp"

namespace hwv::npt {

// What this CPU's EPT can do (IA32_VMX_EPT_VPID_CAP).
struct EptCaps {
    bool execute_only = false;
    bool accessed_dirty = false;
    Level largest = Level::page_1g;
};

class EptFormat {
  public:
    static constexpr std::uint64_t r = 1ull << 0;
    static constexpr std::uint64_t w = 1ull << 1;
    static constexpr std::uint64_t x = 1ull << 2;
    static constexpr std::uint64_t memory_type_wb = 6ull << 3;
    static constexpr std::uint64_t ipat = 1ull << 6;
    static constexpr std::uint64_t ps = 1ull << 7;
    static constexpr std::uint64_t a = 1ull << 8;
    static constexpr std::uint64_t d = 1ull << 9;
    static constexpr std::uint64_t was_dirty = 1ull << 11; // ignored by the hardware
    static constexpr std::uint64_t eptp_accessed_dirty = 1ull << 6;

    constexpr explicit EptFormat(EptCaps caps = {}, std::uint64_t hw_mask = 0)
        : hw_(hw_mask), caps_(caps) {}

    constexpr bool present(std::uint64_t entry) const { return entry & (r | w | x); }
    constexpr bool is_leaf(std::uint64_t entry, unsigned level) const {
        return level == 1 || (entry & ps);
    }
    constexpr std::uint64_t address(std::uint64_t entry) const { return hw_.from_entry(entry); }
    constexpr Perms perms(std::uint64_t entry) const {
        return {bool(entry & r), bool(entry & w), bool(entry & x)};
    }
    // Without the bits the only safe answer about a page that the guest can reach is "yes".
    constexpr bool accessed(std::uint64_t entry) const {
        return caps_.accessed_dirty ? entry & a : present(entry);
    }
    constexpr bool dirty(std::uint64_t entry) const {
        return written(entry) || (entry & was_dirty);
    }
    constexpr bool written(std::uint64_t entry) const {
        return entry & (caps_.accessed_dirty ? d : d | w);
    }
    constexpr bool tracks_access() const { return caps_.accessed_dirty; }
    constexpr Level largest() const { return caps_.largest; }

    // Writable but not readable is a misconfiguration always, execute-only without the capability.
    constexpr bool expressible(Perms perms) const {
        return perms.read || (!perms.write && perms.exec && caps_.execute_only);
    }
    constexpr bool encodable(const Leaf &leaf) const {
        return expressible(leaf.perms) && hw_.valid_frame(leaf.pfn, pages(leaf.level));
    }
    constexpr std::uint64_t make_table(std::uint64_t pa) const { return hw_.to_hw(pa) | r | w | x; }
    // The memory behind a leaf is ordinary host memory, which the host maps write-back: IPAT keeps
    // the guest's PAT from making an alias of another type.
    constexpr std::uint64_t make_leaf(const Leaf &leaf) const {
        std::uint64_t entry = hw_.to_hw(leaf.pfn << page_shift) | memory_type_wb | ipat;
        entry |= leaf.level == Level::page_4k ? 0 : ps;
        entry |= leaf.dirty ? d : 0;
        return with_perms(with_accessed(entry, leaf.accessed), leaf.perms);
    }
    // Without dirty bits a leaf that stops being writable may have been written; the
    // hardware then ignores d.
    constexpr std::uint64_t with_perms(std::uint64_t entry, Perms perms) const {
        if (!caps_.accessed_dirty && (entry & w)) entry |= d;
        entry &= ~(r | w | x);
        return entry | (perms.read ? r : 0) | (perms.write ? w : 0) | (perms.exec ? x : 0);
    }
    constexpr std::uint64_t with_accessed(std::uint64_t entry, bool on) const {
        return on && caps_.accessed_dirty ? entry | a : entry & ~a;
    }
    // The dirty log may start anew; that the host's page is dirty is not forgotten.
    constexpr std::uint64_t cleaned(std::uint64_t entry) const {
        return entry & d ? (entry & ~d) | was_dirty : entry;
    }
    constexpr std::uint64_t part(std::uint64_t entry, unsigned below, std::uint64_t index) const {
        return (below == 1 ? entry & ~ps : entry) + index * pages(below) * page_size;
    }
    // EPTP: memory type of the tables, depth minus one, and the A/D switch.
    constexpr std::uint64_t root_pointer(std::uint64_t pa, unsigned depth) const {
        return hw_.to_hw(pa) | 6 | (std::uint64_t{depth - 1} << 3) |
               (caps_.accessed_dirty ? eptp_accessed_dirty : 0);
    }

  private:
    HwAddress hw_;
    EptCaps caps_;
};

static_assert(Format<EptFormat>);

namespace ept_check {
inline constexpr EptFormat full{{true, true}};
inline constexpr EptFormat old{};
inline constexpr Leaf rwx{0, 0x12345, Level::page_4k, perms_all};
inline constexpr Leaf ro_2m{0, 0x400, Level::page_2m, {true, false, false}, true, true};
inline constexpr Leaf exec_only{0, 0x400, Level::page_4k, {false, false, true}};

static_assert(full.make_table(0x1234'5000) == 0x1234'5007);
static_assert(full.make_leaf(rwx) == 0x1234'5077);
static_assert(full.make_leaf(ro_2m) == 0x0040'03f1);
static_assert(old.make_leaf(ro_2m) == 0x0040'02f1);
static_assert(full.cleaned(full.make_leaf(ro_2m)) == 0x0040'09f1);
static_assert(full.part(full.make_leaf(ro_2m), 1, 511) == 0x005f'f371);
static_assert(full.root_pointer(0x5000, 4) == 0x505e);
static_assert(old.root_pointer(0x5000, 5) == 0x5026);
static_assert(full.encodable(exec_only) && !old.encodable(exec_only));
static_assert(!full.encodable({0, 0, Level::page_4k, {false, true, true}}));
static_assert(!full.encodable({0, 0, Level::page_4k, {}}));
static_assert(full.perms(full.make_leaf(exec_only)) == exec_only.perms);
static_assert(!full.dirty(full.make_leaf(rwx)) && old.dirty(old.make_leaf(rwx)));
static_assert(old.accessed(old.make_leaf(rwx)) && !old.dirty(old.make_leaf(exec_only)));
static_assert(old.dirty(old.with_perms(old.make_leaf(rwx), {true, false, true})));
static_assert(EptFormat{{}, 1ull << 47}.make_leaf(rwx) == 0x0000'8000'1234'5077);
} // namespace ept_check

} // namespace hwv::npt
