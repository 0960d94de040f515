// SPDX-License-Identifier: GPL-2.0-only
// apic_timer.hpp - the local APIC's timer: one-shot, periodic, TSC deadline, on the host's one-shot
// timer or on one of the CPU's that ends the guest. Manual: Intel SDM vol. 3, "APIC Timer",
// "TSC-Deadline Mode".
#pragma once
#include <cstdint>
#include "cpu/tsc.hpp"

struct hwv_host_vcpu;

namespace hwv::cpu {

// The timer's clock before the divider: 1 GHz, one tick a nanosecond, as under KVM.
inline constexpr std::uint32_t apic_timer_khz = 1'000'000;

// A periodic timer never runs faster than this, whatever the guest asks for: else it would spend
// the host's time in interrupts.
inline constexpr std::uint64_t minimum_period_ns = 20'000;

// All but nothing of this is touched by the host timer's callback: that one only leaves a flag with
// the owner (LocalApic). Every call that may arm returns whether the timer is due already: the
// owner then calls expire() before the next entry.
class ApicTimer {
  public:
    enum class Mode : std::uint8_t { one_shot, periodic, deadline, reserved };

    explicit ApicTimer(hwv_host_vcpu *host) : host_{host} {}

    void reset(); // stops; one-shot, masked, divided by 2

    // LVT: mode bits 18:17, mask bit 16
    [[nodiscard]] bool configure(Mode mode, bool masked);
    [[nodiscard]] bool set_initial_count(std::uint32_t count);
    [[nodiscard]] bool set_divide(std::uint32_t configuration);
    [[nodiscard]] bool set_deadline(std::uint64_t guest_tsc); // ignored out of deadline mode
    // guest TSC = host TSC, scaled, + offset, at `khz`
    [[nodiscard]] bool set_tsc(std::uint32_t khz, std::uint64_t offset, TscRatio ratio);

    std::uint32_t initial_count() const { return initial_; }
    std::uint32_t current_count() const;
    std::uint32_t divide_configuration() const { return divide_; }
    std::uint64_t deadline() const; // 0 once it has passed

    struct Expiry {
        bool interrupt; // the LVT entry's interrupt is to be raised
        bool due;       // and expire() is to be called again before the next entry
    };
    // The host timer fired, or a call said "due". Looks at the clock itself, so that a stale or
    // early call does no harm; periodic timers stay on their grid, and periods that passed unseen
    // are one interrupt, as IRR has one bit.
    Expiry expire();

    // The CPU counts from now on, to due_tsc(), and not the host's timer; or that again. True: due.
    [[nodiscard]] bool count_by_cpu(bool on);
    bool counted_by_cpu() const { return by_cpu_; }
    std::uint64_t due_tsc() const { return due_tsc_; } // of the host; 0: not counting

    void stop(); // disarms and waits for a callback under way; for the end of life too

  private:
    unsigned shift() const;
    std::uint64_t period_ns() const;
    std::uint64_t to_ns(std::uint64_t tsc_ticks) const;
    std::uint64_t to_ticks(std::uint64_t ns) const;
    std::uint64_t guest_tsc() const;
    bool arm();
    void settle();

    hwv_host_vcpu *host_;
    std::uint64_t due_ns_ = 0;   // one-shot, periodic: when the count reaches 0. 0: not counting
    std::uint64_t deadline_ = 0; // guest TSC. 0: disarmed
    std::uint64_t due_tsc_ = 0;  // where the CPU counts
    std::uint64_t tsc_offset_ = 0;
    TscRatio tsc_ratio_ = tsc_as_host;
    std::uint64_t ns_per_tick_ = 1ull << 32; // of the guest's TSC; 32.32 fixed point
    std::uint32_t initial_ = 0;
    std::uint32_t divide_ = 0;
    Mode mode_ = Mode::one_shot;
    bool masked_ = true;
    bool by_cpu_ = false;
    bool armed_ = false; // the host's timer may be running
};

} // namespace hwv::cpu
