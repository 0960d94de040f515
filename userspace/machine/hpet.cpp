// SPDX-License-Identifier: GPL-2.0-only
#include "machine/hpet.hpp"

#include <algorithm>
#include <utility>

namespace machine {

namespace {

enum Register : std::uint64_t {
    capabilities = 0x000,
    configuration = 0x010,
    interrupt_status = 0x020,
    main_counter = 0x0f0,
    first_timer = 0x100,
};
constexpr std::uint64_t timer_stride = 0x20;
enum TimerRegister : std::uint64_t { timer_config = 0x00, timer_value = 0x08 };

// "Timer N Configuration and Capabilities Register"
constexpr std::uint64_t level_triggered = 1u << 1;
constexpr std::uint64_t interrupt_enabled = 1u << 2;
constexpr std::uint64_t periodic_type = 1u << 3;
constexpr std::uint64_t value_set = 1u << 6;
constexpr std::uint64_t narrow = 1u << 8;
constexpr unsigned route_shift = 9;
constexpr std::uint64_t route_mask = 0x1f;
constexpr std::uint64_t writable = level_triggered | interrupt_enabled | periodic_type | value_set |
                                   narrow | route_mask << route_shift;
// Can be periodic, has 64 bits, and may go to the pins of the IOAPIC that no ISA device has.
constexpr std::uint64_t routes = 0x00f0'0000;
constexpr std::uint64_t timer_capabilities = routes << 32 | 1u << 5 | 1u << 4;
constexpr unsigned nowhere = ~0u;

constexpr std::uint64_t femtoseconds = 1'000'000'000'000'000;
static_assert(femtoseconds / Hpet::hz <= 0x05f5'e100, "no slower than the specification allows");

// A comparator that was set for a moment just over has matched: between a guest's reading the
// counter and setting it, its processor may have been away, for longer than a real one ever is.
constexpr std::uint64_t forgiven = Hpet::hz / 100;

std::uint64_t replace(std::uint64_t old, std::uint64_t value, std::uint64_t changed) {
    return (old & ~changed) | (value & changed);
}

template <std::size_t... Irq>
std::array<IrqLine, sizeof...(Irq)> lines_to(IrqSink &sink, std::index_sequence<Irq...>) {
    return {IrqLine{sink, Irq}...};
}

} // namespace

void LegacyRoute::set_irq(unsigned irq, bool level) noexcept {
    (irq == timer_irq ? timer_level_ : clock_level_) = level;
    update();
}

void LegacyRoute::replace(bool replaced) noexcept {
    replaced_ = replaced;
    update();
}

void LegacyRoute::update() noexcept {
    timer_.set(timer_level_ && !replaced_);
    clock_.set(clock_level_ && !replaced_);
}

Hpet::Comparator::Comparator(TimerQueue &timers, std::function<void()> fire)
    : timer(timers, std::move(fire)) {}

bool Hpet::Comparator::level() const { return (config & level_triggered) != 0; }
bool Hpet::Comparator::enabled() const { return (config & interrupt_enabled) != 0; }
bool Hpet::Comparator::periodic() const { return (config & periodic_type) != 0; }
std::uint64_t Hpet::Comparator::mask() const {
    return (config & narrow) != 0 ? 0xffff'ffff : ~std::uint64_t{0};
}

Hpet::Hpet(TimerQueue &timers, IrqSink &irqs, LegacyRoute &legacy)
    : timers_(timers), legacy_(legacy), lines_(lines_to(irqs, std::make_index_sequence<24>{})) {
    for (unsigned number = 0; number < comparators; ++number)
        comparators_[number] =
            std::make_unique<Comparator>(timers, [this, number] { match(number); });
}

std::uint64_t Hpet::counter() const {
    return offset_ + (running() ? ticks_at(timers_.clock().now(), hz) : 0);
}

unsigned Hpet::irq_of(unsigned number) const {
    if (replacing() && number == 0) return LegacyRoute::timer_irq;
    if (replacing() && number == 1) return LegacyRoute::clock_irq;
    const auto route =
        static_cast<unsigned>(comparators_[number]->config >> route_shift & route_mask);
    return (routes >> route & 1) != 0 ? route : nowhere;
}

// A periodic one has moved on by as many periods as have passed.
std::uint64_t Hpet::read_comparator(const Comparator &comparator) const {
    const std::uint64_t mask = comparator.mask();
    const std::uint64_t past = (counter() - comparator.value) & mask;
    if (!comparator.periodic() || comparator.period == 0 || past > mask / 2)
        return comparator.value;
    return (comparator.value + (past / comparator.period + 1) * comparator.period) & mask;
}

std::uint64_t Hpet::read_register(std::uint64_t offset) noexcept {
    switch (offset) {
    case capabilities: return femtoseconds / hz << 32 | id;
    case configuration: return config_;
    case interrupt_status: return status_;
    case main_counter: return counter();
    default: break;
    }
    if (offset < first_timer || offset >= first_timer + comparators * timer_stride) return 0;
    const Comparator &comparator = *comparators_[(offset - first_timer) / timer_stride];
    switch (offset % timer_stride) {
    case timer_config: return comparator.config | timer_capabilities;
    case timer_value: return read_comparator(comparator);
    default: return 0; // messages of its own a comparator cannot send
    }
}

std::uint64_t Hpet::read(std::uint64_t offset, unsigned) noexcept {
    return read_register(offset & ~std::uint64_t{7}) >> (offset % 8 * 8);
}

// "Register Access": 32 or 64 bits, aligned; what else there is changes nothing.
void Hpet::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (size < 4 || offset % size != 0) return;
    const auto shift = static_cast<unsigned>(offset % 8 * 8);
    const std::uint64_t changed =
        size == 8 ? ~std::uint64_t{0} : std::uint64_t{0xffff'ffff} << shift;
    write_register(offset & ~std::uint64_t{7}, value << shift, changed);
}

void Hpet::write_register(std::uint64_t offset, std::uint64_t value,
                          std::uint64_t changed) noexcept {
    switch (offset) {
    case configuration: return write_config(replace(config_, value, changed) & 3);
    case interrupt_status: return write_status(value & changed);
    case main_counter:
        // "Software should write only when halted"; a running one stays as it is.
        if (!running()) offset_ = replace(offset_, value, changed);
        return;
    default: break;
    }
    if (offset < first_timer || offset >= first_timer + comparators * timer_stride) return;
    const auto number = static_cast<unsigned>((offset - first_timer) / timer_stride);
    if (offset % timer_stride == timer_config) write_timer_config(number, value, changed);
    if (offset % timer_stride == timer_value) write_comparator(number, value, changed);
}

void Hpet::write_config(std::uint64_t value) noexcept {
    const std::uint64_t count = counter();
    for (auto &comparator : comparators_)
        comparator->value = read_comparator(*comparator);
    // The lines are let go by their old routes.
    config_ &= ~std::uint64_t{1};
    update_lines();
    config_ = value;
    offset_ = count;
    if (running()) offset_ -= ticks_at(timers_.clock().now(), hz);
    legacy_.replace(replacing());
    update_lines();
    for (unsigned number = 0; number < comparators; ++number)
        plan(number, 0);
}

void Hpet::write_timer_config(unsigned number, std::uint64_t value,
                              std::uint64_t changed) noexcept {
    Comparator &comparator = *comparators_[number];
    comparator.value = read_comparator(comparator);
    comparator.config = replace(comparator.config, value, changed & writable);
    // "the value read back": a route that there is not is not kept.
    if (const auto route = comparator.config >> route_shift & route_mask;
        (routes >> route & 1) == 0)
        comparator.config &= ~(route_mask << route_shift);
    comparator.value &= comparator.mask();
    if (!comparator.level()) status_ &= ~(std::uint64_t{1} << number);
    update_lines();
    plan(number, 0);
}

// "Timer N Comparator Register": a periodic one's writes say how far it moves, and with the bit set
// for it, from where.
void Hpet::write_comparator(unsigned number, std::uint64_t value, std::uint64_t changed) noexcept {
    Comparator &comparator = *comparators_[number];
    comparator.value = read_comparator(comparator);
    if (!comparator.periodic() || (comparator.config & value_set) != 0)
        comparator.value = replace(comparator.value, value, changed) & comparator.mask();
    if (comparator.periodic())
        comparator.period = replace(comparator.period, value, changed) & comparator.mask();
    comparator.config &= ~value_set;
    plan(number, forgiven);
}

void Hpet::write_status(std::uint64_t value) noexcept {
    status_ &= ~value;
    update_lines();
}

// Wakes up for the next match, which may be up to `lateness` ago.
void Hpet::plan(unsigned number, std::uint64_t lateness) noexcept {
    Comparator &comparator = *comparators_[number];
    if (!running() || (!comparator.enabled() && !comparator.level()))
        return comparator.timer.disarm();
    const std::uint64_t now = ticks_at(timers_.clock().now(), hz);
    const std::uint64_t past = (counter() - comparator.value) & comparator.mask();
    const std::uint64_t wait =
        past <= lateness ? 0 : (comparator.value - counter()) & comparator.mask();
    // One that is further away than there is time is never reached.
    if (wait > Timer::never / 16 - now) return comparator.timer.disarm();
    comparator.timer.arm(ns_at_tick(now + wait, hz));
}

void Hpet::match(unsigned number) noexcept {
    Comparator &comparator = *comparators_[number];
    comparator.value = read_comparator(comparator);
    if (comparator.level())
        status_ |= std::uint64_t{1} << number;
    else if (comparator.enabled())
        pulse(number);
    update_lines();
    // Equal again after all values have passed by, or a period later.
    const std::uint64_t now = timers_.clock().now();
    const std::uint64_t range = comparator.mask();
    std::uint64_t wait = (comparator.value - counter()) & range;
    if (wait == 0 && !comparator.periodic()) wait = range;
    if (comparator.periodic() && comparator.period == 0) return;
    const std::uint64_t tick = ticks_at(now, hz);
    if (wait > Timer::never / 16 - tick) return;
    comparator.timer.arm(std::max(ns_at_tick(tick + wait, hz), now + shortest_wait_ns));
}

// The two lines of old keep theirs up between edges, as the controllers of old want it to be seen;
// on one that is shared it would be somebody's request.
void Hpet::pulse(unsigned number) noexcept {
    const unsigned irq = irq_of(number);
    if (irq == nowhere) return;
    lines_[irq].set(false);
    lines_[irq].set(true);
    if (irq != LegacyRoute::timer_irq && irq != LegacyRoute::clock_irq) lines_[irq].set(false);
}

void Hpet::update_lines() noexcept {
    std::uint64_t held = 0;
    std::uint64_t edges = 0;
    for (unsigned number = 0; number < comparators; ++number) {
        const Comparator &comparator = *comparators_[number];
        const unsigned irq = irq_of(number);
        if (irq == nowhere || !running() || !comparator.enabled()) continue;
        if (!comparator.level()) edges |= std::uint64_t{1} << irq;
        if ((status_ >> number & 1) != 0) held |= std::uint64_t{1} << irq;
    }
    for (IrqLine &line : lines_)
        if ((edges >> line.irq() & 1) == 0 || (held >> line.irq() & 1) != 0)
            line.set((held >> line.irq() & 1) != 0);
}

} // namespace machine
