// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/exit_table.hpp"
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include "records/key_names.hpp"

namespace hwvctl {
namespace {

double share(std::uint64_t part, std::uint64_t whole) {
    return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string key_lines(const Summary &summary, std::uint32_t reason, unsigned most) {
    if (!*records::key_kind(reason)) return {};
    std::string out;
    std::uint64_t rest = summary.exit[reason].count;
    for (const hwv::KeyCount &k : summary.keys_of(reason)) {
        if (!most--) break;
        out += fmt::format("  {:<26} {:>10}\n", records::key_text(reason, k.key), k.count);
        rest -= std::min(rest, k.count);
    }
    return rest ? out + fmt::format("  {:<26} {:>10}\n", "other", rest) : out;
}

std::string exit_line(const Summary &summary, std::uint32_t reason, std::uint32_t tsc_khz) {
    const hwv_exit_stats &s = summary.exit[reason];
    return fmt::format("{:<16} {:>10} {:>5.1f}% {:>5.1f}% {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f} "
                       "{:>10.2f} {:>10}\n",
                       hwv::exit_name(reason), s.count, share(s.count, summary.exits()),
                       share(s.cycles, summary.exit_cycles()), to_us(least(s), tsc_khz),
                       to_us(s.cycles, tsc_khz) / static_cast<double>(s.count),
                       to_us(hwv::percentile(s, 0.5), tsc_khz),
                       to_us(hwv::percentile(s, 0.99), tsc_khz), to_us(s.max_cycles, tsc_khz),
                       s.to_user);
}

// As perf report has it: red from 5 % of the time on, green from 0.5 %.
constexpr const char *bold = "\033[1m", *red = "\033[31m", *green = "\033[32m";

const char *colour_of(double percent) { return percent >= 5 ? red : percent >= 0.5 ? green : ""; }

// A line without its end, so that nothing runs on into the next one.
std::string painted(const std::string &line, const char *colour) {
    return *colour ? colour + line.substr(0, line.size() - 1) + "\033[0m\n" : line;
}

std::string time_line(const Summary &summary, std::uint32_t tsc_khz) {
    std::string out = "time us:";
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i) {
        const hwv_segment_stats &s = summary.segment[i];
        out += fmt::format("{} {} {:.0f} ({:.1f}%)", i ? "," : "",
                           hwv::segment_name(static_cast<hwv_segment_kind>(i)),
                           to_us(s.cycles, tsc_khz), share(s.cycles, summary.cycles));
    }
    return out + "\n";
}

template <typename Times>
nlohmann::json times_json(const Times &t) {
    return {{"count", t.count},
            {"cycles", t.cycles},
            {"max_cycles", t.max_cycles},
            {"p50_cycles", hwv::percentile(t, 0.5)},
            {"p99_cycles", hwv::percentile(t, 0.99)},
            {"histogram", t.histogram}};
}

std::string escaped(const std::string &text) {
    std::string out;
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

double seconds(std::uint64_t cycles, std::uint32_t tsc_khz) { return to_us(cycles, tsc_khz) / 1e6; }

// One histogram: buckets are cumulative, and those that add nothing are left out.
std::string prom_histogram(const hwv_exit_stats &s, const std::string &labels,
                           std::uint32_t tsc_khz) {
    std::string out;
    std::uint64_t sum = 0;
    for (unsigned b = 0; b + 1 < HWV_HISTOGRAM; ++b) {
        if (!s.histogram[b]) continue;
        sum += s.histogram[b];
        out += fmt::format("hwv_exit_seconds_bucket{{{},le=\"{:.9g}\"}} {}\n", labels,
                           seconds(2ull << b, tsc_khz), sum);
    }
    return out + fmt::format("hwv_exit_seconds_bucket{{{0},le=\"+Inf\"}} {1}\n"
                             "hwv_exit_seconds_sum{{{0}}} {2:.9f}\n"
                             "hwv_exit_seconds_count{{{0}}} {1}\n",
                             labels, s.count, seconds(s.cycles, tsc_khz));
}

} // namespace

double to_us(std::uint64_t cycles, std::uint32_t tsc_khz) {
    return tsc_khz ? static_cast<double>(cycles) * 1000.0 / tsc_khz : 0;
}

std::string exit_table(const Summary &summary, std::uint32_t tsc_khz, unsigned keys, bool colours) {
    const std::string header = fmt::format(
        "{:<16} {:>10} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10}\n", "exit", "count",
        "share", "time", "min us", "mean us", "p50 us", "p99 us", "max us", "to user");
    std::string out = colours ? painted(header, bold) : header;
    for (const std::uint32_t reason : summary.occurred()) {
        const std::string line = exit_line(summary, reason, tsc_khz);
        const double time = share(summary.exit[reason].cycles, summary.exit_cycles());
        out += colours ? painted(line, colour_of(time)) : line;
        if (keys) out += key_lines(summary, reason, keys);
    }
    out += fmt::format("{:<16} {:>10} {:>57} {:>10}\n", "total", summary.exits(), "",
                       summary.exits_to_user());
    return out + time_line(summary, tsc_khz);
}

nlohmann::json exit_json(const Summary &summary, std::uint32_t tsc_khz) {
    nlohmann::json exits = nlohmann::json::array(), time, segments;
    for (const std::uint32_t reason : summary.occurred()) {
        nlohmann::json row = times_json(summary.exit[reason]);
        row["reason"] = hwv::exit_name(reason);
        row["to_user"] = summary.exit[reason].to_user;
        if (*records::key_kind(reason)) {
            row["keys"] = nlohmann::json::array();
            for (const hwv::KeyCount &k : summary.keys_of(reason))
                row["keys"].push_back({{records::key_kind(reason), k.key},
                                       {"name", records::key_name(reason, k.key)},
                                       {"count", k.count}});
            row["other"] = summary.other(reason);
        }
        exits.push_back(std::move(row));
    }
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i) {
        const char *name = hwv::segment_name(static_cast<hwv_segment_kind>(i));
        time[name] = summary.segment[i].cycles;
        segments[name] = times_json(summary.segment[i]);
    }
    return {{"tsc_khz", tsc_khz},
            {"vcpus", summary.vcpus},
            {"entries", summary.entries},
            {"total", summary.exits()},
            {"cycles", summary.cycles},
            {"exits", std::move(exits)},
            {"time_cycles", std::move(time)},
            {"segments", std::move(segments)}};
}

std::string exit_prom(const Summary &summary, std::uint32_t tsc_khz, const hwv_vm_entry &vm) {
    const std::string who =
        fmt::format("vm=\"{}\",name=\"{}\"", vm.id, escaped(hwv::shown_name(vm)));
    std::string out = "# HELP hwv_exit_seconds Time of an exit in the kernel, by reason.\n"
                      "# TYPE hwv_exit_seconds histogram\n";
    for (const std::uint32_t reason : summary.occurred())
        out +=
            prom_histogram(summary.exit[reason],
                           fmt::format("{},reason=\"{}\"", who, hwv::exit_name(reason)), tsc_khz);
    out += "# HELP hwv_exits_to_user_total Exits that left to the launcher.\n"
           "# TYPE hwv_exits_to_user_total counter\n";
    for (const std::uint32_t reason : summary.occurred())
        out += fmt::format("hwv_exits_to_user_total{{{},reason=\"{}\"}} {}\n", who,
                           hwv::exit_name(reason), summary.exit[reason].to_user);
    out += "# HELP hwv_exit_keys_total Exits by what they were about, as far as it is kept.\n"
           "# TYPE hwv_exit_keys_total counter\n";
    for (const auto &[key, count] : summary.keys)
        if (*records::key_kind(key.first))
            out += fmt::format("hwv_exit_keys_total{{{},reason=\"{}\",key=\"{:#x}\"}} {}\n", who,
                               hwv::exit_name(key.first), key.second, count);
    out += "# HELP hwv_time_seconds_total Where the vCPUs' time went.\n"
           "# TYPE hwv_time_seconds_total counter\n";
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
        out += fmt::format("hwv_time_seconds_total{{{},segment=\"{}\"}} {:.9f}\n", who,
                           hwv::segment_name(static_cast<hwv_segment_kind>(i)),
                           seconds(summary.segment[i].cycles, tsc_khz));
    return out;
}

} // namespace hwvctl
