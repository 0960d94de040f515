// SPDX-License-Identifier: GPL-2.0-only
#include "records/profile.hpp"
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include "hwv/error.hpp"
#include "records/describe.hpp"
#include "records/merge.hpp"

namespace records {
namespace {

constexpr std::uint64_t lstar = 0xc0000082;

unsigned bucket(std::uint64_t cycles) {
    return cycles ? 63u - static_cast<unsigned>(__builtin_clzll(cycles)) : 0;
}

template <typename Get>
std::uint64_t sum(const std::array<Tally, HWV_EXIT_CPU_REASONS> &exits, Get get) {
    std::uint64_t out = 0;
    for (const Tally &t : exits)
        out += get(t);
    return out;
}

// Without the exit under way, which reading the page has counted.
void closed(hwv_vcpu_stats &s) {
    if (s.open_reason == HWV_EXIT_NONE || s.open_reason >= HWV_EXIT_CPU_REASONS) return;
    hwv_exit_stats &e = s.exit[s.open_reason];
    if (!e.count) return;
    --e.count;
    e.cycles -= std::min(e.cycles, s.open_cycles);
    __u64 &h = e.histogram[bucket(s.open_cycles)];
    h -= h != 0;
}

// A file's numbers may be anything: a difference never wraps.
std::uint64_t less(std::uint64_t end, std::uint64_t begin) { return end > begin ? end - begin : 0; }

void add_difference(Profile &out, const hwv_vcpu_stats &begin, const hwv_vcpu_stats &end) {
    out.entries += less(end.entries, begin.entries);
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i)
        out.segments[i] += less(end.segment[i].cycles, begin.segment[i].cycles);
    for (unsigned r = 0; r < HWV_EXIT_CPU_REASONS; ++r) {
        const hwv_exit_stats &b = begin.exit[r], &e = end.exit[r];
        Tally &t = out.exits[r];
        t.count += less(e.count, b.count);
        t.to_user += less(e.to_user, b.to_user);
        t.cycles += less(e.cycles, b.cycles);
        // Of all the vCPU's life, where no other bound is known.
        if (less(e.count, b.count))
            t.max_cycles = std::max<std::uint64_t>(t.max_cycles, e.max_cycles);
        for (unsigned h = 0; h < HWV_HISTOGRAM; ++h)
            t.histogram[h] += less(e.histogram[h], b.histogram[h]);
    }
}

const Snapshot *snapshot(const Recording &recording, std::uint32_t vcpu, Phase phase) {
    for (const Snapshot &s : recording.snapshots())
        if (s.vcpu == vcpu && s.phase == phase) return &s;
    return nullptr;
}

// The vCPU ended in an exit, which has its record then.
bool ends_unfinished(const Ring &ring) {
    const auto last = std::find_if(ring.pieces.rbegin(), ring.pieces.rend(),
                                   [](const auto &piece) { return !piece.empty(); });
    if (last == ring.pieces.rend()) return false;
    hwv_record record;
    std::memcpy(&record, last->data() + last->size() - sizeof record, sizeof record);
    return record.flags & HWV_RECORD_UNFINISHED;
}

// False where a ring's vCPU lacks a snapshot.
bool add_statistics(Profile &out, const Recording &recording) {
    for (const Ring &ring : recording.rings())
        if (!snapshot(recording, ring.vcpu, Phase::begin) ||
            !snapshot(recording, ring.vcpu, Phase::end))
            return false;
    for (const Ring &ring : recording.rings()) {
        hwv_vcpu_stats begin = snapshot(recording, ring.vcpu, Phase::begin)->stats;
        hwv_vcpu_stats end = snapshot(recording, ring.vcpu, Phase::end)->stats;
        // A record is written when its exit is over. Of the exit during which the ring was opened
        // there is one only where another observer had a ring already.
        hwv_record first;
        if (Cursor{ring}.next(first) && first.tsc_exit <= begin.last_tsc) closed(begin);
        if (!ends_unfinished(ring)) closed(end);
        add_difference(out, begin, end);
    }
    return !recording.rings().empty();
}

void add_record(Profile &out, const hwv_record &r) {
    RecordSums &sums = *out.records;
    const unsigned reason = std::min<unsigned>(r.reason, HWV_EXIT_UNKNOWN);
    sums.exits[reason].add(took(r), r.flags & HWV_RECORD_TO_USER);
    if (!sums.records++) sums.first_tsc = r.tsc_exit;
    sums.last_tsc = std::max<std::uint64_t>({sums.last_tsc, r.tsc_exit, r.tsc_entry});
    sums.unfinished += (r.flags & HWV_RECORD_UNFINISHED) != 0;
    if (reason == HWV_EXIT_MSR_WRITE && r.key == lstar) sums.syscall_entry = r.data;
    Count &key = out.keys[{reason, r.key}];
    ++key.count;
    key.cycles += took(r);
    Place &place = sums.places[r.rip];
    ++place.count;
    place.cycles += took(r);
    ++place.reasons[reason];
}

// Missing sequence numbers of a ring, in its own order, up to the last one that the kernel gave.
std::uint64_t gaps(const Ring &ring) {
    std::uint64_t missing = 0;
    std::uint32_t expected = 0;
    hwv_record record;
    for (Cursor cursor{ring}; cursor.next(record); expected = record.sequence + 1)
        missing += static_cast<std::uint32_t>(record.sequence - expected);
    if (ring.end) missing += static_cast<std::uint32_t>(ring.end->matched - expected);
    return missing;
}

} // namespace

void Tally::add(std::uint64_t took, bool user) {
    ++count;
    to_user += user;
    cycles += took;
    max_cycles = std::max(max_cycles, took);
    ++histogram[bucket(took)];
}

unsigned Place::reason() const {
    return static_cast<unsigned>(std::max_element(reasons.begin(), reasons.end()) -
                                 reasons.begin());
}

std::uint64_t Profile::count() const {
    return sum(exits, [](const Tally &t) { return t.count; });
}
std::uint64_t Profile::cycles() const {
    return sum(exits, [](const Tally &t) { return t.cycles; });
}
std::uint64_t Profile::to_user() const {
    return sum(exits, [](const Tally &t) { return t.to_user; });
}
std::uint64_t Profile::life() const {
    std::uint64_t all = 0;
    for (const std::uint64_t s : segments)
        all += s;
    if (!all && records) all = less(records->last_tsc, records->first_tsc);
    return all;
}

bool Profile::agrees() const {
    if (!records || !from_statistics) return false;
    for (unsigned r = 0; r < HWV_EXIT_CPU_REASONS; ++r)
        if (exits[r].count != records->exits[r].count) return false;
    return true;
}

Profile profile_of(const Recording &recording, const Filter *filter) {
    Profile out;
    const Identity &identity = recording.identity();
    out.name = recording.name();
    out.tsc_khz = identity.tsc_khz;
    RecordSums &sums = out.records.emplace();
    in_order(recording, [&](const hwv_record &r) {
        if (!filter || filter->matches(r, out.tsc_khz)) add_record(out, r);
    });
    bool ends = true;
    for (const Ring &ring : recording.rings()) {
        sums.gaps += gaps(ring);
        ends = ends && ring.end;
        if (!ring.end) continue;
        sums.matched += ring.end->matched;
        sums.dropped += ring.end->dropped;
        sums.blocked += ring.end->blocked;
    }
    if (!filter) out.from_statistics = add_statistics(out, recording);
    if (!out.from_statistics) out.exits = sums.exits;
    sums.complete = ends && !filter && !sums.dropped && !sums.gaps && identity.every <= 1 &&
                    identity.filter.empty() && !~identity.reasons;
    // The statistics have counted too that the exit under way left to user.
    for (unsigned r = 0; r < HWV_EXIT_CPU_REASONS; ++r)
        out.exits[r].to_user = sums.complete ? sums.exits[r].to_user
                                             : std::min(out.exits[r].to_user, out.exits[r].count);
    return out;
}

Profile profile_of(const std::string &name, std::uint32_t tsc_khz,
                   std::span<const hwv::Stats> vcpus) {
    Profile out;
    out.name = name;
    out.tsc_khz = tsc_khz;
    out.from_statistics = true;
    for (const hwv::Stats &stats : vcpus) {
        add_difference(out, {}, stats.raw);
        for (const hwv::KeyCount &k : stats.keys())
            out.keys[{k.reason, k.key}].count += k.count;
    }
    return out;
}

Profile load_profile(const std::string &path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) hwv::fail("open '" + path + "'");
    if (file.peek() == magic[0]) return profile_of(Recording::open(path));
    return profile_from_json({std::istreambuf_iterator<char>{file}, {}}, path);
}

std::vector<unsigned> occurred(const std::array<Tally, HWV_EXIT_CPU_REASONS> &exits) {
    std::vector<unsigned> order;
    for (unsigned i = 0; i < exits.size(); ++i)
        if (exits[i].count) order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](unsigned a, unsigned b) { return exits[a].count > exits[b].count; });
    return order;
}

// The most frequent ones do: more make the search longer and no better.
std::vector<ExitSite> sites(const RecordSums &records) {
    constexpr std::size_t enough = 1000;
    std::vector<ExitSite> out;
    for (const auto &[rip, place] : records.places)
        out.push_back({place.reason(), rip, place.count});
    std::sort(out.begin(), out.end(),
              [](const ExitSite &a, const ExitSite &b) { return a.count > b.count; });
    if (out.size() > enough) out.resize(enough);
    return out;
}

} // namespace records
