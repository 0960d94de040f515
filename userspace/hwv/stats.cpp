// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/stats.hpp"
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <numeric>
#include "hwv/error.hpp"

namespace hwv {
namespace {

constexpr unsigned tries = 1000;

template <typename Times>
std::uint64_t mass(const Times &times) {
    return std::accumulate(std::begin(times.histogram), std::end(times.histogram),
                           std::uint64_t{0});
}

// What holds of each moment between two updates, and of no half one.
bool consistent(const hwv_vcpu_stats &s) {
    std::uint64_t cycles = 0;
    for (unsigned i = 0; i < HWV_TIME_SEGMENTS; ++i) {
        cycles += s.segment[i].cycles;
        if (i != HWV_TIME_KERNEL && i != HWV_TIME_GUEST && mass(s.segment[i]) != s.segment[i].count)
            return false;
    }
    if (cycles != s.last_tsc - s.first_tsc) return false;
    std::uint64_t exits = s.open_reason != HWV_EXIT_NONE;
    for (const hwv_exit_stats &e : s.exit) {
        if (mass(e) != e.count) return false;
        exits += e.count;
    }
    // The entry under way has not come back yet.
    return exits == mass(s.segment[HWV_TIME_GUEST]) && s.entries - exits <= 1;
}

// The exit under way is one of its reason, and the guest's stretches are counted as the others'
// are.
void complete(hwv_vcpu_stats &s) {
    s.segment[HWV_TIME_GUEST].count = mass(s.segment[HWV_TIME_GUEST]);
    if (s.open_reason == HWV_EXIT_NONE || s.open_reason >= HWV_EXIT_CPU_REASONS) return;
    hwv_exit_stats &e = s.exit[s.open_reason];
    const unsigned bucket =
        s.open_cycles ? 63u - static_cast<unsigned>(__builtin_clzll(s.open_cycles)) : 0;
    ++e.count;
    e.cycles += s.open_cycles;
    e.max_cycles = std::max(e.max_cycles, s.open_cycles);
    ++e.histogram[bucket];
}

} // namespace

StatsPage::StatsPage(int fd, std::uint32_t vcpu) {
    void *at = ::mmap(nullptr, HWV_STATS_BYTES, PROT_READ, MAP_SHARED, fd,
                      static_cast<off_t>(HWV_MAP(HWV_MAP_STATS, vcpu)));
    if (at == MAP_FAILED && errno == ENODATA)
        throw Error{ENODATA, "hwv counts no exits: it was loaded with statistics=off"};
    if (at == MAP_FAILED && errno == ENOENT)
        throw Error{ENOENT, "the VM has no vCPU " + std::to_string(vcpu)};
    if (at == MAP_FAILED && errno == ESRCH) throw Error{ESRCH, "the VM has ended"};
    if (at == MAP_FAILED) fail("map the statistics");
    pages_ = Mapping{at, HWV_STATS_BYTES};
}

Stats StatsPage::read() const {
    const auto *page = static_cast<const hwv_vcpu_stats *>(pages_.data());
    Stats out;
    for (unsigned i = 0; i < tries; ++i) {
        std::memcpy(&out.raw, page, sizeof out.raw);
        std::atomic_thread_fence(std::memory_order_acquire);
        const volatile __u64 &last = page->last_tsc;
        if (last == out.raw.last_tsc && consistent(out.raw)) break;
    }
    if (out.raw.version != HWV_STATS_VERSION)
        throw Error{0, "the module's statistics are of version " + std::to_string(out.raw.version) +
                           ", and this hwvctl knows " + std::to_string(HWV_STATS_VERSION)};
    complete(out.raw);
    return out;
}

std::uint64_t Stats::exits() const {
    return std::accumulate(
        std::begin(raw.exit), std::end(raw.exit), std::uint64_t{0},
        [](std::uint64_t sum, const hwv_exit_stats &e) { return sum + e.count; });
}

std::uint64_t Stats::exits_to_user() const {
    return std::accumulate(
        std::begin(raw.exit), std::end(raw.exit), std::uint64_t{0},
        [](std::uint64_t sum, const hwv_exit_stats &e) { return sum + e.to_user; });
}

std::vector<KeyCount> Stats::keys() const {
    std::vector<KeyCount> out;
    for (const hwv_key_stats &k : raw.key)
        if (k.tag)
            out.push_back(
                {static_cast<std::uint32_t>(k.tag >> 56), k.tag & ((1ull << 56) - 1), k.count});
    std::stable_sort(out.begin(), out.end(),
                     [](const KeyCount &a, const KeyCount &b) { return a.count > b.count; });
    return out;
}

const char *exit_name(std::uint32_t reason) {
    static constexpr std::array<const char *, HWV_EXIT_CPU_REASONS> names{"none",
                                                                          "host_interrupt",
                                                                          "host_nmi",
                                                                          "interrupt_window",
                                                                          "nmi_window",
                                                                          "hlt",
                                                                          "cpuid",
                                                                          "io",
                                                                          "msr_read",
                                                                          "msr_write",
                                                                          "hypercall",
                                                                          "page_fault",
                                                                          "exception",
                                                                          "cr_read",
                                                                          "cr_write",
                                                                          "dr_access",
                                                                          "rdtsc",
                                                                          "rdtscp",
                                                                          "rdpmc",
                                                                          "invlpg",
                                                                          "invd",
                                                                          "wbinvd",
                                                                          "monitor",
                                                                          "mwait",
                                                                          "pause",
                                                                          "xsetbv",
                                                                          "descriptor",
                                                                          "task_switch",
                                                                          "shutdown",
                                                                          "init",
                                                                          "smi",
                                                                          "rsm",
                                                                          "virt_instruction",
                                                                          "machine_check",
                                                                          "timer",
                                                                          "step",
                                                                          "invalid_state",
                                                                          "rdpru",
                                                                          "invpcid",
                                                                          "unknown",
                                                                          "apic_write"};
    if (reason < names.size()) return names[reason];
    switch (reason) {
    case HWV_EXIT_MMIO: return "mmio";
    case HWV_EXIT_EOI: return "eoi";
    case HWV_EXIT_KICKED: return "kicked";
    case HWV_EXIT_ERROR: return "error";
    case HWV_EXIT_RESET: return "reset";
    default: return "?";
    }
}

const char *segment_name(hwv_segment_kind kind) {
    static constexpr const char *names[] = {"guest",       "kernel", "halted",
                                            "descheduled", "user",   "stopped"};
    return kind < HWV_TIME_SEGMENTS ? names[kind] : "?";
}

} // namespace hwv
