// SPDX-License-Identifier: GPL-2.0-only
// report.cpp - hwvctl report: what a recording says, as tables, a page, a trace or stacks.
#include <cstdio>
#include <filesystem>
#include "hwvctl/record_options.hpp"
#include "records/html_report.hpp"
#include "records/merge.hpp"
#include "records/output.hpp"
#include "records/text_report.hpp"

namespace hwvctl {
namespace {

constexpr const char *text = R"(
examples:
  hwvctl record web -o web.rec --seconds 10
  hwvctl report web.rec
  hwvctl report web.rec --symbols guest-kallsyms --html --out web.html
  hwvctl report web.rec --format perfetto --out web.json      (open it at ui.perfetto.dev)
  hwvctl report web.rec --folded --symbols guest-kallsyms | flamegraph.pl >web.svg
  hwvctl report web.rec --filter 'reason=io key=0x3f8-0x3ff took>20us' --format text

The tables count what the VM's statistics counted between the recording's beginning and end, and records are compared with that. With
a filter they count records.
)";

po::options_description description() {
    po::options_description d{"usage: hwvctl report FILE [OPTIONS]\n\noptions", 100};
    auto add = d.add_options();
    add("out,o", po::value<std::string>()->value_name("FILE"),
        "write there, not to standard output");
    add("html", "one page with pictures, which needs nothing else");
    add("json", "the sums as JSON");
    add("folded", "stacks for flame graphs, weighed by the number of exits");
    add("time", "with --folded: weighed by their time in nanoseconds");
    add("format", po::value<std::string>()->value_name("FORMAT"),
        "each record in turn: text, perfetto, csv, json");
    add("top", po::value<unsigned>()->default_value(20)->value_name("N"), "rows of the rankings");
    add_filter(d);
    add_symbols(d);
    return d;
}

void write_records(const records::Recording &recording, const records::Filter &filter,
                   const records::Symbols *symbols, const std::string &format,
                   records::Sink &sink) {
    const auto output = records::make_output(format, sink, symbols);
    if (!output)
        throw UsageError{"report: --format: '" + format + "' is none of " + records::formats};
    output->begin(recording.identity());
    records::in_order(recording, [&](const hwv_record &r) {
        if (!sink.gone() && filter.matches(r, recording.identity().tsc_khz)) output->record(r);
    });
    output->end();
}

// Writing begins with emptying the file, and that one is mapped.
void refuse_itself(const std::string &path, const std::string &out) {
    std::error_code neither;
    if (!out.empty() && std::filesystem::equivalent(path, out, neither))
        throw UsageError{"report: --out: '" + out + "' is the recording itself"};
}

unsigned ways(const po::variables_map &values) {
    unsigned n = 0;
    for (const char *way : {"html", "json", "folded", "format"})
        n += values.count(way) != 0;
    return n;
}

} // namespace

int report_command(const Arguments &arguments) {
    const auto values =
        parse_options(arguments, description(), {"FILE"}, std::string{filter_help} + text);
    if (!values) return 0;
    const std::string path = required(*values, "FILE", "the recording's FILE");
    if (ways(*values) > 1)
        throw UsageError{"report: one of --html, --json, --folded, --format at a time"};
    if (values->count("time") && !values->count("folded"))
        throw UsageError{"report: --time belongs to --folded"};
    refuse_itself(path, option_text(*values, "out"));
    const Progress progress{[&] { return "reading " + path; }};
    const records::Filter filter = filter_of(*values);
    const records::Recording recording = records::Recording::open(path);
    const records::Profile profile =
        records::profile_of(recording, values->count("filter") ? &filter : nullptr);
    const auto symbols = symbols_of(*values, &*profile.records);
    const records::Symbols *names = symbols ? &*symbols : nullptr;
    const unsigned top = (*values)["top"].as<unsigned>();
    records::Sink sink{option_text(*values, "out")};
    if (values->count("format"))
        write_records(recording, filter, names, option_text(*values, "format"), sink);
    else if (values->count("folded"))
        sink.put(records::folded(recording, filter, names, values->count("time")));
    else if (values->count("html"))
        sink.put(records::html_report(recording, filter, profile, names, top));
    else if (values->count("json"))
        sink.put(records::to_json(profile, names));
    else
        sink.put(records::text_report(recording, profile, names, top));
    sink.flush();
    return 0;
}

} // namespace hwvctl
