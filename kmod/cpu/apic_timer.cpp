// SPDX-License-Identifier: GPL-2.0-only
// apic_timer.cpp - counting by the clock: nothing ticks, all counts are computed when somebody
// looks.
#include "cpu/apic_timer.hpp"
#include "cpu/native.hpp"

namespace hwv::cpu {
namespace {

// "Divide Configuration Register": bits 3, 1 and 0; 111 divides by 1, 000 by 2.
constexpr unsigned divide_shift(std::uint32_t configuration) {
    const unsigned code = (configuration & 3) | (configuration & 8) >> 1;
    return (code + 1) & 7;
}
static_assert(divide_shift(0b1011) == 0 && divide_shift(0) == 1 && divide_shift(0b0011) == 4 &&
              divide_shift(0b1010) == 7);

// A deadline farther away than this is looked at again when it is nearer.
constexpr std::uint64_t longest_ns = 1ull << 40, longest_by_cpu_ns = 1ull << 31;

} // namespace

unsigned ApicTimer::shift() const { return divide_shift(divide_); }

std::uint64_t ApicTimer::period_ns() const {
    const std::uint64_t ns = static_cast<std::uint64_t>(initial_) << shift();
    return ns < minimum_period_ns ? minimum_period_ns : ns;
}

std::uint64_t ApicTimer::to_ns(std::uint64_t tsc_ticks) const {
    const auto ns = static_cast<unsigned __int128>(tsc_ticks) * ns_per_tick_ >> 32;
    return ns < longest_ns ? static_cast<std::uint64_t>(ns) : longest_ns;
}

std::uint64_t ApicTimer::to_ticks(std::uint64_t ns) const {
    if (!ns_per_tick_) return 0;
    return ((ns < longest_by_cpu_ns ? ns : longest_by_cpu_ns) << 32) / ns_per_tick_;
}

std::uint64_t ApicTimer::guest_tsc() const {
    return scale_tsc(native::tsc(), tsc_ratio_) + tsc_offset_;
}

void ApicTimer::stop() {
    due_ns_ = deadline_ = due_tsc_ = 0;
    native::timer_cancel(host_);
    armed_ = false;
}

void ApicTimer::reset() {
    stop();
    initial_ = divide_ = 0;
    mode_ = Mode::one_shot;
    masked_ = true;
}

// Starts or stops what counts to fit the state; true: due already.
bool ApicTimer::arm() {
    const bool by_tsc = mode_ == Mode::deadline;
    const std::uint64_t due = masked_ ? 0 : by_tsc ? deadline_ : due_ns_;
    const std::uint64_t now = !due ? 0 : by_tsc ? guest_tsc() : native::now_ns();
    if (due && now >= due) return true;
    const bool start = due && !by_cpu_;
    if (start)
        native::timer_start(host_, by_tsc ? to_ns(due - now) + 1 : due - now);
    else if (armed_)
        native::timer_cancel(host_);
    armed_ = start;
    due_tsc_ = 0;
    if (due && by_cpu_)
        due_tsc_ =
            native::tsc() + unscale_ticks(by_tsc ? due - now : to_ticks(due - now), tsc_ratio_);
    return false;
}

bool ApicTimer::count_by_cpu(bool on) {
    by_cpu_ = on;
    return arm();
}

// What passed while the timer was masked passed without an interrupt.
void ApicTimer::settle() {
    if (mode_ == Mode::deadline) {
        if (deadline_ && guest_tsc() >= deadline_) deadline_ = 0;
        return;
    }
    const std::uint64_t now = native::now_ns();
    if (!due_ns_ || now < due_ns_) return;
    const std::uint64_t period = period_ns();
    due_ns_ = mode_ == Mode::periodic ? due_ns_ + ((now - due_ns_) / period + 1) * period : 0;
}

bool ApicTimer::configure(Mode mode, bool masked) {
    if (masked_) settle();
    // "Switching the timer to or from TSC-deadline mode disarms it"
    if ((mode == Mode::deadline) != (mode_ == Mode::deadline)) {
        due_ns_ = deadline_ = 0;
        initial_ = 0;
    }
    mode_ = mode;
    masked_ = masked;
    return arm();
}

bool ApicTimer::set_initial_count(std::uint32_t count) {
    if (mode_ == Mode::deadline) return false;
    initial_ = count;
    if (!count)
        due_ns_ = 0;
    else if (mode_ == Mode::periodic)
        due_ns_ = native::now_ns() + period_ns();
    else
        due_ns_ = native::now_ns() + (static_cast<std::uint64_t>(count) << shift());
    return arm();
}

bool ApicTimer::set_divide(std::uint32_t configuration) {
    const std::uint64_t left = current_count();
    divide_ = configuration & 0xb;
    if (!due_ns_ || mode_ == Mode::deadline) return false;
    due_ns_ = native::now_ns() + (left << shift());
    return arm();
}

bool ApicTimer::set_deadline(std::uint64_t guest_tsc) {
    if (mode_ != Mode::deadline) return false;
    deadline_ = guest_tsc;
    return arm();
}

bool ApicTimer::set_tsc(std::uint32_t khz, std::uint64_t offset, TscRatio ratio) {
    ns_per_tick_ = khz ? (1'000'000ull << 32) / khz : 0;
    tsc_offset_ = offset;
    tsc_ratio_ = ratio;
    return mode_ == Mode::deadline && deadline_ && arm();
}

std::uint32_t ApicTimer::current_count() const {
    if (!due_ns_ || mode_ == Mode::deadline) return 0;
    const std::uint64_t now = native::now_ns();
    std::uint64_t left = 0;
    if (now < due_ns_)
        left = due_ns_ - now;
    else if (mode_ == Mode::periodic)
        left = period_ns() - (now - due_ns_) % period_ns();
    const std::uint64_t count = (left + (1u << shift()) - 1) >> shift();
    return count < initial_ ? static_cast<std::uint32_t>(count) : initial_;
}

std::uint64_t ApicTimer::deadline() const {
    return mode_ == Mode::deadline && deadline_ && guest_tsc() < deadline_ ? deadline_ : 0;
}

ApicTimer::Expiry ApicTimer::expire() {
    bool passed = false;
    if (mode_ == Mode::deadline)
        passed = deadline_ && guest_tsc() >= deadline_;
    else
        passed = due_ns_ && native::now_ns() >= due_ns_;
    // Not cancelled here: if the host's timer is still to fire for what passed, that does no harm
    armed_ = false;
    if (passed) settle();
    return {passed && !masked_, arm()};
}

} // namespace hwv::cpu
