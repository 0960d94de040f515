// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/exit_table.hpp"
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

namespace hwvctl {
namespace {

double to_us(std::uint64_t cycles, std::uint32_t tsc_khz) {
    return tsc_khz ? static_cast<double>(cycles) * 1000.0 / tsc_khz : 0;
}

// Reasons that occurred, the most frequent first.
std::vector<unsigned> occurred(const hwv::Stats &stats) {
    std::vector<unsigned> order;
    for (unsigned i = 0; i < HWV_EXIT_CPU_REASONS; ++i)
        if (stats.exit(i).count) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](unsigned a, unsigned b) {
        return stats.exit(a).count > stats.exit(b).count;
    });
    return order;
}

} // namespace

std::string exit_table(const hwv::Stats &stats, std::uint32_t tsc_khz) {
    char line[160];
    std::string out =
        "exit                    count  share    to user    mean us     p99 us     max us\n";
    const std::uint64_t all = stats.exits();
    for (const unsigned i : occurred(stats)) {
        const hwv_exit_stats &s = stats.exit(i);
        std::snprintf(line, sizeof line, "%-18s %10llu %5.1f%% %10llu %10.2f %10.2f %10.2f\n",
                      hwv::exit_name(i), static_cast<unsigned long long>(s.count),
                      100.0 * static_cast<double>(s.count) / static_cast<double>(all),
                      static_cast<unsigned long long>(s.to_user),
                      to_us(s.cycles, tsc_khz) / static_cast<double>(s.count),
                      to_us(hwv::percentile(s, 0.99), tsc_khz), to_us(s.max_cycles, tsc_khz));
        out += line;
    }
    std::snprintf(line, sizeof line, "%-18s %10llu        %10llu\n", "total",
                  static_cast<unsigned long long>(all),
                  static_cast<unsigned long long>(stats.exits_to_user()));
    out += line;
    const auto us = [&](hwv_segment_kind kind) { return to_us(stats.cycles(kind), tsc_khz); };
    std::snprintf(line, sizeof line,
                  "time us: guest %.0f, kernel %.0f, user %.0f, halted %.0f, descheduled %.0f\n",
                  us(HWV_TIME_GUEST), us(HWV_TIME_KERNEL), us(HWV_TIME_USER), us(HWV_TIME_HALTED),
                  us(HWV_TIME_DESCHEDULED));
    return out + line;
}

std::string exit_json(const hwv::Stats &stats, std::uint32_t tsc_khz) {
    nlohmann::json exits = nlohmann::json::array();
    for (const unsigned i : occurred(stats)) {
        const hwv_exit_stats &s = stats.exit(i);
        exits.push_back({{"reason", hwv::exit_name(i)},
                         {"count", s.count},
                         {"to_user", s.to_user},
                         {"cycles", s.cycles},
                         {"max_cycles", s.max_cycles},
                         {"histogram", s.histogram}});
    }
    nlohmann::json time{{"first_tsc", stats.raw.first_tsc}, {"last_tsc", stats.raw.last_tsc}};
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i) {
        const auto kind = static_cast<hwv_segment_kind>(i);
        time[hwv::segment_name(kind)] = stats.cycles(kind);
    }
    const nlohmann::json all{{"tsc_khz", tsc_khz},
                             {"entries", stats.raw.entries},
                             {"exits", exits},
                             {"time_cycles", time}};
    return all.dump(2) + "\n";
}

} // namespace hwvctl
