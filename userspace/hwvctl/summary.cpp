// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/summary.hpp"
#include <algorithm>
#include <numeric>

namespace hwvctl {
namespace {

template <typename Times>
void add(Times &sum, const Times &one) {
    sum.count += one.count;
    sum.cycles += one.cycles;
    sum.max_cycles = std::max(sum.max_cycles, one.max_cycles);
    for (unsigned b = 0; b < HWV_HISTOGRAM; ++b)
        sum.histogram[b] += one.histogram[b];
}

template <typename Times>
void subtract(Times &now, const Times &before) {
    now.count -= before.count;
    now.cycles -= before.cycles;
    std::uint64_t bound = 0;
    for (unsigned b = 0; b < HWV_HISTOGRAM; ++b) {
        now.histogram[b] -= before.histogram[b];
        if (now.histogram[b]) bound = b + 1 < HWV_HISTOGRAM ? (2ull << b) - 1 : ~0ull;
    }
    if (now.max_cycles == before.max_cycles)
        now.max_cycles = std::min<std::uint64_t>(now.max_cycles, bound);
}

} // namespace

std::uint64_t Summary::exits() const {
    return std::accumulate(
        exit.begin(), exit.end(), std::uint64_t{0},
        [](std::uint64_t sum, const hwv_exit_stats &e) { return sum + e.count; });
}

std::uint64_t Summary::exits_to_user() const {
    return std::accumulate(
        exit.begin(), exit.end(), std::uint64_t{0},
        [](std::uint64_t sum, const hwv_exit_stats &e) { return sum + e.to_user; });
}

std::uint64_t Summary::exit_cycles() const {
    return std::accumulate(
        exit.begin(), exit.end(), std::uint64_t{0},
        [](std::uint64_t sum, const hwv_exit_stats &e) { return sum + e.cycles; });
}

std::vector<std::uint32_t> Summary::occurred() const {
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < exit.size(); ++i)
        if (exit[i].count) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return exit[a].count > exit[b].count;
    });
    return order;
}

std::vector<hwv::KeyCount> Summary::keys_of(std::uint32_t reason) const {
    std::vector<hwv::KeyCount> out;
    for (auto k = keys.lower_bound({reason, 0}); k != keys.end() && k->first.first == reason; ++k)
        out.push_back({reason, k->first.second, k->second});
    std::stable_sort(out.begin(), out.end(), [](const hwv::KeyCount &a, const hwv::KeyCount &b) {
        return a.count > b.count;
    });
    return out;
}

std::uint64_t Summary::other(std::uint32_t reason) const {
    std::uint64_t known = 0;
    for (const hwv::KeyCount &k : keys_of(reason))
        known += k.count;
    return exit[reason].count > known ? exit[reason].count - known : 0;
}

Summary summarize(std::span<const hwv::Stats> vcpus) {
    Summary sum;
    for (const hwv::Stats &s : vcpus) {
        ++sum.vcpus;
        sum.entries += s.raw.entries;
        sum.cycles += s.raw.last_tsc - s.raw.first_tsc;
        for (std::size_t i = 0; i < sum.exit.size(); ++i) {
            add(sum.exit[i], s.raw.exit[i]);
            sum.exit[i].to_user += s.raw.exit[i].to_user;
        }
        for (std::size_t i = 0; i < sum.segment.size(); ++i)
            add(sum.segment[i], s.raw.segment[i]);
        for (const hwv::KeyCount &k : s.keys())
            sum.keys[{k.reason, k.key}] += k.count;
    }
    return sum;
}

Summary difference(const Summary &now, const Summary &before) {
    Summary out = now;
    out.entries -= before.entries;
    out.cycles -= before.cycles;
    for (std::size_t i = 0; i < out.exit.size(); ++i) {
        subtract(out.exit[i], before.exit[i]);
        out.exit[i].to_user -= before.exit[i].to_user;
    }
    for (std::size_t i = 0; i < out.segment.size(); ++i)
        subtract(out.segment[i], before.segment[i]);
    // A key that lost its slot and came back started anew.
    for (auto &[key, count] : out.keys) {
        const auto was = before.keys.find(key);
        if (was != before.keys.end() && was->second <= count) count -= was->second;
    }
    std::erase_if(out.keys, [](const auto &k) { return k.second == 0; });
    return out;
}

Watch::Watch(const hwv::Observer &observer) {
    for (const std::uint32_t vcpu : observer.vcpus())
        pages_.push_back(observer.stats(vcpu));
}

Watch::Watch(const hwv::Observer &observer, std::uint32_t vcpu) {
    pages_.push_back(observer.stats(vcpu));
}

Summary Watch::read() const {
    std::vector<hwv::Stats> stats;
    for (const hwv::StatsPage &page : pages_)
        stats.push_back(page.read());
    return summarize(stats);
}

} // namespace hwvctl
