// SPDX-License-Identifier: GPL-2.0-only
#include "records/timeline.hpp"
#include <algorithm>
#include "records/describe.hpp"
#include "records/merge.hpp"

namespace records {

unsigned Timeline::bin(std::uint64_t tsc) const {
    const std::uint64_t length = last > first ? last - first : 1;
    const std::uint64_t at = tsc > first ? std::min(tsc - first, length) : 0;
    const double share = static_cast<double>(at) / static_cast<double>(length);
    return std::min(bins - 1, static_cast<unsigned>(share * bins));
}

Timeline timeline_of(const Recording &recording, const Filter &filter, const RecordSums &sums) {
    constexpr std::size_t most_marks = 200;
    Timeline out;
    out.first = sums.first_tsc;
    out.last = sums.last_tsc;
    in_order(recording, [&](const hwv_record &r) {
        if (!filter.matches(r, recording.identity().tsc_khz)) return;
        const unsigned reason = std::min<unsigned>(r.reason, HWV_EXIT_UNKNOWN);
        const unsigned bin = out.bin(r.tsc_exit);
        ++out.exits[reason][bin];
        if (out.took[reason].empty()) out.took[reason].resize(HWV_HISTOGRAM);
        const std::uint64_t cycles = took(r);
        ++out.took[reason][cycles ? 63u - static_cast<unsigned>(__builtin_clzll(cycles)) : 0][bin];
        if (const auto mark = mark_text(r); mark && out.marks.size() < most_marks)
            out.marks.emplace_back(r.tsc_exit, *mark);
    });
    return out;
}

} // namespace records
