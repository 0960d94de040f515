// SPDX-License-Identifier: GPL-2.0-only
// diff.cpp - hwvctl diff: two recordings or statistics side by side, and what may not have changed.
#include "records/diff.hpp"
#include <cstdio>
#include <stdexcept>
#include "hwvctl/record_options.hpp"
#include "records/output.hpp"

namespace hwvctl {
namespace {

constexpr const char *text = R"(
A and B are recordings (hwvctl record), or the JSON of hwvctl stat, run or report.

conditions, METRIC>THRESHOLD or METRIC<THRESHOLD:
  metrics      exits user time mean p50 p99 max, each also with .REASON (exits.io); rate seconds; guest kernel halted descheduled
               userspace stopped. Times are in microseconds, rate in exits a second.
  thresholds   +5%: B is by more than that above A; +100: the same as a number; 100: B itself

examples:
  hwvctl diff before.rec after.rec
  hwvctl diff main.json branch.json --fail-if 'exits>+5%' --fail-if 'p99.io>+20%' --fail-if 'exits.cpuid>1000'

exit status: 0, no condition holds; 1, a file cannot be used; 2, wrong usage; 3, a condition holds (told on standard error)
)";

po::options_description description() {
    po::options_description d{"usage: hwvctl diff A B [OPTIONS]\n\noptions", 100};
    auto add = d.add_options();
    add("fail-if", po::value<std::vector<std::string>>()->value_name("CONDITION")->composing(),
        "exit status 3 where it holds; may be repeated");
    add("json", "as JSON");
    return d;
}

std::vector<records::Condition> conditions(const po::variables_map &values) {
    std::vector<records::Condition> out;
    if (!values.count("fail-if")) return out;
    for (const std::string &one : values["fail-if"].as<std::vector<std::string>>()) {
        try {
            out.push_back(records::Condition::parse(one));
        } catch (const std::invalid_argument &e) {
            throw UsageError{std::string{"--fail-if: "} + e.what()};
        }
    }
    return out;
}

} // namespace

int diff_command(const Arguments &arguments) {
    const auto values = parse_options(arguments, description(), {"A", "B"}, text);
    if (!values) return 0;
    const std::string first = required(*values, "A", "the first file"),
                      second = required(*values, "B", "the second file");
    const std::vector<records::Condition> wanted = conditions(*values);
    records::Profile a, b;
    {
        const Progress progress{[&] { return "reading " + first + " and " + second; }};
        a = records::load_profile(first);
        b = records::load_profile(second);
    }
    records::Sink sink{""};
    sink.put(values->count("json") ? records::diff_json(a, b, wanted) : records::diff_text(a, b));
    sink.flush();
    bool failed = false;
    for (const records::Condition &c : wanted) {
        if (!c.holds(a, b)) continue;
        failed = true;
        std::fprintf(stderr, "hwvctl: diff: %s\n", records::describe(c, a, b).c_str());
    }
    return failed ? status::condition : 0;
}

} // namespace hwvctl
