// SPDX-License-Identifier: GPL-2.0-only
// bed: --smp 2 --put /usr/bin/perf --put /usr/bin/trace-cmd
// timeout: 180
// Tracepoints, read with the tools that people use: what the guest did is what they count. The
// program is its own workload: `tracepoints guest FILE` runs a guest that does so much, and writes
// into FILE what hwv's statistics say of it. bpftrace only where this machine's programs are all to
// be had (svm): its libraries are 200 MB.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

constexpr unsigned cpuids = 300, outs = 5;
const std::string counts = "/tmp/counts", output = "/tmp/output";

//          mov  bp, 300; mov di, 5
// again:   xor  eax, eax
//          cpuid
//          dec  bp
//          jnz  again
// next:    out  0x10, al      ; five times
//          dec  di
//          jnz  next
//          rdmsr              ; ECX 0x30: none. #GP, and where its vector would be is no memory
const std::string program{"\xbd\x2c\x01\xbf\x05\x00"
                          "\x66\x31\xc0\x0f\xa2\x4d\x75\xf8"
                          "\xe6\x10\x4f\x75\xfb"
                          "\x66\xb9\x30\x00\x00\x00\x0f\x32",
                          27};

int run_guest(const char *file) {
    const int vm = raw::create_vm(), vcpu = raw::create_vcpu(vm);
    raw::map_program(vm, program);
    hwv_run *run = raw::map_run(vcpu);
    do {
        if (raw::call(vcpu, HWV_RUN) < 0) return 1;
    } while (run->exit.reason == HWV_EXIT_IO);
    static hwv_vcpu_stats stats;
    if (raw::read_stats(vcpu, &stats) < 0) return 1;
    const auto count = [](unsigned reason) {
        return stats.exit[reason].count + (stats.open_reason == reason);
    };
    std::uint64_t all = 0;
    for (unsigned reason = 1; reason < HWV_EXIT_CPU_REASONS; ++reason)
        all += count(reason);
    std::ofstream{file} << all << ' ' << stats.entries << ' ' << count(HWV_EXIT_CPUID) << ' '
                        << count(HWV_EXIT_PAGE_FAULT) << '\n';
    return run->exit.reason == HWV_EXIT_MMIO ? 0 : 1;
}

struct Truth {
    long exits = 0, entries = 0, cpuids = 0, faults = 0;
};

Truth truth() {
    Truth t;
    std::ifstream{counts} >> t.exits >> t.entries >> t.cpuids >> t.faults;
    std::remove(counts.c_str());
    return t;
}

std::string self;

// The command's output, of both streams; GUEST stands for the workload.
std::string said(std::string command) {
    const std::string guest = self + " guest " + counts;
    for (std::size_t at; (at = command.find("GUEST")) != std::string::npos;)
        command.replace(at, 5, guest);
    const int status = std::system((command + " >" + output + " 2>&1 </dev/null").c_str());
    std::ifstream file{output};
    std::stringstream text;
    text << file.rdbuf();
    if (status) std::printf("%s: status %d\n", command.c_str(), status);
    std::printf("%s\n", text.str().c_str());
    return text.str();
}

long lines_with(const std::string &text, const std::string &what) {
    long n = 0;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);)
        n += line.find(what) != std::string::npos;
    return n;
}

bool have(const char *tool) {
    if (::access(("/usr/bin/" + std::string{tool}).c_str(), X_OK) == 0) return true;
    skip(tool, "not to be had here");
    return false;
}

// perf stat -x, : "count,unit,event,..."
std::map<std::string, long> stat_counts(const std::string &text) {
    std::map<std::string, long> found;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string count, unit, event;
        std::getline(words, count, ',');
        std::getline(words, unit, ',');
        std::getline(words, event, ',');
        if (event.starts_with("hwv:")) found[event.substr(4)] = std::atol(count.c_str());
    }
    return found;
}

void check_perf() {
    if (!have("perf")) return;
    auto told = stat_counts(said("perf stat -x, -e 'hwv:*' GUEST"));
    Truth t = truth();
    expect("perf_stat_exits", told["hwv_exit"], t.exits);
    expect("perf_stat_entries", told["hwv_entry"], t.entries);
    expect("perf_stat_cpuid", told["hwv_cpuid"], cpuids);
    expect("perf_stat_pio", told["hwv_pio"], outs);
    expect("perf_stat_page_faults", told["hwv_page_fault"], t.faults);
    expect("perf_stat_userspace_exits", told["hwv_userspace_exit"], outs + 1);
    expect("perf_stat_inject", told["hwv_inject"], 1);
    expect("perf_stat_msr", told["hwv_msr"], 1);
    told = stat_counts(said("perf stat -x, -e hwv:hwv_exit --filter 'reason == 6' GUEST"));
    expect("perf_filter", told["hwv_exit"], cpuids);
    said("perf record -q -o /tmp/perf.data -e hwv:hwv_exit -e hwv:hwv_cpuid GUEST");
    t = truth();
    const std::string script = said("perf script -i /tmp/perf.data");
    expect("perf_script_exits", lines_with(script, "hwv:hwv_exit:"), t.exits);
    expect("perf_script_named", lines_with(script, "reason cpuid"), cpuids);
    expect("perf_script_cpuid", lines_with(script, "hwv:hwv_cpuid:"), cpuids);
}

// The host is sampled while guests run: each comes to its end having done what it does.
void check_sampling() {
    if (!have("perf")) return;
    const std::string told = said("perf record -q -a -F 2000 -e cpu-clock -o /tmp/samples "
                                  "sh -c 'for n in 1 2 3 4 5 6 7 8; do GUEST && echo whole; done'");
    expect("sampled_guests", lines_with(told, "whole"), 8);
    expect("sampled_cpuids", truth().cpuids, cpuids);
    report("samples", lines_with(said("perf script -i /tmp/samples"), "cpu-clock") > 0, "none");
}

void check_trace_cmd() {
    if (!have("trace-cmd")) return;
    said("trace-cmd record -q -o /tmp/trace.dat -e hwv GUEST");
    const Truth t = truth();
    const std::string report = said("trace-cmd report -i /tmp/trace.dat");
    expect("trace_cmd_exits", lines_with(report, "hwv_exit:"), t.exits);
    expect("trace_cmd_named", lines_with(report, "reason cpuid"), cpuids);
    expect("trace_cmd_entries", lines_with(report, "hwv_entry:"), t.entries);
    expect("trace_cmd_ports", lines_with(report, "pio_write at 0x10 size 1"), outs);
    expect("trace_cmd_end", lines_with(report, "reason mmio errno 0"), 1);
}

void check_bpftrace() {
    if (!have("bpftrace")) return;
    const std::string told =
        said("bpftrace -e 'tracepoint:hwv:hwv_exit { @[args->reason] = count(); }' -c 'GUEST'");
    truth();
    expect("bpftrace_cpuid", lines_with(told, "@[6]: " + std::to_string(cpuids)), 1);
    expect("bpftrace_io", lines_with(told, "@[7]: " + std::to_string(outs)), 1);
}

} // namespace

int main(int argc, char **argv) {
    if (argc == 3 && !std::strcmp(argv[1], "guest")) return run_guest(argv[2]);
    if (!raw::can_run()) {
        skip("tracepoints", "this machine cannot run guests");
        return 0;
    }
    self = argv[0];
    check_perf();
    check_sampling();
    check_trace_cmd();
    check_bpftrace();
    return verdict();
}
