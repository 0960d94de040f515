// SPDX-License-Identifier: GPL-2.0-only
// statistics.hpp - counts and times of every exit, in a page group that others map and read
// meanwhile. One writer: the vCPU's thread, which asks counting() first (core/count.hpp).
#pragma once
#include <bit>
#include <cstdint>
#include "hwv.h"

namespace hwv::instrument {

class Statistics {
  public:
    // Zeroed, HWV_STATS_BYTES. Before it, nothing else.
    void use(hwv_vcpu_stats *page) {
        page_ = page;
        page_->version = HWV_STATS_VERSION;
        page_->reasons = HWV_EXIT_CPU_REASONS;
    }
    hwv_vcpu_stats *page() const { return page_; }

    // Every boundary is one TSC read that ends one segment and starts the next: nothing is lost or
    // counted twice.
    void cut(hwv_segment_kind ended, std::uint64_t tsc) {
        hwv_vcpu_stats &page = *page_;
        const std::uint64_t cycles = since(page, tsc);
        hwv_segment_stats &s = page.segment[ended];
        s.cycles += cycles;
        if (ended == HWV_TIME_KERNEL) {
            page.open_cycles += cycles;
            return;
        }
        ++s.count;
        note(s, cycles);
    }

    // HWV_RUN begins. The first one is where the count of time starts.
    void begin(std::uint64_t tsc) {
        if (!page_->first_tsc) page_->first_tsc = page_->last_tsc = tsc;
        cut(HWV_TIME_USER, tsc);
    }

    // An exit's record is open from the exit until the next entry; only the kernel's time in
    // between is its own.
    [[gnu::always_inline]] void exit(hwv_exit_reason reason, std::uint64_t tsc) {
        hwv_vcpu_stats &page = *page_;
        const std::uint64_t cycles = since(page, tsc);
        hwv_segment_stats &guest = page.segment[HWV_TIME_GUEST];
        guest.cycles += cycles;
        note(guest, cycles);
        page.open_reason = reason;
        page.open_cycles = 0;
    }
    [[gnu::always_inline]] void entry(std::uint64_t tsc) {
        hwv_vcpu_stats &page = *page_;
        const std::uint64_t cycles = since(page, tsc);
        page.segment[HWV_TIME_KERNEL].cycles += cycles;
        ++page.entries;
        const std::uint64_t reason = page.open_reason;
        if (reason == HWV_EXIT_NONE) return;
        const std::uint64_t own = page.open_cycles + cycles;
        hwv_exit_stats *s = page.exit + reason;
        asm("" : "+r"(s)); // an address, not to be worked out for each use
        ++s->count;
        s->cycles += own;
        note(*s, own);
        page.open_reason = HWV_EXIT_NONE;
    }
    void left_to_user() {
        const std::uint64_t reason = page_->open_reason;
        if (reason != HWV_EXIT_NONE) ++page_->exit[reason].to_user;
    }

    // What the exit was about. The hottest keys of a set come to its first slots and stay; a new
    // one takes the place of the rarest.
    [[gnu::always_inline]] void key(hwv_exit_reason reason, std::uint64_t key) {
        const std::uint64_t tag = tag_of(reason, key);
        hwv_key_stats *set = page_->key + set_of(tag) * HWV_KEY_WAYS;
        if (set->tag == tag) [[likely]]
            ++set->count;
        else
            look_further(set, tag);
    }

    static constexpr std::uint64_t tag_of(hwv_exit_reason reason, std::uint64_t key) {
        return std::uint64_t{reason} << 56 | (key & ((1ull << 56) - 1));
    }
    static constexpr unsigned set_of(std::uint64_t tag) {
        return static_cast<unsigned>(tag * 0x9e37'79b9'7f4a'7c15 >> 58); // of HWV_KEY_SETS
    }
    static constexpr unsigned bucket(std::uint64_t cycles) {
        return static_cast<unsigned>(std::bit_width(cycles | 1)) - 1;
    }

  private:
    static std::uint64_t since(hwv_vcpu_stats &page, std::uint64_t tsc) {
        const std::uint64_t cycles = tsc - page.last_tsc;
        page.last_tsc = tsc;
        return cycles;
    }
    template <typename S>
    [[gnu::always_inline]] static void note(S &s, std::uint64_t cycles) {
        if (cycles > s.max_cycles) s.max_cycles = cycles;
        ++s.histogram[bucket(cycles)];
    }
    [[gnu::noinline]] static void look_further(hwv_key_stats *set, std::uint64_t tag) {
        unsigned rarest = 0;
        for (unsigned i = 0; i < HWV_KEY_WAYS; ++i) {
            hwv_key_stats &slot = set[i];
            if (slot.tag == tag) {
                ++slot.count;
                if (i && slot.count > set[i - 1].count) swap(slot, set[i - 1]);
                return;
            }
            if (slot.count < set[rarest].count) rarest = i;
        }
        set[rarest] = {tag, 1};
    }
    static void swap(hwv_key_stats &a, hwv_key_stats &b) {
        const hwv_key_stats was = a;
        a = b;
        b = was;
    }

    hwv_vcpu_stats *page_ = nullptr;
};

static_assert(sizeof(hwv_vcpu_stats) <= HWV_STATS_BYTES);
static_assert(HWV_KEY_SETS == 64, "set_of() takes six bits");
static_assert(Statistics::bucket(0) == 0 && Statistics::bucket(1) == 0 &&
              Statistics::bucket(2) == 1 && Statistics::bucket(~0ull) == HWV_HISTOGRAM - 1);

} // namespace hwv::instrument
