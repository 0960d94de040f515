// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/exit_table.hpp"
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

namespace hwvctl {
namespace {

double to_us(std::uint64_t cycles, std::uint32_t tsc_khz) {
    return tsc_khz ? static_cast<double>(cycles) * 1000.0 / tsc_khz : 0;
}

// Reasons that occurred, the most frequent first.
std::vector<unsigned> occurred(const hwv::Stats &stats) {
    std::vector<unsigned> order;
    for (unsigned i = 0; i < stats.exits.size(); ++i)
        if (stats.exits[i].count) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](unsigned a, unsigned b) {
        return stats.exits[a].count > stats.exits[b].count;
    });
    return order;
}

std::uint64_t total(const hwv::Stats &stats, __u64 hwv_exit_stats::*field) {
    return std::accumulate(
        stats.exits.begin(), stats.exits.end(), std::uint64_t{0},
        [field](std::uint64_t sum, const hwv_exit_stats &s) { return sum + s.*field; });
}

// Upper bound of the bucket in which the given share of the mass is reached.
std::uint64_t percentile(const hwv_exit_stats &s, double share) {
    std::uint64_t seen = 0;
    for (unsigned b = 0; b < HWV_HISTOGRAM; ++b) {
        seen += s.histogram[b];
        if (static_cast<double>(seen) >= share * static_cast<double>(s.count))
            return std::min<std::uint64_t>(2ull << b, s.max_cycles);
    }
    return s.max_cycles;
}

} // namespace

std::string exit_table(const hwv::Stats &stats, std::uint32_t tsc_khz) {
    char line[160];
    std::string out =
        "exit                    count  share    to user    mean us     p99 us     max us\n";
    const std::uint64_t all = total(stats, &hwv_exit_stats::count);
    for (const unsigned i : occurred(stats)) {
        const hwv_exit_stats &s = stats.exits[i];
        std::snprintf(line, sizeof line, "%-18s %10llu %5.1f%% %10llu %10.2f %10.2f %10.2f\n",
                      hwv::exit_name(i), static_cast<unsigned long long>(s.count),
                      100.0 * static_cast<double>(s.count) / static_cast<double>(all),
                      static_cast<unsigned long long>(s.to_user),
                      to_us(s.cycles, tsc_khz) / static_cast<double>(s.count),
                      to_us(percentile(s, 0.99), tsc_khz), to_us(s.max_cycles, tsc_khz));
        out += line;
    }
    std::snprintf(line, sizeof line, "%-18s %10llu        %10llu\n", "total",
                  static_cast<unsigned long long>(all),
                  static_cast<unsigned long long>(total(stats, &hwv_exit_stats::to_user)));
    out += line;
    const hwv_time &t = stats.time;
    std::snprintf(line, sizeof line,
                  "time us: guest %.0f, kernel %.0f, user %.0f, halted %.0f, descheduled %.0f\n",
                  to_us(t.guest, tsc_khz), to_us(t.kernel, tsc_khz), to_us(t.user, tsc_khz),
                  to_us(t.halted, tsc_khz), to_us(t.descheduled, tsc_khz));
    return out + line;
}

std::string exit_json(const hwv::Stats &stats, std::uint32_t tsc_khz) {
    nlohmann::json exits = nlohmann::json::array();
    for (const unsigned i : occurred(stats)) {
        const hwv_exit_stats &s = stats.exits[i];
        exits.push_back({{"reason", hwv::exit_name(i)},
                         {"count", s.count},
                         {"to_user", s.to_user},
                         {"cycles", s.cycles},
                         {"max_cycles", s.max_cycles},
                         {"histogram", s.histogram}});
    }
    const hwv_time &t = stats.time;
    const nlohmann::json all{{"tsc_khz", tsc_khz},
                             {"entries", stats.entries},
                             {"exits", exits},
                             {"time_cycles",
                              {{"guest", t.guest},
                               {"kernel", t.kernel},
                               {"user", t.user},
                               {"halted", t.halted},
                               {"descheduled", t.descheduled},
                               {"first_tsc", t.first_tsc},
                               {"last_tsc", t.last_tsc}}}};
    return all.dump(2) + "\n";
}

} // namespace hwvctl
