// SPDX-License-Identifier: GPL-2.0-only
#include "machine/rtc.hpp"

#include <algorithm>
#include <chrono>

namespace machine {

namespace {

enum Index : std::uint8_t {
    seconds = 0x00,
    seconds_alarm = 0x01,
    minutes = 0x02,
    minutes_alarm = 0x03,
    hours = 0x04,
    hours_alarm = 0x05,
    weekday = 0x06,
    day = 0x07,
    month = 0x08,
    year = 0x09,
    control_a = 0x0a,
    control_b = 0x0b,
    flags_c = 0x0c,
    valid_d = 0x0d,
    equipment = 0x14,
    century = 0x32,
};

enum ControlB : std::uint8_t {
    b_set = 0x80,
    b_periodic = 0x40,
    b_alarm = 0x20,
    b_update = 0x10,
    b_binary = 0x04,
    b_24_hours = 0x02,
};

// The flags of register C sit where their enables sit in B.
constexpr std::uint8_t flag_bits = b_periodic | b_alarm | b_update;
constexpr std::uint8_t c_irq = 0x80;

constexpr auto second_ns = static_cast<std::int64_t>(ns_per_second);
constexpr std::int64_t day_seconds = 86400;
// "Update Cycle": UIP rises 244 us before the update. The update itself takes no time here.
constexpr std::int64_t uip_ns = 244'000;
constexpr std::uint64_t crystal_hz = 32768;
// A host whose clock is set during a long wait for an alarm is noticed after at most this.
constexpr std::int64_t longest_wait_ns = 60 * second_ns;

constexpr bool is_time(std::uint8_t index) {
    return index == seconds || index == minutes || index == hours || index == century ||
           (index >= weekday && index <= year);
}

// Second of the day, also for times before 1970.
constexpr std::int64_t within_day(std::int64_t second) {
    return (second % day_seconds + day_seconds) % day_seconds;
}

} // namespace

Rtc::Rtc(TimerQueue &timers, IrqLine irq8)
    : timers_(timers), irq8_(irq8), timer_(timers, [this] {
          catch_up();
          plan();
      }) {
    ram_[control_a] = 0x26;
    ram_[control_b] = b_24_hours;
    ram_[equipment] = 0x02; // a coprocessor, no diskette
    seen_second_ = guest_second();
    store_time();
}

bool Rtc::attach(PortBus &bus) { return bus.claim({.first = 0x70, .count = 2}, *this); }

void Rtc::set_memory(std::uint64_t below_4g, std::uint64_t above_4g) noexcept {
    const auto put = [this](unsigned index, std::uint64_t value) {
        ram_[index] = static_cast<std::uint8_t>(value);
        ram_[index + 1] = static_cast<std::uint8_t>(value >> 8);
    };
    constexpr std::uint64_t mib = 1 << 20;
    const std::uint64_t extended = below_4g > mib ? (below_4g - mib) >> 10 : 0;
    const std::uint64_t above_16m = below_4g > 16 * mib ? (below_4g - 16 * mib) >> 16 : 0;
    put(0x15, 640);
    put(0x17, std::min<std::uint64_t>(extended, 0xffff));
    put(0x30, std::min<std::uint64_t>(extended, 0xffff));
    put(0x34, std::min<std::uint64_t>(above_16m, 0xffff));
    put(0x5b, above_4g >> 16);
    ram_[0x5d] = static_cast<std::uint8_t>(above_4g >> 32);
}

void Rtc::set_boot_order(std::uint8_t first, std::uint8_t second, std::uint8_t third) noexcept {
    constexpr std::uint8_t no_floppy_signature = 1;
    ram_[0x3d] = static_cast<std::uint8_t>(first | second << 4);
    ram_[0x38] = static_cast<std::uint8_t>(no_floppy_signature | third << 4);
}

std::int64_t Rtc::guest_second() const {
    return (timers_.clock().wall() + phase_) / second_ns + offset_;
}

std::int64_t Rtc::guest_phase() const { return (timers_.clock().wall() + phase_) % second_ns; }

std::uint8_t Rtc::encode(unsigned value) const {
    if ((ram_[control_b] & b_binary) != 0) return static_cast<std::uint8_t>(value);
    return static_cast<std::uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode(std::uint8_t value) const {
    if ((ram_[control_b] & b_binary) != 0) return value;
    return (value >> 4) * 10u + (value & 15u);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const {
    if ((ram_[control_b] & b_24_hours) != 0) return encode(hour);
    const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? 0x80 : 0));
}

unsigned Rtc::decode_hour(std::uint8_t value) const {
    if ((ram_[control_b] & b_24_hours) != 0) return decode(value);
    return decode(value & 0x7f) % 12 + ((value & 0x80) != 0 ? 12 : 0);
}

// The running clock into the registers.
void Rtc::store_time() noexcept {
    using namespace std::chrono;
    const sys_seconds now{std::chrono::seconds{guest_second()}};
    const auto date_point = floor<days>(now);
    const year_month_day date{date_point};
    const auto of_day = static_cast<unsigned>((now - date_point).count());
    const auto full_year = static_cast<unsigned>(static_cast<int>(date.year()));
    ram_[Index::seconds] = encode(of_day % 60);
    ram_[Index::minutes] = encode(of_day / 60 % 60);
    ram_[Index::hours] = encode_hour(of_day / 3600);
    ram_[Index::weekday] = encode(std::chrono::weekday{date_point}.c_encoding() + 1);
    ram_[Index::day] = encode(static_cast<unsigned>(date.day()));
    ram_[Index::month] = encode(static_cast<unsigned>(date.month()));
    ram_[Index::year] = encode(full_year % 100);
    ram_[Index::century] = encode(full_year / 100 % 100);
}

// The registers into the running clock; whatever they hold names some second.
void Rtc::adopt_time() noexcept {
    using namespace std::chrono;
    const unsigned months = std::clamp(decode(ram_[Index::month]), 1u, 12u);
    const unsigned full_year = decode(ram_[Index::century]) * 100 + decode(ram_[Index::year]);
    const sys_days first =
        std::chrono::year{static_cast<int>(full_year)} / static_cast<int>(months) / 1;
    const std::int64_t date = first.time_since_epoch().count() + decode(ram_[Index::day]) - 1;
    const std::int64_t target = date * day_seconds + decode_hour(ram_[Index::hours]) * 3600 +
                                decode(ram_[Index::minutes]) * 60 + decode(ram_[Index::seconds]);
    offset_ += target - guest_second();
    seen_second_ = target;
}

unsigned Rtc::period_shift() const {
    const unsigned rate = ram_[control_a] & 15;
    // "Periodic Interrupt Rate": 1 and 2 are the rates of 8 and 9.
    return rate == 0 ? 0 : (rate < 3 ? rate + 7 : rate) - 1;
}

std::uint64_t Rtc::periods() const {
    return ticks_at(timers_.clock().now(), crystal_hz) >> period_shift();
}

bool Rtc::alarm_matches(std::uint8_t alarm, unsigned value, bool hour) const {
    if (alarm >= 0xc0) // "don't care"
        return true;
    return (hour ? decode_hour(alarm) : decode(alarm)) == value;
}

std::optional<std::int64_t> Rtc::next_alarm(std::int64_t after) const {
    // Skips whole hours and minutes that do not match; within these steps a match in the next 24
    // hours is found, if there is one.
    std::int64_t second = after + 1;
    for (int step = 0; step < 24 + 60 + 60 + 24 + 60 + 60; ++step) {
        const auto of_day = static_cast<unsigned>(within_day(second));
        if (!alarm_matches(ram_[hours_alarm], of_day / 3600, true))
            second += 3600 - of_day % 3600;
        else if (!alarm_matches(ram_[minutes_alarm], of_day / 60 % 60, false))
            second += 60 - of_day % 60;
        else if (!alarm_matches(ram_[seconds_alarm], of_day % 60, false))
            ++second;
        else
            return second;
    }
    return std::nullopt;
}

// Sets the flags for everything that happened since the last call.
void Rtc::catch_up() noexcept {
    if (!frozen()) {
        const std::int64_t now = guest_second();
        if (now > seen_second_) {
            ram_[flags_c] |= b_update;
            const auto alarm = next_alarm(seen_second_);
            if (alarm && *alarm <= now) ram_[flags_c] |= b_alarm;
        }
        seen_second_ = now;
    }
    if (dividing() && (ram_[control_a] & 15) != 0) {
        const std::uint64_t now = periods();
        if (now != seen_period_) ram_[flags_c] |= b_periodic;
        seen_period_ = now;
    }
    const bool raised = (ram_[flags_c] & ram_[control_b] & flag_bits) != 0;
    ram_[flags_c] = static_cast<std::uint8_t>((ram_[flags_c] & flag_bits) | (raised ? c_irq : 0));
    irq8_.set(raised);
}

// Wakes up for the next flag that is enabled and not yet set; all others wait for a reader.
void Rtc::plan() noexcept {
    const std::uint8_t wanted = ram_[control_b] & static_cast<std::uint8_t>(~ram_[flags_c]);
    const std::uint64_t now = timers_.clock().now();
    std::uint64_t deadline = Timer::never;
    if ((wanted & b_periodic) != 0 && dividing() && (ram_[control_a] & 15) != 0)
        deadline = ns_at_tick((periods() + 1) << period_shift(), crystal_hz);
    if (!frozen() && (wanted & (b_update | b_alarm)) != 0) {
        std::optional<std::int64_t> second = seen_second_ + 1;
        if ((wanted & b_update) == 0) second = next_alarm(seen_second_);
        std::int64_t wait = longest_wait_ns;
        if (second && *second - seen_second_ < longest_wait_ns / second_ns)
            wait = (*second - guest_second()) * second_ns - guest_phase();
        deadline =
            std::min(deadline, now + static_cast<std::uint64_t>(std::max<std::int64_t>(wait, 0)));
    }
    if (deadline == Timer::never)
        timer_.disarm();
    else
        timer_.arm(deadline);
}

std::uint8_t Rtc::read_register(std::uint8_t index) noexcept {
    if (is_time(index)) {
        if (!frozen()) store_time();
        return ram_[index];
    }
    switch (index) {
    case control_a: {
        const bool updating = !frozen() && guest_phase() >= second_ns - uip_ns;
        return static_cast<std::uint8_t>(ram_[control_a] | (updating ? 0x80 : 0));
    }
    case flags_c: {
        catch_up();
        const std::uint8_t flags = ram_[flags_c];
        ram_[flags_c] = 0;
        irq8_.set(false);
        plan();
        return flags;
    }
    case valid_d: return 0x80; // the battery is good
    default: return ram_[index];
    }
}

void Rtc::write_time(std::uint8_t index, std::uint8_t value) noexcept {
    if (frozen()) {
        ram_[index] = value;
        return;
    }
    store_time();
    ram_[index] = value;
    adopt_time();
}

void Rtc::write_control(std::uint8_t index, std::uint8_t value) noexcept {
    const bool was_frozen = frozen();
    const bool was_dividing = dividing();
    if (!was_frozen) store_time();
    if (index == control_a) {
        ram_[control_a] = value & 0x7f;
        seen_period_ = periods();
    } else {
        // "SET": while the guest sets the clock there is no update-ended interrupt.
        ram_[control_b] =
            (value & b_set) != 0 ? value & static_cast<std::uint8_t>(~b_update) : value;
    }
    if (was_frozen && !frozen()) {
        // "Divider Control": the first update comes half a second after the reset.
        if (!was_dividing) phase_ += second_ns / 2 - guest_phase();
        phase_ = (phase_ + second_ns) % second_ns;
        adopt_time();
    }
}

void Rtc::write_register(std::uint8_t index, std::uint8_t value) noexcept {
    catch_up();
    if (is_time(index))
        write_time(index, value);
    else if (index == control_a || index == control_b)
        write_control(index, value);
    else if (index != flags_c && index != valid_d)
        ram_[index] = value;
    catch_up();
    plan();
}

std::uint64_t Rtc::read(std::uint64_t offset, unsigned) noexcept {
    // The index cannot be read back.
    return offset == 1 ? read_register(index_) : 0xff;
}

void Rtc::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    const auto byte = static_cast<std::uint8_t>(value);
    if (offset == 0) {
        index_ = byte & 0x7f;
        nmi_masked_ = (byte & 0x80) != 0;
    } else if (offset == 1) {
        write_register(index_, byte);
    }
}

} // namespace machine
