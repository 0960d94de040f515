// SPDX-License-Identifier: GPL-2.0-only
// fixture.hpp - small recordings in a temporary file.
#pragma once
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>
#include <gtest/gtest.h>
#include "records/describe.hpp"
#include "records/writer.hpp"

namespace records {

// A name of its own for each test and process; the file goes with it.
class TemporaryFile {
  public:
    TemporaryFile()
        : path_{testing::TempDir() + "hwv-records-" + std::to_string(::getpid()) + "-" +
                std::to_string(++count_)} {}
    ~TemporaryFile() { std::filesystem::remove(path_); }
    const std::string &path() const { return path_; }
    std::string text() const {
        std::ifstream in{path_, std::ios::binary};
        return {std::istreambuf_iterator<char>{in}, {}};
    }
    void write(const std::string &text) const { std::ofstream{path_, std::ios::binary} << text; }

  private:
    static inline int count_ = 0;
    std::string path_;
};

inline Identity an_identity() {
    Identity i;
    i.vm = 7;
    i.name = "guest";
    i.pid = 42;
    i.tsc_khz = 1'000'000; // a cycle is a nanosecond
    i.start_tsc = 1000;
    i.host = "host 6.1";
    return i;
}

inline hwv_record a_record(unsigned reason, std::uint64_t exit, std::uint64_t took = 100) {
    hwv_record r{};
    r.tsc_exit = exit;
    r.tsc_entry = exit + took;
    r.rip = 0xffffffff81000000;
    r.reason = static_cast<__u8>(reason);
    return r;
}

// Numbered as the kernel does.
inline std::vector<hwv_record> numbered(std::vector<hwv_record> records) {
    for (std::size_t i = 0; i < records.size(); ++i)
        records[i].sequence = static_cast<__u32>(i);
    return records;
}

inline hwv_vcpu_stats empty_stats() {
    hwv_vcpu_stats s{};
    s.version = HWV_STATS_VERSION;
    s.reasons = HWV_EXIT_CPU_REASONS;
    return s;
}

inline void count_exit(hwv_vcpu_stats &s, unsigned reason, std::uint64_t cycles) {
    ++s.exit[reason].count;
    s.exit[reason].cycles += cycles;
    s.exit[reason].max_cycles = std::max<__u64>(s.exit[reason].max_cycles, cycles);
    ++s.exit[reason].histogram[63 - __builtin_clzll(cycles)];
    s.segment[HWV_TIME_KERNEL].cycles += cycles;
}

// Two vCPUs, three exits each, in turns; whole.
inline void write_sample(const std::string &path, const Identity &identity = an_identity()) {
    Writer writer{path, identity};
    for (unsigned v = 0; v < 2; ++v)
        writer.snapshot(v, Phase::begin, 1000, empty_stats());
    for (unsigned v = 0; v < 2; ++v) {
        auto cpuid = a_record(HWV_EXIT_CPUID, 1100 + v * 50);
        auto out = a_record(HWV_EXIT_IO, 2100 + v * 50, 3000);
        out.key = 0x3f8;
        out.data = 'A';
        out.rip = 0xffffffff81000123;
        out.flags = HWV_RECORD_TO_USER;
        auto hlt = a_record(HWV_EXIT_HLT, 9100 + v * 50, 70000);
        hlt.flags = HWV_RECORD_HALTED | 3;
        writer.records(v, numbered({cpuid, out, hlt}));
        writer.ring(v, {3, 3, 0, 0});
        hwv_vcpu_stats end = empty_stats();
        count_exit(end, HWV_EXIT_CPUID, 100);
        count_exit(end, HWV_EXIT_IO, 800);
        ++end.exit[HWV_EXIT_IO].to_user;
        count_exit(end, HWV_EXIT_HLT, 500);
        end.segment[HWV_TIME_GUEST].cycles = 5000;
        end.entries = 4;
        writer.snapshot(v, Phase::end, 90000, end);
    }
    writer.finish();
}

} // namespace records
