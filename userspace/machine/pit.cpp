// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pit.hpp"

#include <algorithm>

namespace machine {

namespace {

// Memory refresh toggles bit 4 of port 0x61 every 15.085 us (18 ticks of channel 1).
constexpr std::uint64_t refresh_ticks = 18;
constexpr std::uint8_t port61_writable = 0x0f;
// A guest may program a rise every microsecond; the host wakes up for one in this many nanoseconds.
constexpr std::uint64_t shortest_wait = 50'000;

constexpr std::uint16_t to_bcd(std::uint32_t value) {
    return static_cast<std::uint16_t>(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                                      value / 1000 % 10 << 12);
}

enum Access : std::uint8_t { access_low = 1, access_high = 2 };

} // namespace

std::uint32_t PitCounter::decode(std::uint16_t raw) const {
    std::uint32_t value = raw;
    if (bcd_)
        value = (raw & 15) + (raw >> 4 & 15) * 10 + (raw >> 8 & 15) * 100 + (raw >> 12) * 1000;
    // Zero is the largest count. Digits above nine are the guest's error; keep them in range.
    return value == 0 || value > modulus() ? modulus() : value;
}

void PitCounter::set_control(std::uint8_t control, std::uint64_t) noexcept {
    control_ = control & 0x3f;
    mode_ = control >> 1 & 7;
    if (mode_ > 5) mode_ -= 4; // "don't care" bits: 6 is 2, 7 is 3
    bcd_ = (control & 1) != 0;
    running_ = false;
    paused_ = false;
    null_count_ = true;
    write_high_next_ = false;
    read_high_next_ = false;
    switch_at_.reset();
    latched_count_.reset();
    latched_status_.reset();
}

void PitCounter::start(std::uint32_t count, std::uint64_t tick) noexcept {
    period_ = count;
    start_ = tick;
    running_ = true;
    null_count_ = false;
    switch_at_.reset();
    paused_ = !gate_ && !triggered();
    paused_after_ = 0;
}

void PitCounter::write(std::uint8_t value, std::uint64_t now) noexcept {
    switch (control_ >> 4 & 3) {
    case access_low: load(decode(value), now); break;
    case access_high: load(decode(static_cast<std::uint16_t>(value << 8)), now); break;
    default:
        if (!write_high_next_) {
            low_byte_ = value;
            // "Mode 0": the first byte of a two-byte count stops the counting.
            if (mode_ == 0) running_ = false;
        } else {
            load(decode(static_cast<std::uint16_t>(value << 8 | low_byte_)), now);
        }
        write_high_next_ = !write_high_next_;
        break;
    }
}

void PitCounter::load(std::uint32_t count, std::uint64_t now) noexcept {
    advance(now);
    reload_ = count;
    null_count_ = true;
    if (triggered()) return; // waits for the gate
    if (!periodic() || !running_ || paused_) {
        start(count, now);
        return;
    }
    // A new count takes over at the end of the period; in mode 3, of the half period.
    const std::uint64_t phase = elapsed(now) % period_;
    const std::uint64_t high = (period_ + 1u) / 2;
    const bool first_half = mode_ == 3 && phase < high;
    // At the middle of a square wave the output is about to be low, so the new wave starts there
    // with its own low half: its first half is behind it.
    if (first_half)
        switch_at_ = now - phase + high;
    else
        switch_at_ = now - phase + period_;
}

void PitCounter::advance(std::uint64_t now) noexcept {
    if (!switch_at_ || paused_ || now < *switch_at_) return;
    const std::uint64_t at = *switch_at_;
    const bool middle = mode_ == 3 && (at - start_) % period_ != 0;
    start(reload_, at);
    if (middle) start_ = at - (period_ + 1u) / 2;
}

std::uint64_t PitCounter::elapsed(std::uint64_t now) const {
    return paused_ ? paused_after_ : now - start_;
}

std::uint16_t PitCounter::count(std::uint64_t now) noexcept {
    advance(now);
    const std::uint64_t passed = running_ ? elapsed(now) : 0;
    std::uint32_t value = 0;
    if (mode_ == 2) {
        value = period_ - static_cast<std::uint32_t>(passed % period_);
    } else if (mode_ == 3) {
        // Counts by two, twice for each period, from the even number at or below the count.
        const std::uint32_t high = (period_ + 1) / 2;
        auto phase = static_cast<std::uint32_t>(passed % period_);
        phase = phase < high ? phase : phase - high;
        const std::uint32_t top = period_ & ~1u;
        value = top >= 2 * phase ? top - 2 * phase : 0;
    } else {
        // Wraps around below zero and goes on.
        const auto wrapped = static_cast<std::uint32_t>(passed % modulus());
        value = (period_ + modulus() - wrapped) % modulus();
    }
    value %= modulus();
    return bcd_ ? to_bcd(value) : static_cast<std::uint16_t>(value);
}

bool PitCounter::output(std::uint64_t now) noexcept {
    advance(now);
    if (!running_) return mode_ != 0;
    const std::uint64_t passed = elapsed(now);
    switch (mode_) {
    case 0: return passed >= period_;
    case 1: return passed >= period_;
    case 2: return paused_ || period_ < 2 || passed % period_ != period_ - 1;
    case 3: return paused_ || passed % period_ < (period_ + 1u) / 2;
    default: return passed != period_;
    }
}

std::optional<std::uint64_t> PitCounter::next_rise(std::uint64_t now) noexcept {
    advance(now);
    if (!running_ || paused_) return std::nullopt;
    const std::uint64_t passed = elapsed(now);
    if (periodic()) {
        // If a new count takes over before, the device plans again from there.
        const std::uint64_t end = now - passed % period_ + period_;
        return switch_at_ && *switch_at_ < end && (*switch_at_ - start_) % period_ == 0
                   ? *switch_at_
                   : end;
    }
    const std::uint64_t at = period_ + (mode_ >= 4 ? 1u : 0u);
    if (passed >= at) return std::nullopt;
    return start_ + at;
}

void PitCounter::set_gate(bool gate, std::uint64_t now) noexcept {
    if (gate == gate_) return;
    advance(now);
    const std::uint64_t passed = elapsed(now);
    gate_ = gate;
    if (triggered()) {
        if (gate) start(reload_, now);
        return;
    }
    if (!running_) return;
    if (!gate) {
        paused_ = true;
        paused_after_ = passed;
    } else if (periodic()) {
        start(reload_, now);
    } else {
        paused_ = false;
        start_ = now - paused_after_;
    }
}

void PitCounter::latch_count(std::uint64_t now) noexcept {
    // A second latch before the first was read is ignored.
    if (!latched_count_) latched_count_ = count(now);
}

void PitCounter::latch_status(std::uint64_t now) noexcept {
    if (latched_status_) return;
    const bool out = output(now);
    const bool null_count = null_count_ || switch_at_.has_value();
    latched_status_ =
        static_cast<std::uint8_t>(control_ | (out ? 0x80 : 0) | (null_count ? 0x40 : 0));
}

std::uint8_t PitCounter::read(std::uint64_t now) noexcept {
    if (latched_status_) {
        const std::uint8_t status = *latched_status_;
        latched_status_.reset();
        return status;
    }
    const std::uint16_t value = latched_count_ ? *latched_count_ : count(now);
    const std::uint8_t access = control_ >> 4 & 3;
    const bool both = access == (access_low | access_high);
    const bool high = both ? read_high_next_ : access == access_high;
    if (both) read_high_next_ = !read_high_next_;
    if (!both || high) latched_count_.reset();
    return static_cast<std::uint8_t>(high ? value >> 8 : value);
}

Pit::Pit(TimerQueue &timers, IrqLine irq0)
    : timers_(timers), irq0_(irq0), timer_(timers, [this] { rise(); }) {
    // The PC's wiring: channels 0 and 1 always count, channel 2 when port 0x61 says so.
    counters_[2].set_gate(false, now());
}

bool Pit::attach(PortBus &bus) {
    return bus.claim({.first = 0x40, .count = 4}, *this, 0) &&
           bus.claim({.first = 0x61, .count = 1}, *this, 4);
}

std::uint8_t Pit::read_port61() noexcept {
    const std::uint64_t tick = now();
    const bool refresh = (tick / refresh_ticks & 1) != 0;
    return static_cast<std::uint8_t>(port61_ | (refresh ? 0x10 : 0) |
                                     (counters_[2].output(tick) ? 0x20 : 0));
}

std::uint64_t Pit::read(std::uint64_t offset, unsigned) noexcept {
    if (offset < 3) return counters_[offset].read(now());
    return offset == 4 ? read_port61() : 0xff;
}

void Pit::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    const auto byte = static_cast<std::uint8_t>(value);
    if (offset < 3) {
        counters_[offset].write(byte, now());
        if (offset == 0) plan();
    } else if (offset == 3) {
        write_control(byte);
    } else if (offset == 4) {
        port61_ = byte & port61_writable;
        counters_[2].set_gate((byte & 1) != 0, now());
    }
}

void Pit::write_control(std::uint8_t value) noexcept {
    const unsigned select = value >> 6;
    const std::uint64_t tick = now();
    if (select == 3) {
        // "Read-Back Command": bits 1-3 choose counters, bits 5 and 4, low, what to latch.
        for (unsigned index = 0; index < 3; ++index) {
            if ((value >> (index + 1) & 1) == 0) continue;
            if ((value & 0x20) == 0) counters_[index].latch_count(tick);
            if ((value & 0x10) == 0) counters_[index].latch_status(tick);
        }
        return;
    }
    if ((value & 0x30) == 0) {
        counters_[select].latch_count(tick);
        return;
    }
    counters_[select].set_control(value, tick);
    if (select == 0) plan();
}

void Pit::plan() noexcept {
    const std::uint64_t tick = now();
    irq0_.set(counters_[0].output(tick));
    const auto rise_at = counters_[0].next_rise(tick);
    if (rise_at)
        timer_.arm(ns_at_tick(*rise_at, PitCounter::hz));
    else
        timer_.disarm();
}

void Pit::rise() noexcept {
    // The low phase before is not played out: it would cost a second wake-up and no controller
    // looks at its length, only at the edge that ends it.
    irq0_.set(false);
    irq0_.set(true);
    const auto rise_at = counters_[0].next_rise(now());
    if (rise_at)
        timer_.arm(
            std::max(ns_at_tick(*rise_at, PitCounter::hz), timers_.clock().now() + shortest_wait));
}

} // namespace machine
