// SPDX-License-Identifier: GPL-2.0-only
// advise.cpp - hwvctl advise: which exits cost most, why there are any, and what to set.
#include "records/advise.hpp"
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include "hwvctl/doctor.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/record_options.hpp"
#include "records/output.hpp"

namespace hwvctl {
namespace {

constexpr const char *text = R"(
VM is an id or a name, judged by its statistics since its start, and by what it leaves unused, for which it stands still for a moment
(hwvctl doctor --guest VM tells of what it uses too). FILE is a recording (hwvctl record), or the JSON of hwvctl stat, run or
report. Shares are measured; the time of exits that share a reason
with others is taken at that reason's mean, and what left to user also costs its part of the time there.

examples:
  hwvctl advise web
  hwvctl advise web.rec
  hwvctl run --kernel vmlinuz --initrd initrd --json --serial null >boot.json; hwvctl advise boot.json
)";

po::options_description description() {
    po::options_description d{"usage: hwvctl advise VM|FILE [OPTIONS]\n\noptions", 100};
    auto add = d.add_options();
    add("least", po::value<double>()->default_value(0.5, "0.5")->value_name("PERCENT"),
        "leave out what is below this share of the exits and of the time");
    add("json", "as JSON");
    return d;
}

struct Judged {
    records::Profile profile;
    Findings unused; // what a guest that runs could use
};

// A file of that name is meant before a VM is.
Judged judge(const std::string &what) {
    if (::access(what.c_str(), F_OK) == 0) return {records::load_profile(what), {}};
    GuestFacts facts = look_at_guest(what);
    Findings unused = judge_guest(facts);
    std::erase_if(unused, [](const Finding &f) { return f.verdict == Verdict::ok; });
    return {std::move(facts.profile), std::move(unused)};
}

std::string as_text(const Findings &unused) {
    std::string out = unused.empty() ? "" : "\nWhat the guest could use:\n";
    for (const Finding &f : unused)
        out += fmt::format("  - {}\n    do:  {}\n", f.what, f.advice);
    return out;
}

nlohmann::json as_json(const Findings &unused) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Finding &f : unused)
        rows.push_back({{"what", f.what}, {"setting", f.advice}});
    return rows;
}

} // namespace

int advise_command(const Arguments &arguments) {
    const auto values = parse_options(arguments, description(), {"WHAT"}, text);
    if (!values) return 0;
    const auto [profile, unused] = judge(required(*values, "WHAT", "a VM or a FILE"));
    const auto advice = records::advise(profile, (*values)["least"].as<double>() / 100);
    records::Sink sink{""};
    if (values->count("json")) {
        nlohmann::json all = records::advice_json(profile, advice);
        all["guest"] = as_json(unused);
        sink.put(json_text(all) + "\n");
    } else {
        sink.put(records::advice_text(profile, advice) + as_text(unused));
    }
    sink.flush();
    return 0;
}

} // namespace hwvctl
