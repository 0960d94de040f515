// SPDX-License-Identifier: GPL-2.0-only
// A second opinion on the two formats: entries decoded by the manuals' bit numbers, without the
// engine.
#pragma once

#include "npt/format_ept.hpp"
#include "npt/format_npt.hpp"

namespace npt_test {

using namespace hwv::npt;

// An entry as the manuals describe it, told apart from the engine's own opinion.
struct HwEntry {
    bool present = false;
    bool leaf = false;
    std::uint64_t pa = 0;
    Perms perms{};
    bool legal = true;
};

constexpr std::uint64_t field(std::uint64_t value, unsigned high, unsigned low) {
    return (value >> low) & ((2ull << (high - low)) - 1);
}

struct NptKind {
    using Format = NptFormat;
    static constexpr std::uint64_t mask = 0;
    static constexpr unsigned depth = 4;
    static constexpr bool tracks = true;
    static constexpr std::uint64_t accessed = 1 << 5, dirty = 1 << 6;
    static Format format() { return Format{}; }

    static HwEntry decode_with(std::uint64_t e, unsigned level, std::uint64_t c_bit) {
        HwEntry out;
        out.present = field(e, 0, 0);
        out.leaf = level == 1 || field(e, 7, 7);
        out.perms = {out.present, bool(field(e, 1, 1)), !field(e, 63, 63)};
        out.pa = (field(e, 51, 12) << 12) & ~c_bit;
        const bool user = field(e, 2, 2);
        const bool write_back = field(e, 4, 3) == 0 && (level > 1 || field(e, 7, 7) == 0);
        const unsigned low = 12 + 9 * (level - 1);
        const bool base_clean = !out.leaf || level == 1 || field(e & ~c_bit, low - 1, 12) == 0;
        const bool size_legal = !field(e, 7, 7) || level <= 3;
        out.legal = user && write_back && base_clean && size_legal && (e & c_bit) == c_bit &&
                    field(e, 62, 52) == 0;
        return out;
    }
    static HwEntry decode(std::uint64_t e, unsigned level) { return decode_with(e, level, mask); }
};

struct NptSmeKind : NptKind {
    static constexpr std::uint64_t mask = 1ull << 47;
    static constexpr unsigned depth = 5;
    static Format format() { return Format{mask}; }
    static HwEntry decode(std::uint64_t e, unsigned level) { return decode_with(e, level, mask); }
};

struct EptKind {
    using Format = EptFormat;
    static constexpr std::uint64_t mask = 0;
    static constexpr unsigned depth = 4;
    static constexpr bool tracks = true;
    static constexpr std::uint64_t accessed = 1 << 8, dirty = 1 << 9;
    static Format format() { return Format{{.execute_only = true, .accessed_dirty = true}}; }

    static HwEntry decode_with(std::uint64_t e, unsigned level, bool execute_only) {
        HwEntry out;
        out.present = field(e, 2, 0);
        out.leaf = level == 1 || field(e, 7, 7);
        out.perms = {bool(field(e, 0, 0)), bool(field(e, 1, 1)), bool(field(e, 2, 2))};
        out.pa = field(e, 51, 12) << 12;
        const unsigned low = 12 + 9 * (level - 1);
        const bool table_legal = field(e, 7, 3) == 0;
        const bool leaf_legal = field(e, 5, 3) == 6 && level <= 3 &&
                                field(e, 7, 7) == (level > 1) &&
                                (level == 1 || field(e, low - 1, 12) == 0);
        const bool perms_legal = out.perms.read || (!out.perms.write && execute_only);
        out.legal = perms_legal && (out.leaf ? leaf_legal : table_legal) && field(e, 63, 52) == 0;
        return out;
    }
    static HwEntry decode(std::uint64_t e, unsigned level) { return decode_with(e, level, true); }
};

// Before Haswell: no accessed and dirty bits, no execute-only.
struct EptOldKind : EptKind {
    static constexpr bool tracks = false;
    static Format format() { return Format{}; }
    static HwEntry decode(std::uint64_t e, unsigned level) { return decode_with(e, level, false); }
};

struct EptDeepKind : EptKind {
    static constexpr unsigned depth = 5;
};

} // namespace npt_test
