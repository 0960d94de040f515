// SPDX-License-Identifier: GPL-2.0-only
#include "records/advise.hpp"
#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include "records/advise_rules.hpp"
#include "records/describe.hpp"

namespace records {
namespace {

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

// Cycles that an exit of this reason costs: its own time, and its part of the time in user.
double cost_of_one(const Profile &p, unsigned reason) {
    const Tally &t = p.exits[reason];
    if (!t.count) return 0;
    const double user = static_cast<double>(p.segments[HWV_TIME_USER]) *
                        share(static_cast<double>(t.to_user), static_cast<double>(p.to_user()));
    return (static_cast<double>(t.cycles) + user) / static_cast<double>(t.count);
}

std::size_t rule_of(unsigned reason, std::uint64_t key) {
    const Rule *found = std::find_if(std::begin(rules), std::end(rules), [&](const Rule &r) {
        return r.reason == reason && key >= r.first && key <= r.last;
    });
    return static_cast<std::size_t>(found - std::begin(rules));
}

// Exits by rule. What has no key on record (the tables of the statistics are small) is the reason's
// last rule's.
std::vector<std::uint64_t> by_rule(const Profile &p) {
    std::vector<std::uint64_t> out(std::size(rules) + 1);
    std::array<std::uint64_t, HWV_EXIT_CPU_REASONS> keyed{};
    for (const auto &[key, count] : p.keys) {
        const std::uint64_t left = p.exits[key.first].count - keyed[key.first];
        const std::uint64_t n = std::min(count.count, left);
        out[rule_of(key.first, key.second)] += n;
        keyed[key.first] += n;
    }
    for (unsigned r = 0; r < HWV_EXIT_CPU_REASONS; ++r)
        out[rule_of(r, any_key)] += p.exits[r].count - keyed[r];
    return out;
}

Advice of_segment(const Profile &p, hwv_segment_kind kind, const char *id, const char *what,
                  const char *why, const char *setting) {
    Advice a{id, what, why, setting};
    a.time_share = share(static_cast<double>(p.segments[kind]), static_cast<double>(p.life()));
    return a;
}

void merge_same(std::vector<Advice> &all) {
    std::vector<Advice> out;
    for (Advice &a : all) {
        const auto same = std::find_if(out.begin(), out.end(), [&](const Advice &o) {
            return o.id == a.id && o.setting == a.setting;
        });
        if (same == out.end()) {
            out.push_back(std::move(a));
            continue;
        }
        if (a.exits > same->exits) same->what = a.what, same->why = a.why;
        same->exits += a.exits;
        same->exit_share += a.exit_share;
        same->time_share += a.time_share;
    }
    all = std::move(out);
}

} // namespace

std::vector<Advice> advise(const Profile &p, double least) {
    std::vector<Advice> out;
    const std::vector<std::uint64_t> exits = by_rule(p);
    for (std::size_t i = 0; i < std::size(rules); ++i) {
        if (!exits[i]) continue;
        const Rule &r = rules[i];
        Advice a{r.id, r.what, r.why, r.setting, exits[i]};
        a.exit_share = share(static_cast<double>(exits[i]), static_cast<double>(p.count()));
        a.time_share = share(cost_of_one(p, r.reason) * static_cast<double>(exits[i]),
                             static_cast<double>(p.life()));
        out.push_back(std::move(a));
    }
    merge_same(out);
    if (p.from_statistics) {
        out.push_back(
            of_segment(p, HWV_TIME_DESCHEDULED, "descheduled", "waiting for a CPU of the host",
                       "others run on the vCPU's CPU while the guest wants to",
                       "fewer vCPUs than CPUs; pin the vCPU (taskset), or a cpuset of its own"));
        out.push_back(
            of_segment(p, HWV_TIME_STOPPED, "stopped", "stopped by an observer",
                       "a rule stops, somebody pauses, or a lossless ring is full",
                       "hwvctl policy get VM; a larger --ring, or records that may be dropped"));
    }
    std::erase_if(
        out, [least](const Advice &a) { return a.exit_share < least && a.time_share < least; });
    std::stable_sort(out.begin(), out.end(), [](const Advice &a, const Advice &b) {
        return a.time_share != b.time_share ? a.time_share > b.time_share : a.exits > b.exits;
    });
    return out;
}

std::string advice_text(const Profile &p, const std::vector<Advice> &advice) {
    std::string out = fmt::format("{}: {} exits in {:.3f} s", p.name, p.count(), p.seconds());
    if (p.from_statistics)
        out += fmt::format("; the guest itself ran {:.1f} % of the time, halted {:.1f} %",
                           100 * share(static_cast<double>(p.segments[HWV_TIME_GUEST]),
                                       static_cast<double>(p.life())),
                           100 * share(static_cast<double>(p.segments[HWV_TIME_HALTED]),
                                       static_cast<double>(p.life())));
    out += "\n";
    unsigned number = 0;
    for (const Advice &a : advice)
        out += fmt::format(
            "\n{:2}. {}: {:.1f} % of the exits ({}), {:.2f} % of the time\n    why: {}\n    "
            "do:  {}\n",
            ++number, a.what, 100 * a.exit_share, a.exits, 100 * a.time_share, a.why, a.setting);
    if (advice.empty()) out += "\nNothing in it is worth a change.\n";
    return out;
}

nlohmann::json advice_json(const Profile &p, const std::vector<Advice> &advice) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Advice &a : advice)
        rows.push_back({{"id", a.id},
                        {"what", a.what},
                        {"why", a.why},
                        {"setting", a.setting},
                        {"exits", a.exits},
                        {"exit_share", a.exit_share},
                        {"time_share", a.time_share}});
    return {{"name", p.name}, {"exits", p.count()}, {"seconds", p.seconds()}, {"advice", rows}};
}

} // namespace records
