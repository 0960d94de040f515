// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/capture.hpp"
#include <atomic>
#include <bit>
#include <csignal>
#include <ctime>
#include <fstream>
#include <sys/utsname.h>
#include <x86intrin.h>
#include "hwv/error.hpp"
#include "hwv/system.hpp"

namespace hwvctl {
namespace {

std::atomic<bool> interrupted{false};

// Until the signal comes it does nothing but end a wait.
void end_at_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        ::sigaction(signal, &action, nullptr);
}

std::string cpu_model() {
    std::ifstream file{"/proc/cpuinfo"};
    for (std::string line; std::getline(file, line);)
        if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
    return {};
}

std::string now() {
    char text[32];
    const std::time_t t = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&t, &utc);
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc);
    return text;
}

} // namespace

void add_capture(po::options_description &options) {
    auto add = options.add_options();
    add("lossless",
        "a full ring stops the vCPU until there is room, so that no record is lost; without, "
        "what finds no room is counted");
    add("ring", po::value<std::uint64_t>()->default_value(1 << 16)->value_name("RECORDS"),
        "room between kernel and hwvctl, for each vCPU: a power of two, 64 to 1048576");
    add("every", po::value<std::uint32_t>()->default_value(1)->value_name("N"),
        "a record of one exit out of N");
    add("seconds", po::value<double>()->value_name("S"),
        "stop after so long; else at Ctrl-C and the VM's end");
    add("wait", "wait until there is such a VM, to record it from its start");
    add("count", po::value<std::uint64_t>()->value_name("N"), "stop after so many records");
}

CaptureOptions capture_options(const po::variables_map &values) {
    CaptureOptions out;
    out.ring.block = values.count("lossless");
    out.ring.capacity = values["ring"].as<std::uint64_t>();
    if (!std::has_single_bit(out.ring.capacity) || out.ring.capacity < HWV_RING_MIN ||
        out.ring.capacity > HWV_RING_MAX)
        throw UsageError{"--ring wants a power of two from 64 to 1048576"};
    out.ring.every = values["every"].as<std::uint32_t>();
    if (!out.ring.every) throw UsageError{"--every wants a number from 1 on"};
    if (values.count("seconds")) out.seconds = values["seconds"].as<double>();
    if (out.seconds && !(*out.seconds > 0 && *out.seconds < 1e9))
        throw UsageError{"--seconds wants a number above 0"};
    out.wait = values.count("wait");
    if (values.count("count")) out.count = values["count"].as<std::uint64_t>();
    return out;
}

Capture::Capture(const hwv_vm_entry &vm, const CaptureOptions &options)
    : vm_{vm}, observer_{hwv::attach(vm.id)}, options_{options} {
    observer_.pause();
    paused_ = true;
    for (const std::uint32_t id : observer_.vcpus()) {
        hwv::StatsPage page = observer_.stats(id);
        const hwv::Stats begin = page.read();
        hwv::RingOptions ring = options.ring;
        ring.vcpu = id;
        sources_.push_back({std::move(page), begin, observer_.open_ring(ring)});
    }
    if (sources_.empty()) throw hwv::Error{ENOENT, "the VM has no vCPU yet: try again in a moment"};
    begin_tsc_ = __rdtsc();
    if (options.seconds)
        until_ = std::chrono::steady_clock::now() +
                 std::chrono::nanoseconds{static_cast<std::int64_t>(*options.seconds * 1e9)};
    resume();
}

bool Capture::wait(int milliseconds) {
    const hwv::Events waited = observer_.wait(milliseconds);
    ended_ = ended_ || waited.ended;
    const bool late = options_.seconds && std::chrono::steady_clock::now() >= until_;
    return !ended_ && !late && !interrupted;
}

void Capture::finish() {
    if (!ended_) {
        try {
            observer_.pause();
            paused_ = true;
        } catch (const hwv::Error &e) {
            if (e.code() == EINTR) return finish();
            if (e.code() != ESRCH) throw;
            ended_ = true;
        }
    }
}

void Capture::resume() {
    if (paused_ && !ended_) observer_.resume();
    paused_ = false;
}

std::unique_ptr<Capture> start_capture(const std::string &name, const CaptureOptions &options) {
    using namespace std::chrono_literals;
    end_at_signals();
    for (;;) {
        try {
            const std::vector<hwv_vm_entry> vms = hwv::list_vms();
            return std::make_unique<Capture>(hwv::find_vm(vms, name), options);
        } catch (const hwv::Error &e) {
            if (!options.wait || interrupted || (e.code() != ENOENT && e.code() != ESRCH)) throw;
        }
        std::this_thread::sleep_for(5ms);
    }
}

records::Identity identity_of(const Capture &capture, const CaptureOptions &options) {
    utsname host{};
    ::uname(&host);
    records::Identity out;
    out.vm = capture.vm().id;
    out.name = hwv::shown_name(capture.vm());
    out.pid = capture.vm().pid;
    out.tsc_khz = hwv::System{}.info().tsc_khz;
    out.start_tsc = capture.begin_tsc();
    out.started = now();
    out.host = std::string{host.nodename} + " " + host.release;
    out.cpu = cpu_model();
    out.lossless = options.ring.block;
    out.every = options.ring.every;
    out.reasons = options.ring.reasons;
    return out;
}

} // namespace hwvctl
