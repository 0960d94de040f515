// SPDX-License-Identifier: GPL-2.0-only
// stats.hpp - the statistics of a vCPU: the pages that the kernel writes, and copies of them that
// are whole.
#pragma once
#include <cstdint>
#include <vector>
#include "hwv.h"
#include "hwv/fd.hpp"

namespace hwv {

struct KeyCount {
    std::uint32_t reason; // hwv_exit_reason
    std::uint64_t key, count;
};

// A moment's copy. The exit under way counts as one of its reason.
struct Stats {
    hwv_vcpu_stats raw{};

    const hwv_exit_stats &exit(unsigned reason) const { return raw.exit[reason]; }
    std::uint64_t cycles(hwv_segment_kind kind) const { return raw.segment[kind].cycles; }
    std::uint64_t exits() const; // of all reasons
    std::uint64_t exits_to_user() const;
    std::vector<KeyCount> keys() const; // the most frequent first
};

// Upper bound, in cycles, below which the share (0..1) of the times lies.
template <typename Times>
std::uint64_t percentile(const Times &times, double share) {
    std::uint64_t seen = 0;
    for (unsigned b = 0; b + 1 < HWV_HISTOGRAM; ++b) {
        seen += times.histogram[b];
        const bool reached = static_cast<double>(seen) >= share * static_cast<double>(times.count);
        if (reached) return 2ull << b < times.max_cycles ? 2ull << b : times.max_cycles;
    }
    return times.max_cycles;
}

class StatsPage {
  public:
    // Of a vCPU's fd (vcpu = 0), or of an observer's. Throws Error, ENODATA where hwv counts
    // nothing.
    explicit StatsPage(int fd, std::uint32_t vcpu = 0);

    // While the vCPU runs too: copies until nothing moved meanwhile and every sum is right.
    Stats read() const;

  private:
    Mapping pages_;
};

// How often the vCPU left for something: neutral name of an exit reason, as all tools print it.
const char *exit_name(std::uint32_t reason);
// "guest", "kernel", "halted" ...
const char *segment_name(hwv_segment_kind kind);

} // namespace hwv
