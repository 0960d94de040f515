// SPDX-License-Identifier: GPL-2.0-only
// profile_json.cpp - profiles as JSON; the same keys as those of `hwvctl run --json` and `hwvctl
// stat --json`.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include "records/describe.hpp"
#include "records/profile.hpp"

namespace records {
namespace {

using nlohmann::json;

json exits_json(const std::array<Tally, HWV_EXIT_CPU_REASONS> &exits) {
    json out = json::array();
    for (const unsigned r : occurred(exits)) {
        const Tally &t = exits[r];
        out.push_back({{"reason", hwv::exit_name(r)},
                       {"count", t.count},
                       {"to_user", t.to_user},
                       {"cycles", t.cycles},
                       {"max_cycles", t.max_cycles},
                       {"histogram", t.histogram}});
    }
    return out;
}

json places_json(const RecordSums &records, const Symbols *symbols) {
    json out = json::array();
    for (const auto &[rip, place] : records.places) {
        json row{{"rip", fmt::format("{:#x}", rip)},
                 {"reason", hwv::exit_name(place.reason())},
                 {"count", place.count},
                 {"cycles", place.cycles}};
        if (symbols) row["symbol"] = symbols->name(rip);
        out.push_back(std::move(row));
    }
    return out;
}

unsigned reason_of(const json &row) {
    const auto name = row.at("reason").get<std::string>();
    const auto reason = reason_by_name(name);
    if (!reason) throw Error{"'" + name + "' is no exit reason"};
    return *reason;
}

// As stat has it: in the row of the reason, under a name that says what kind of key it is.
void add_row_keys(Profile &out, unsigned reason, const json &rows) {
    for (const json &row : rows)
        for (const auto &[name, value] : row.items())
            if (name != "count" && value.is_number())
                out.keys[{reason, value.get<std::uint64_t>()}].count +=
                    row.at("count").get<std::uint64_t>();
}

void add_exits(Profile &out, const json &rows) {
    for (const json &row : rows) {
        Tally &t = out.exits[reason_of(row)];
        t.count += row.at("count").get<std::uint64_t>();
        t.to_user += row.value("to_user", std::uint64_t{0});
        t.cycles += row.value("cycles", std::uint64_t{0});
        t.max_cycles = std::max(t.max_cycles, row.value("max_cycles", std::uint64_t{0}));
        if (row.contains("keys")) add_row_keys(out, reason_of(row), row.at("keys"));
        const auto histogram = row.value("histogram", std::vector<std::uint64_t>{});
        for (std::size_t i = 0; i < std::min<std::size_t>(histogram.size(), HWV_HISTOGRAM); ++i)
            t.histogram[i] += histogram[i];
    }
}

// One vCPU's, or all of them summed up.
void add_part(Profile &out, const json &part) {
    out.entries += part.value("entries", std::uint64_t{0});
    add_exits(out, part.at("exits"));
    if (part.contains("time_cycles"))
        for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
            out.segments[i] +=
                part.at("time_cycles")
                    .value(hwv::segment_name(static_cast<hwv_segment_kind>(i)), std::uint64_t{0});
    if (!part.contains("keys")) return;
    for (const json &row : part.at("keys")) {
        Count &key = out.keys[{reason_of(row), row.at("key").get<std::uint64_t>()}];
        key.count += row.at("count").get<std::uint64_t>();
        key.cycles += row.value("cycles", std::uint64_t{0});
    }
}

} // namespace

std::string to_json(const Profile &p, const Symbols *symbols) {
    json time, keys = json::array();
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
        time[hwv::segment_name(static_cast<hwv_segment_kind>(i))] = p.segments[i];
    for (const auto &[key, count] : p.keys)
        if (has_key(key.first))
            keys.push_back({{"reason", hwv::exit_name(key.first)},
                            {"key", key.second},
                            {"count", count.count},
                            {"cycles", count.cycles}});
    json out{{"name", p.name},
             {"tsc_khz", p.tsc_khz},
             {"entries", p.entries},
             {"from_statistics", p.from_statistics},
             {"exits", exits_json(p.exits)},
             {"time_cycles", time},
             {"keys", keys}};
    if (p.records)
        out["records"] = {{"count", p.records->records},
                          {"unfinished", p.records->unfinished},
                          {"matched", p.records->matched},
                          {"dropped", p.records->dropped},
                          {"blocked", p.records->blocked},
                          {"gaps", p.records->gaps},
                          {"complete", p.records->complete},
                          {"exits", exits_json(p.records->exits)},
                          {"places", places_json(*p.records, symbols)}};
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Profile profile_from_json(const std::string &text, const std::string &name) {
    Profile out;
    out.name = name;
    out.from_statistics = true;
    try {
        const json all = json::parse(text);
        out.tsc_khz = all.at("tsc_khz").get<std::uint32_t>();
        if (all.contains("vcpus") && !all.contains("exits"))
            for (const json &part : all.at("vcpus"))
                add_part(out, part);
        else
            add_part(out, all);
    } catch (const std::exception &e) {
        throw Error{name + ": neither a recording nor the JSON of hwvctl's stat, run or report: " +
                    e.what()};
    }
    if (!out.tsc_khz) throw Error{name + ": tsc_khz is 0"};
    return out;
}

} // namespace records
