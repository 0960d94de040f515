// SPDX-License-Identifier: GPL-2.0-only
#include "records/text_report.hpp"
#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include "records/describe.hpp"
#include "records/merge.hpp"

namespace records {
namespace {

double percent(std::uint64_t part, std::uint64_t whole) {
    return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string head(const Recording &recording, const Profile &p) {
    const Identity &i = recording.identity();
    std::string out = fmt::format("VM {} '{}', {} vCPUs, {:.3f} s recorded{}\n", i.vm, i.name,
                                  recording.rings().size(), p.seconds(),
                                  i.started.empty() ? "" : " from " + i.started);
    if (!i.host.empty() || !i.cpu.empty())
        out += fmt::format("host {}, {}, TSC {} kHz\n", i.host, i.cpu, i.tsc_khz);
    if (i.every > 1) out += fmt::format("one record of {} exits\n", i.every);
    if (!i.filter.empty()) out += fmt::format("only what matches: {}\n", i.filter);
    return out;
}

std::string exit_rows(const Profile &p) {
    std::string out =
        fmt::format("{:<18} {:>10} {:>6} {:>10} {:>6} {:>10} {:>10} {:>10} {:>10}\n", "exit",
                    "count", "share", "to user", "time", "mean us", "p50 us", "p99 us", "max us");
    for (const unsigned r : occurred(p.exits)) {
        const Tally &t = p.exits[r];
        out += fmt::format("{:<18} {:>10} {:>5.1f}% {:>10} {:>5.1f}% {:>10.2f} {:>10.2f} "
                           "{:>10.2f} {:>10.2f}\n",
                           hwv::exit_name(r), t.count, percent(t.count, p.count()), t.to_user,
                           percent(t.cycles, p.cycles()),
                           p.us(t.cycles) / static_cast<double>(t.count), p.us(percentile(t, 0.5)),
                           p.us(percentile(t, 0.99)), p.us(t.max_cycles));
    }
    return out + fmt::format("{:<18} {:>10} {:>6} {:>10}\n", "total", p.count(), "", p.to_user());
}

std::string time_row(const Profile &p) {
    if (!p.from_statistics) return {};
    std::string out = "time:";
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
        out += fmt::format("{} {} {:.1f} %", i ? "," : "",
                           hwv::segment_name(static_cast<hwv_segment_kind>(i)),
                           percent(p.segments[i], p.life()));
    return out + "\n";
}

std::string key_rows(const Profile &p, unsigned top) {
    using Row = std::pair<std::pair<unsigned, std::uint64_t>, Count>;
    std::vector<Row> rows;
    for (const auto &row : p.keys)
        if (has_key(row.first.first)) rows.emplace_back(row);
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row &a, const Row &b) { return a.second.count > b.second.count; });
    std::string out =
        fmt::format("\n{:<50} {:>10} {:>6} {:>12}\n", "what", "count", "share", "mean us");
    for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), top); ++i) {
        const auto &[key, count] = rows[i];
        out += fmt::format(
            "{:<50} {:>10} {:>5.1f}% {:>12.2f}\n",
            fmt::format("{} {}", hwv::exit_name(key.first), describe_key(key.first, key.second)),
            count.count, percent(count.count, p.count()),
            p.us(count.cycles) / static_cast<double>(count.count));
    }
    return rows.empty() ? std::string{} : out;
}

std::string place_rows(const Profile &p, const Symbols *symbols, unsigned top) {
    using Row = std::pair<std::uint64_t, Place>;
    std::vector<Row> rows(p.records->places.begin(), p.records->places.end());
    const std::size_t shown = std::min<std::size_t>(rows.size(), top);
    std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(shown), rows.end(),
                      [](const Row &a, const Row &b) { return a.second.count > b.second.count; });
    std::string out = fmt::format("\n{:<50} {:>10} {:>6} {:>12}  {}\n", "where", "count", "share",
                                  "mean us", "exit");
    for (std::size_t i = 0; i < shown; ++i) {
        const auto &[rip, place] = rows[i];
        const std::string name = symbols ? symbols->name(rip) : std::string{};
        out += fmt::format("{:<50} {:>10} {:>5.1f}% {:>12.2f}  {}\n",
                           name.empty() ? fmt::format("{:#x}", rip) : name, place.count,
                           percent(place.count, p.records->records),
                           p.us(place.cycles) / static_cast<double>(place.count),
                           hwv::exit_name(place.reason()));
    }
    return out;
}

std::string rings_row(const Profile &p) {
    const RecordSums &r = *p.records;
    return fmt::format(
        "\nrecords: {} of {} exits, {} dropped, {} numbers missing, the vCPU waited {} times "
        "for room{}\n",
        r.records, r.matched, r.dropped, r.gaps, r.blocked,
        r.complete && p.agrees() ? ": each exit that the statistics counted has its record" : "");
}

} // namespace

std::vector<std::string> warnings(const Recording &recording, const Profile &profile) {
    std::vector<std::string> out;
    if (recording.damage()) out.push_back(*recording.damage());
    const RecordSums &r = *profile.records;
    if (r.dropped)
        out.push_back(
            fmt::format("{} exits have no record, for want of room: record with --lossless or a "
                        "larger --ring",
                        r.dropped));
    if (r.gaps != r.dropped && !recording.damage() && recording.identity().filter.empty())
        out.push_back(
            fmt::format("{} sequence numbers are missing, but {} records were dropped: this "
                        "is a defect, please report it",
                        r.gaps, r.dropped));
    if (r.complete && profile.from_statistics && !profile.agrees())
        out.push_back(
            fmt::format("the statistics counted {} exits and there are {} records: this is a "
                        "defect, please report it",
                        profile.count(), r.records));
    return out;
}

std::string text_report(const Recording &recording, const Profile &profile, const Symbols *symbols,
                        unsigned top) {
    std::string out = head(recording, profile) + "\n" + exit_rows(profile) + time_row(profile) +
                      key_rows(profile, top) + place_rows(profile, symbols, top) +
                      rings_row(profile);
    for (const std::string &w : warnings(recording, profile))
        out += "warning: " + w + "\n";
    return out;
}

std::string folded(const Recording &recording, const Filter &filter, const Symbols *symbols,
                   bool time) {
    const Identity &identity = recording.identity();
    std::string vm = identity.name.empty() ? fmt::format("vm{}", identity.vm) : identity.name;
    std::replace_if(
        vm.begin(), vm.end(), [](char c) { return c == ';' || c == '\n'; }, '_');
    std::map<std::string, std::uint64_t> stacks;
    in_order(recording, [&](const hwv_record &r) {
        if (!filter.matches(r, identity.tsc_khz)) return;
        std::string place = symbols ? symbols->function(r.rip) : std::string{};
        if (place.empty()) place = fmt::format("{:#x}", r.rip);
        std::string stack =
            fmt::format("{};vCPU {};{};{};{}", vm, r.vcpu, cpl(r) == 3 ? "user" : "kernel", place,
                        hwv::exit_name(r.reason));
        if (const std::string key = describe_key(r.reason, r.key); !key.empty()) stack += ";" + key;
        stacks[stack] += time ? nanoseconds(took(r), identity.tsc_khz) : 1;
    });
    std::string out;
    for (const auto &[stack, weight] : stacks)
        out += fmt::format("{} {}\n", stack, weight);
    return out;
}

} // namespace records
