// SPDX-License-Identifier: GPL-2.0-only
#include "records/html_report.hpp"
#include <algorithm>
#include <fmt/format.h>
#include "records/describe.hpp"
#include "records/pictures.hpp"
#include "records/text_report.hpp"

namespace records {
namespace {

constexpr unsigned heat_maps = 8;

constexpr const char *style = R"(
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #8884; --hot: #b2182b; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #181818; --hot: #ff7f6e; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; } h3 { font-size: 1rem; margin: 1rem 0 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: right; padding: .15rem .5rem; border-bottom: 1px solid var(--faint); white-space: nowrap; }
td:first-child, th:first-child { text-align: left; font-family: ui-monospace, monospace; white-space: normal; overflow-wrap: anywhere; }
td.bar { width: 30%; } td.bar i { display: block; height: .8em; background: #4477aa; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
.axis { stroke: var(--ink); fill: none; } .heat { fill: var(--hot); } .mark { stroke: var(--ink); stroke-dasharray: 3 2; fill: none; }
.legend span { margin-right: 1rem; } .legend i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
.warning { border-left: 4px solid var(--hot); padding-left: .6rem; }
)";

double percent(std::uint64_t part, std::uint64_t whole) {
    return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string bar(double percent) {
    return fmt::format("<td class=\"bar\"><i style=\"width:{:.1f}%\"></i></td>", percent);
}

std::string head(const Recording &recording, const Profile &p) {
    const Identity &i = recording.identity();
    const std::string name = i.name.empty() ? fmt::format("VM {}", i.vm) : i.name;
    std::string out = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta "
        "name=\"viewport\" "
        "content=\"width=device-width\">\n<title>Exits of {0}</title>\n<style>{1}</style></head>\n"
        "<body>\n<h1>Exits of {0}</h1>\n<p>VM {2}, {3} vCPUs, {4:.3f} s recorded",
        escaped(name), style, i.vm, recording.rings().size(), p.seconds());
    if (!i.started.empty()) out += " from " + escaped(i.started);
    if (!i.host.empty()) out += fmt::format(" on {}, {}", escaped(i.host), escaped(i.cpu));
    out += fmt::format(". {} exits, {} of them to user; {} records{}.</p>\n", p.count(),
                       p.to_user(), p.records->records, p.records->complete ? ", complete" : "");
    for (const std::string &w : warnings(recording, p))
        out += "<p class=\"warning\">" + escaped(w) + "</p>\n";
    return out;
}

std::string exits_table(const Profile &p) {
    std::string out =
        "<h2>Exits</h2>\n<table>\n<tr><th>exit<th>count<th>share<th><th>to user<th>time"
        "<th>mean<th>p50<th>p99<th>max</tr>\n";
    for (const unsigned r : occurred(p.exits)) {
        const Tally &t = p.exits[r];
        const double share = percent(t.count, p.count());
        out += fmt::format(
            "<tr><td>{}<td>{}<td>{:.1f} %{}<td>{}<td>{:.1f} %<td>{}<td>{}<td>{}<td>{}</tr>\n",
            hwv::exit_name(r), t.count, share, bar(share), t.to_user, percent(t.cycles, p.cycles()),
            duration(p.us(t.cycles) / static_cast<double>(t.count)),
            duration(p.us(percentile(t, 0.5))), duration(p.us(percentile(t, 0.99))),
            duration(p.us(t.max_cycles)));
    }
    return out + "</table>\n";
}

std::string time_table(const Profile &p) {
    if (!p.from_statistics) return {};
    std::string out = "<h2>Where the vCPUs' time went</h2>\n<table>\n";
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i) {
        const double share = percent(p.segments[i], p.life());
        out += fmt::format("<tr><td>{}<td>{}<td>{:.1f} %{}</tr>\n",
                           hwv::segment_name(static_cast<hwv_segment_kind>(i)),
                           duration(p.us(p.segments[i])), share, bar(share));
    }
    return out + "</table>\n";
}

struct Row {
    std::string what, exit;
    std::uint64_t count, cycles;
};

std::string ranking(const char *title, const char *column, std::vector<Row> rows, unsigned top,
                    const Profile &p) {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row &a, const Row &b) { return a.count > b.count; });
    if (rows.size() > top) rows.resize(top);
    if (rows.empty()) return {};
    std::string out = fmt::format("<h2>{}</h2>\n<table>\n<tr><th>{}<th>exit<th>count<th>share<th>"
                                  "<th>mean</tr>\n",
                                  title, column);
    for (const Row &r : rows) {
        const double share = percent(r.count, p.records->records);
        out += fmt::format("<tr><td>{}<td>{}<td>{}<td>{:.1f} %{}<td>{}</tr>\n", escaped(r.what),
                           r.exit, r.count, share, bar(share),
                           duration(p.us(r.cycles) / static_cast<double>(r.count)));
    }
    return out + "</table>\n";
}

std::vector<Row> place_rows(const Profile &p, const Symbols *symbols) {
    std::vector<Row> out;
    for (const auto &[rip, place] : p.records->places) {
        const std::string name = symbols ? symbols->name(rip) : std::string{};
        out.push_back({name.empty() ? fmt::format("{:#x}", rip) : name,
                       hwv::exit_name(place.reason()), place.count, place.cycles});
    }
    return out;
}

std::vector<Row> key_rows(const Profile &p) {
    std::vector<Row> out;
    for (const auto &[key, count] : p.keys)
        if (has_key(key.first))
            out.push_back({describe_key(key.first, key.second), hwv::exit_name(key.first),
                           count.count, count.cycles});
    return out;
}

std::string pictures(const Recording &recording, const Filter &filter, const Profile &p) {
    const Timeline timeline = timeline_of(recording, filter, *p.records);
    std::string out =
        "<h2>Exits over time</h2>\n" + exits_over_time(timeline, p) +
        "<h2>How long they took</h2>\n<p>From exit to entry, waiting included; the darker "
        "the more exits.</p>\n";
    unsigned shown = 0;
    for (const unsigned r : occurred(p.records->exits))
        if (shown++ < heat_maps)
            out += fmt::format("<h3>{}, {} exits</h3>\n", hwv::exit_name(r),
                               p.records->exits[r].count) +
                   heat_map(timeline, p, r);
    return out;
}

} // namespace

std::string html_report(const Recording &recording, const Filter &filter, const Profile &p,
                        const Symbols *symbols, unsigned top) {
    std::string out = head(recording, p);
    if (p.records->records) out += pictures(recording, filter, p);
    return out + exits_table(p) + time_table(p) +
           ranking("Where they come from", "RIP", place_rows(p, symbols), top, p) +
           ranking("What they ask for", "what", key_rows(p), top, p) + "</body></html>\n";
}

} // namespace records
