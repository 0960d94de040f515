// SPDX-License-Identifier: GPL-2.0-only
// summary.hpp - the statistics of several vCPUs as one, and what came to them between two moments.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>
#include "hwv/observer.hpp"

namespace hwvctl {

struct Summary {
    std::uint32_t vcpus = 0;
    std::uint64_t entries = 0;
    std::uint64_t cycles = 0; // from first to last, of all vCPUs: the sum of the segments
    std::array<hwv_exit_stats, HWV_EXIT_CPU_REASONS> exit{};
    std::array<hwv_segment_stats, HWV_TIME_SEGMENTS> segment{};
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> keys; // reason, key: count

    std::uint64_t exits() const;
    std::uint64_t exits_to_user() const;
    std::uint64_t exit_cycles() const; // the exits' own time
    // Reasons that occurred, the most frequent first.
    std::vector<std::uint32_t> occurred() const;
    // Of one reason, the most frequent first.
    std::vector<hwv::KeyCount> keys_of(std::uint32_t reason) const;
    // What the keys of a reason lack of its count.
    std::uint64_t other(std::uint32_t reason) const;
};

Summary summarize(std::span<const hwv::Stats> vcpus);

// What came between. A maximum that was not exceeded meanwhile is known by its bucket alone.
Summary difference(const Summary &now, const Summary &before);

// Lower bound, in cycles, of the times.
template <typename Times>
std::uint64_t least(const Times &times) {
    for (unsigned b = 0; b < HWV_HISTOGRAM; ++b)
        if (times.histogram[b]) return b ? std::uint64_t{1} << b : 0;
    return 0;
}

// The statistics of a VM's vCPUs, mapped once.
class Watch {
  public:
    explicit Watch(const hwv::Observer &observer);
    Watch(const hwv::Observer &observer, std::uint32_t vcpu);
    Summary read() const;

  private:
    std::vector<hwv::StatsPage> pages_;
};

} // namespace hwvctl
