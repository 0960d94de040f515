// SPDX-License-Identifier: GPL-2.0-only
// timeline.hpp - exits by time, reason and how long they took: what the pictures are drawn from.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>
#include "records/filter.hpp"
#include "records/profile.hpp"

namespace records {

struct Timeline {
    static constexpr unsigned bins = 160;
    using Row = std::array<std::uint32_t, bins>;

    std::uint64_t first = 0, last = 0; // TSC
    std::array<Row, HWV_EXIT_CPU_REASONS> exits{};
    // Of a reason: by log2 of the cycles; empty where it did not occur.
    std::array<std::vector<Row>, HWV_EXIT_CPU_REASONS> took;
    std::vector<std::pair<std::uint64_t, std::string>> marks; // TSC and text; the first 200

    unsigned bin(std::uint64_t tsc) const;
};

Timeline timeline_of(const Recording &recording, const Filter &filter, const RecordSums &sums);

} // namespace records
