// SPDX-License-Identifier: GPL-2.0-only
// timeout: 200
// bed: --smp 2
// kill -9 of a process with two threads in HWV_RUN, at random moments: 20 times to warm up, then
// 200 times between two readings of what the kernel holds. An object or page lost per kill shows as
// 200; readings may differ by less than a quarter of that.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sched.h>
#include <sstream>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

constexpr int warm_up = 20, rounds = 200;
constexpr long tolerance = rounds / 4;

// What a user has in hand when it dies: guest memory, eventfds, one vCPU in the guest, one that
// waits for SIPI.
int victim() {
    int vm = raw::create_vm();
    raw::map_reset_page(vm, raw::loop_for_ever);
    int event = ::eventfd(0, 0);
    hwv_irqfd irqfd{.fd = event, .resample_fd = event, .data = 0x40, .address = 0xfee00000};
    raw::call(vm, HWV_IRQFD, &irqfd);
    hwv_ioeventfd io{.address = 0x1000, .length = 4, .fd = event};
    raw::call(vm, HWV_IOEVENTFD, &io);
    int first = raw::create_vcpu(vm, 0), second = raw::create_vcpu(vm, 1);
    std::thread other([=] { raw::call(second, HWV_RUN); });
    raw::call(first, HWV_RUN);
    other.join();
    return 0;
}

void kill_one(std::mt19937 &random) {
    pid_t pid = ::fork();
    if (pid == 0) std::_Exit(victim());
    ::usleep(std::uniform_int_distribution<useconds_t>(0, 15000)(random));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
}

using Counters = std::map<std::string, long>;

// Free pages of all zones, with those that wait on per-CPU lists.
long free_pages() {
    std::ifstream zones("/proc/zoneinfo");
    std::string line;
    long sum = 0;
    while (std::getline(zones, line)) {
        std::istringstream words(line);
        std::string first, second;
        long count = 0;
        words >> first;
        if (first == "pages" && words >> second >> count && second == "free") sum += count;
        if (first == "count:" && words >> count) sum += count;
    }
    return sum;
}

// A slab in use by a CPU counts as full: so only CPU 0 has some, each time the same.
void read_on_cpu(bool only_first) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < (only_first ? 1 : 2); ++cpu)
        CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

// Empties what the kernel keeps for later, so that the counts below are of objects in use.
void settle() {
    std::ofstream("/proc/sys/vm/drop_caches") << 3;
    for (const auto &cache : std::filesystem::directory_iterator("/sys/kernel/slab"))
        std::ofstream(cache.path() / "shrink") << 1;
}

Counters read_counters() {
    Counters out;
    read_on_cpu(true);
    settle();
    std::ifstream slabs("/proc/slabinfo");
    std::string line;
    std::getline(slabs, line);
    std::getline(slabs, line);
    while (std::getline(slabs, line)) {
        std::istringstream words(line);
        std::string name;
        long active = 0;
        words >> name >> active;
        out["slab " + name] = active;
    }
    out["pages in use"] = -free_pages();
    std::ifstream memory("/proc/meminfo");
    while (std::getline(memory, line)) {
        std::istringstream words(line);
        std::string name;
        long kib = 0;
        words >> name >> kib;
        if (name == "VmallocUsed:") out["vmalloc pages"] = kib / 4;
    }
    out.erase("slab vmap_area"); // freed lazily, by the number of pages
    read_on_cpu(false);
    return out;
}

// The worst growth, after giving deferred frees (RCU, per-CPU lists) time to happen.
std::pair<std::string, long> worst(const Counters &before) {
    std::pair<std::string, long> out;
    for (int tries = 0; tries < 20; ++tries) {
        out = {"nothing", 0};
        for (const auto &[name, value] : read_counters()) {
            auto old = before.find(name);
            long growth = value - (old == before.end() ? 0 : old->second);
            if (growth > out.second) out = {name, growth};
        }
        if (out.second < tolerance) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return out;
}

long references() {
    long count = -1;
    std::ifstream("/sys/module/hwv/refcnt") >> count;
    return count;
}

} // namespace

// With an argument: only what is killed, for others to kill.
int main(int argc, char **) {
    if (argc > 1) return victim();
    std::mt19937 random(20240229);
    for (int i = 0; i < warm_up; ++i)
        kill_one(random);
    read_counters(); // warms up the reading itself
    Counters before = read_counters();
    for (int i = 0; i < rounds; ++i)
        kill_one(random);
    auto [name, growth] = worst(before);
    report("nothing_is_left", growth < tolerance, name + " grew by " + std::to_string(growth));
    expect("module_references", references(), 0);
    return verdict();
}
