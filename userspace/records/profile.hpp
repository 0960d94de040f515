// SPDX-License-Identifier: GPL-2.0-only
// profile.hpp - exits summed up: from a recording, from a VM's statistics, or from the JSON of
// either. What diff compares and advise judges.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>
#include "hwv/stats.hpp"
#include "records/filter.hpp"
#include "records/recording.hpp"
#include "records/symbols.hpp"

namespace records {

// A number of exits and their times, in cycles.
struct Tally {
    std::uint64_t count = 0, to_user = 0, cycles = 0, max_cycles = 0;
    std::array<std::uint64_t, HWV_HISTOGRAM> histogram{}; // its mass is count

    void add(std::uint64_t took, bool user);
};

struct Count {
    std::uint64_t count = 0, cycles = 0;
};

// Where exits happened.
struct Place {
    std::uint64_t count = 0, cycles = 0;
    std::array<std::uint32_t, HWV_EXIT_CPU_REASONS> reasons{};
    unsigned reason() const; // the most frequent one
};

// What only records tell.
struct RecordSums {
    std::array<Tally, HWV_EXIT_CPU_REASONS> exits{}; // exit to entry, waiting included
    std::uint64_t records = 0, unfinished = 0;
    std::uint64_t matched = 0, dropped = 0, blocked = 0; // as the rings say
    std::uint64_t gaps = 0; // sequence numbers that are missing: `dropped` when all is well
    bool complete = false;  // every exit while it was recorded has its record
    std::uint64_t first_tsc = 0, last_tsc = 0;
    std::map<std::uint64_t, Place> places; // by RIP
    std::uint64_t syscall_entry = 0;       // last value of LSTAR that was written; 0: none seen
};

struct Profile {
    std::string name; // file, or VM
    std::uint32_t tsc_khz = 0;
    std::uint64_t entries = 0;
    // Own time: without what was spent halted, descheduled, stopped and in user.
    std::array<Tally, HWV_EXIT_CPU_REASONS> exits{};
    std::array<std::uint64_t, HWV_TIME_SEGMENTS> segments{}; // cycles
    std::map<std::pair<unsigned, std::uint64_t>, Count>
        keys;                     // by reason and key; cycles from records alone
    bool from_statistics = false; // else `exits` are sums of the records, and segments are 0
    std::optional<RecordSums> records;

    std::uint64_t count() const;  // exits of all reasons
    std::uint64_t cycles() const; // their own time
    std::uint64_t to_user() const;
    std::uint64_t life() const; // cycles: all segments, or from the first record to the last
    double us(std::uint64_t cycles) const { return static_cast<double>(cycles) * 1000.0 / tsc_khz; }
    // Of each reason as many records as the statistics counted exits.
    bool agrees() const;
    double seconds() const { return us(life()) / 1e6; }
};

// Of the records that the filter lets through. Without a filter the counts are those of the
// statistics, where the file has them: between the beginning and the end of the recording.
Profile profile_of(const Recording &recording, const Filter *filter = nullptr);
Profile profile_of(const std::string &name, std::uint32_t tsc_khz,
                   std::span<const hwv::Stats> vcpus);

// `report --json`, `stat --json`, `run --json`. Throws Error.
std::string to_json(const Profile &profile, const Symbols *symbols = nullptr);
Profile profile_from_json(const std::string &text, const std::string &name);

// By what the file is: a recording or JSON.
Profile load_profile(const std::string &path);

// Upper bound, in cycles, below which the share of the times lies.
inline std::uint64_t percentile(const Tally &t, double share) { return hwv::percentile(t, share); }

// Reasons that occurred, the most frequent first.
std::vector<unsigned> occurred(const std::array<Tally, HWV_EXIT_CPU_REASONS> &exits);
std::vector<ExitSite> sites(const RecordSums &records);

} // namespace records
