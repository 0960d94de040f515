// SPDX-License-Identifier: GPL-2.0-only
#include "module/growth.hpp"
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <thread>

namespace growth {

namespace {

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

} // namespace

Counters read() {
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

std::pair<std::string, long> worst(const Counters &before, long tolerance) {
    std::pair<std::string, long> out;
    for (int tries = 0; tries < 20; ++tries) {
        out = {"nothing", 0};
        for (const auto &[name, value] : read()) {
            auto old = before.find(name);
            long growth = value - (old == before.end() ? 0 : old->second);
            if (growth > out.second) out = {name, growth};
        }
        if (out.second < tolerance) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return out;
}

long module_references() {
    long count = -1;
    std::ifstream("/sys/module/hwv/refcnt") >> count;
    return count;
}

} // namespace growth
