// SPDX-License-Identifier: GPL-2.0-only
// stat.cpp - hwvctl stat: which exits, how many, how long, about what; the guest is not disturbed.
#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include "hwv/error.hpp"
#include "hwv/system.hpp"
#include "hwvctl/exit_table.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "hwvctl/terminal.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr const char *what =
    "Shows a running VM's exits by reason since its start, or with --interval what came to them:\n"
    "count, share of all exits and of their time, least, mean, median, 99th percentile and "
    "largest\n"
    "time in the kernel, how many left to the launcher; then where the vCPUs' time went. All "
    "counts\n"
    "are exact; least and percentiles are bounds of power-of-two buckets of TSC cycles. On a "
    "terminal\n"
    "red has 5 % of the time or more, green 0.5 %, unless NO_COLOR is set.\n";

constexpr const char *examples = R"(
examples:
  hwvctl stat web --keys          since the start, with the hottest ports, MSRs and leaves
  hwvctl stat web --interval 1    what happens each second, until Ctrl-C
  hwvctl stat 3 --json            for programs; the histograms too
  hwvctl stat 3 --prom >/var/lib/prometheus/node-exporter/hwv.prom
)";

enum class Form { table, json, prom };

struct Request {
    std::string vm;
    Form form = Form::table;
    unsigned keys = 0;
    std::optional<std::uint32_t> vcpu;
    double interval = 0;
    std::uint64_t count = 0; // 0: until the end
};

Options command_line() {
    Options options{"stat VM [OPTIONS]", std::string{what} + vm_argument, examples};
    options.add()("json", "for programs; with --interval one line each time")(
        "prom", "as Prometheus scrapes it")("vcpu", po::value<std::uint32_t>()->value_name("N"),
                                            "of this vCPU alone; without, of all together")(
        "keys", po::value<unsigned>()->implicit_value(5)->value_name("[N]"),
        "below each reason its N hottest ports, MSRs, leaves ... (5), and exactly how many others")(
        "interval,i", po::value<double>()->value_name("SECONDS"),
        "show what came in each interval, again and again")(
        "count,c", po::value<std::uint64_t>()->value_name("N"), "that often; needs --interval");
    return options;
}

Request request_of(const Words &words) {
    Request out;
    out.vm = words.words[0];
    if (words.has("json") && words.has("prom")) throw UsageError{"--json or --prom, not both"};
    out.form = words.has("json") ? Form::json : words.has("prom") ? Form::prom : Form::table;
    if (words.has("keys")) out.keys = words.get<unsigned>("keys");
    if (words.has("vcpu")) out.vcpu = words.get<std::uint32_t>("vcpu");
    if (words.has("interval")) {
        out.interval = words.get<double>("interval");
        if (out.form == Form::prom) throw UsageError{"--prom has totals: without --interval"};
        if (!(out.interval >= 0.01 && out.interval <= 86400))
            throw UsageError{"--interval: from 0.01 to 86400 seconds"};
    }
    if (words.has("count")) {
        out.count = words.get<std::uint64_t>("count");
        if (!out.interval) throw UsageError{"--count needs --interval"};
    }
    return out;
}

void show(const Request &request, const Summary &summary, std::uint32_t khz,
          const hwv_vm_entry &vm) {
    if (request.form == Form::prom) {
        fmt::print("{}", exit_prom(summary, khz, vm));
    } else if (request.form == Form::json) {
        nlohmann::json all = exit_json(summary, khz);
        all["vm"] = {{"id", vm.id}, {"name", vm.name}, {"pid", vm.pid}, {"state", state(vm)}};
        fmt::print("{}\n", json_text(all, request.interval != 0));
    } else {
        fmt::print("VM {} {}, {} vCPU{}, {}, {}:\n", vm.id, *vm.name ? hwv::shown_name(vm) : "-",
                   summary.vcpus, summary.vcpus == 1 ? "" : "s", age(vm.age_ns), state(vm));
        fmt::print("{}{}", exit_table(summary, khz, request.keys, colours_wanted()),
                   request.interval ? "\n" : "");
    }
    std::fflush(stdout);
}

void show_intervals(const Request &request, const hwv::Observer &observer, const Watch &watch,
                    std::uint32_t khz) {
    Summary before = watch.read();
    for (std::uint64_t n = 0; !request.count || n < request.count; ++n) {
        const bool ended = observer.wait(static_cast<int>(request.interval * 1000)).ended;
        const Summary now = watch.read();
        show(request, difference(now, before), khz, observer.info());
        before = now;
        if (ended) break;
    }
}

} // namespace

int stat_command(const Arguments &arguments) {
    const std::optional<Words> words = command_line().parse(arguments, 1, 1);
    if (!words) return 0;
    const Request request = request_of(*words);
    const std::uint32_t khz = hwv::System{}.info().tsc_khz;
    const hwv::Observer observer = hwv::attach(request.vm);
    const Watch watch = request.vcpu ? Watch{observer, *request.vcpu} : Watch{observer};
    if (request.interval)
        show_intervals(request, observer, watch, khz);
    else
        show(request, watch.read(), khz, observer.info());
    return 0;
}

} // namespace hwvctl
