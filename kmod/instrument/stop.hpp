// SPDX-License-Identifier: GPL-2.0-only
// stop.hpp - a vCPU that stands at an exit until the observer whose rule it was says how it goes
// on. Under the vCPU's lock but for waiting().
#pragma once
#include "instrument/policy.hpp"

namespace hwv::instrument {

class Stop {
  public:
    static constexpr std::uint32_t by_program = ~0u; // hwv_stop.rule

    // The vCPU's thread.
    void begin(const hwv_stop &what, std::uint64_t observer) {
        what_ = what;
        observer_ = observer;
        reply_ = {};
        waiting_.store(true, std::memory_order_release);
    }
    // It is over, whatever ended it. PASS is a verdict that decides nothing.
    Verdict end() {
        waiting_.store(false, std::memory_order_relaxed);
        return reply_;
    }

    // Any thread.
    bool waiting() const { return waiting_.load(std::memory_order_acquire); }
    bool get(std::uint64_t observer, hwv_stop &out) const {
        if (!waiting() || observer_ != observer) return false;
        out = what_;
        return true;
    }
    bool is(std::uint64_t observer, std::uint64_t id) const {
        return waiting() && observer_ == observer && what_.id == id;
    }
    void reply(const Verdict &verdict) {
        reply_ = verdict;
        waiting_.store(false, std::memory_order_release);
    }
    ExitReason reason() const { return static_cast<ExitReason>(what_.reason); }
    void let_go(std::uint64_t observer) {
        if (observer_ == observer) waiting_.store(false, std::memory_order_release);
    }

  private:
    std::atomic<bool> waiting_{false};
    std::uint64_t observer_ = 0; // by his age: another one may have his slot meanwhile
    hwv_stop what_{};
    Verdict reply_;
};

// What the observer said, for an exit of that reason. False: that cannot be.
inline bool verdict_of(const hwv_stop_reply &r, ExitReason reason, Verdict &out) {
    constexpr hwv_action actions[] = {HWV_ACTION_COUNT, HWV_ACTION_ANSWER, HWV_ACTION_SKIP,
                                      HWV_ACTION_INJECT};
    if (r.action > HWV_STOP_INJECT || r.has_error_code > 1 || r.reserved || r.reserved1)
        return false;
    out = {
        actions[r.action], r.vector, r.has_error_code != 0, r.error_code, {r.value[0], r.value[1]}};
    return may(out.action, reason) && (out.action != HWV_ACTION_INJECT ||
                                       injectable(r.vector, out.has_error_code, r.error_code));
}

} // namespace hwv::instrument
