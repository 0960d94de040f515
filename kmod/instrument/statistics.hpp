// SPDX-License-Identifier: GPL-2.0-only
// statistics.hpp - counts and times of every exit, always on. One writer (the vCPU's thread); a
// reader sees each word whole.
#pragma once
#include <bit>
#include <cstdint>
#include "hwv.h"

namespace hwv::instrument {

// The segments that a vCPU's life is cut into; names as in hwv_time.
enum class Segment : std::uint8_t { guest, kernel, halted, descheduled, user };

class Statistics {
  public:
    // Every boundary is one TSC read that ends one segment and starts the next: nothing is lost or
    // counted twice.
    void cut(Segment ended, std::uint64_t tsc) {
        const std::uint64_t cycles = tsc - time_.last_tsc;
        time_.last_tsc = tsc;
        if (ended == Segment::kernel) open_cycles_ += cycles;
        slot(ended) += cycles;
    }

    // HWV_RUN begins. The first one is where the count of time starts.
    void begin(std::uint64_t tsc) {
        if (!time_.first_tsc) time_.first_tsc = time_.last_tsc = tsc;
        cut(Segment::user, tsc);
    }

    // An exit's record is open from the exit until the next entry; only the kernel's time in
    // between is its own.
    void open(hwv_exit_reason reason) {
        open_reason_ = reason;
        open_cycles_ = 0;
    }
    void left_to_user() { exits_[open_reason_].to_user += open_reason_ != HWV_EXIT_NONE; }
    void entry(std::uint64_t tsc) {
        cut(Segment::kernel, tsc);
        ++entries_;
        if (open_reason_ == HWV_EXIT_NONE) return;
        hwv_exit_stats &s = exits_[open_reason_];
        ++s.count;
        s.cycles += open_cycles_;
        if (open_cycles_ > s.max_cycles) s.max_cycles = open_cycles_;
        ++s.histogram[bucket(open_cycles_)];
        open_reason_ = HWV_EXIT_NONE;
    }

    // A copy that includes the record still open, so that N exits show as N.
    void snapshot(hwv_exit_stats *exits, hwv_time &time, std::uint64_t &entries) const {
        for (unsigned i = 0; i < HWV_EXIT_CPU_REASONS; ++i)
            exits[i] = exits_[i];
        time = time_;
        entries = entries_;
        if (open_reason_ == HWV_EXIT_NONE) return;
        hwv_exit_stats &s = exits[open_reason_];
        ++s.count;
        s.cycles += open_cycles_;
        if (open_cycles_ > s.max_cycles) s.max_cycles = open_cycles_;
        ++s.histogram[bucket(open_cycles_)];
    }

    static constexpr unsigned bucket(std::uint64_t cycles) {
        const unsigned b = static_cast<unsigned>(std::bit_width(cycles | 1)) - 1;
        return b < HWV_HISTOGRAM ? b : HWV_HISTOGRAM - 1;
    }

  private:
    __u64 &slot(Segment s) {
        switch (s) {
        case Segment::guest: return time_.guest;
        case Segment::kernel: return time_.kernel;
        case Segment::halted: return time_.halted;
        case Segment::descheduled: return time_.descheduled;
        case Segment::user: break;
        }
        return time_.user;
    }

    hwv_exit_stats exits_[HWV_EXIT_CPU_REASONS] = {};
    hwv_time time_ = {};
    std::uint64_t entries_ = 0;
    std::uint64_t open_cycles_ = 0;
    hwv_exit_reason open_reason_ = HWV_EXIT_NONE;
};

static_assert(Statistics::bucket(0) == 0 && Statistics::bucket(1) == 0 &&
              Statistics::bucket(2) == 1);
static_assert(Statistics::bucket(~0ull) == HWV_HISTOGRAM - 1);

} // namespace hwv::instrument
