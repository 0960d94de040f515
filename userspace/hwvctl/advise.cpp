// SPDX-License-Identifier: GPL-2.0-only
// advise.cpp - hwvctl advise: which exits cost most, why there are any, and what to set.
#include "records/advise.hpp"
#include <unistd.h>
#include "hwv/observer.hpp"
#include "hwv/stats.hpp"
#include "hwv/system.hpp"
#include "hwvctl/record_options.hpp"
#include "records/output.hpp"

namespace hwvctl {
namespace {

constexpr const char *text = R"(
VM is an id or a name, judged by its statistics since its start. FILE is a recording (hwvctl record), or the JSON of hwvctl stat, run or
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

// A file of that name is meant before a VM is.
records::Profile profile_of_any(const std::string &what) {
    if (::access(what.c_str(), F_OK) == 0) return records::load_profile(what);
    const hwv::Observer observer = hwv::attach(what);
    std::vector<hwv::Stats> all;
    for (const std::uint32_t id : observer.vcpus())
        all.push_back(observer.stats(id).read());
    return records::profile_of("VM " + what, hwv::System{}.info().tsc_khz, all);
}

} // namespace

int advise_command(const Arguments &arguments) {
    const auto values = parse_options(arguments, description(), {"WHAT"}, text);
    if (!values) return 0;
    const records::Profile profile = profile_of_any(required(*values, "WHAT", "a VM or a FILE"));
    const auto advice = records::advise(profile, (*values)["least"].as<double>() / 100);
    records::Sink sink{""};
    sink.put(values->count("json") ? records::advice_json(profile, advice)
                                   : records::advice_text(profile, advice));
    sink.flush();
    return 0;
}

} // namespace hwvctl
