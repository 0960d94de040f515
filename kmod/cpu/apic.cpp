// SPDX-License-Identifier: GPL-2.0-only
// apic.cpp - arrivals, priorities, acknowledgement. Registers: apic_regs.cpp.
#include "cpu/apic.hpp"
#include <bit>

namespace hwv::cpu {
namespace {

constexpr std::uint32_t lvt_masked = 1u << 16;
constexpr std::uint32_t error_receive_vector = 1u << 6;
constexpr std::uint8_t first_legal_vector = 16;
constexpr std::uint16_t extint_valid = 0x100;

constexpr std::uint64_t bit(std::uint8_t vector) { return 1ull << (vector & 63); }

constexpr DeliveryMode lvt_mode(std::uint32_t lvt) {
    return static_cast<DeliveryMode>(lvt >> 8 & 7);
}

// The highest vector in the i-th 64, of which there is one.
constexpr std::uint8_t top(unsigned i, std::uint64_t word) {
    return static_cast<std::uint8_t>(i * 64 + 63 - std::countl_zero(word));
}

template <typename Words>
std::uint8_t highest(Words words) {
#pragma GCC unroll 4
    for (unsigned i = 4; i > 0; --i)
        if (const std::uint64_t word = words(i - 1)) return top(i - 1, word);
    return 0;
}

} // namespace

LocalApic::LocalApic(std::uint32_t id, hwv_host_vcpu *host) : id_{id}, timer_{host} {
    clear_registers();
}

void LocalApic::clear_registers() {
    for (unsigned i = 0; i < words; ++i)
        clear_requests(i, ~0ull);
    for (auto &word : tmr_)
        word.store(0, std::memory_order_relaxed);
    for (auto &word : isr_)
        word = 0;
    for (auto &lvt : lvt_)
        lvt.store(lvt_masked, std::memory_order_relaxed);
    svr_.store(0xff, std::memory_order_relaxed);
    dfr_.store(0xffff'ffff, std::memory_order_relaxed);
    ldr_.store(x2apic() ? x2apic_logical_id(id_) : 0, std::memory_order_relaxed);
    errors_.store(0, std::memory_order_relaxed);
    esr_ = 0;
    icr_ = 0;
    tpr_ = ppr_ = in_service_ = held_by_tpr_ = 0;
}

void LocalApic::reset() {
    base_.store(features_.present ? default_page | base_enable | (id_ == 0 ? base_bsp : 0) : 0,
                std::memory_order_relaxed);
    events_.store(0, std::memory_order_relaxed);
    nmis_.store(0, std::memory_order_relaxed);
    extint_.store(0, std::memory_order_relaxed);
    init();
}

void LocalApic::init() {
    timer_.reset();
    clear_registers();
    events_.fetch_and(~(apic_event::interrupt | apic_event::timer | apic_event::unhalt),
                      std::memory_order_relaxed);
    lent_ = false;
    if (page_) post(apic_event::page);
    note_due(false);
}

void LocalApic::set_tsc(std::uint32_t khz, std::uint64_t offset, TscRatio ratio) {
    note_due(timer_.set_tsc(khz, offset, ratio));
}

Address LocalApic::address() const {
    return {id_, ldr_.load(std::memory_order_relaxed), dfr_.load(std::memory_order_relaxed),
            x2apic()};
}

// ---- arrivals ----

Acceptance LocalApic::accept(const InterruptMessage &message) {
    switch (message.mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority: return accept(message.vector, message.level);
    case DeliveryMode::nmi: {
        // One in service and one latched are all that a processor knows of
        std::uint8_t count = nmis_.load(std::memory_order_relaxed);
        while (count < 2 &&
               !nmis_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) {}
        post(apic_event::nmi);
        return count < 2 ? Acceptance::accepted : Acceptance::coalesced;
    }
    case DeliveryMode::init: post(apic_event::init); return Acceptance::accepted;
    case DeliveryMode::start_up:
        start_up_vector_.store(message.vector, std::memory_order_relaxed);
        post(apic_event::start_up);
        return Acceptance::accepted;
    case DeliveryMode::extint:
        return offer_extint(message.vector) ? Acceptance::accepted : Acceptance::refused;
    case DeliveryMode::smi:
    case DeliveryMode::reserved: break;
    }
    return Acceptance::refused;
}

Acceptance LocalApic::accept(std::uint8_t vector, bool level) {
    if (!arbitrable()) return Acceptance::refused;
    if (vector < first_legal_vector) {
        error(error_receive_vector);
        return Acceptance::refused;
    }
    auto &trigger = tmr_[vector / 64];
    if (const bool was_level = trigger.load(std::memory_order_relaxed) & bit(vector);
        was_level != level) {
        if (level)
            trigger.fetch_or(bit(vector), std::memory_order_relaxed);
        else
            trigger.fetch_and(~bit(vector), std::memory_order_relaxed);
    }
    if (level && posted_) post(apic_event::page);
    auto &irr = posted_ && !level ? posted_[vector / 64] : irr_[vector / 64];
    const std::uint64_t before = irr.fetch_or(bit(vector), std::memory_order_relaxed);
    if (before & bit(vector)) return Acceptance::coalesced;
    post(apic_event::interrupt);
    return Acceptance::accepted;
}

bool LocalApic::offer_extint(std::uint8_t vector) {
    std::uint16_t none = 0;
    const auto offered = static_cast<std::uint16_t>(extint_valid | vector);
    if (!extint_.compare_exchange_strong(none, offered, std::memory_order_relaxed)) return false;
    post(apic_event::extint);
    return true;
}

bool LocalApic::cancel_extint() { return extint_.exchange(0, std::memory_order_relaxed); }

Acceptance LocalApic::lint(unsigned pin) { return local_interrupt(pin ? lvt_lint1 : lvt_lint0); }

// An interrupt of the APIC's own by its LVT entry. ExtINT carries no vector here: it comes by
// offer_extint().
Acceptance LocalApic::local_interrupt(unsigned index) {
    const std::uint32_t lvt = lvt_[index].load(std::memory_order_relaxed);
    if (!present() || (lvt & lvt_masked)) return Acceptance::refused;
    const bool has_mode = index != lvt_timer && index != lvt_error;
    const DeliveryMode mode = has_mode ? lvt_mode(lvt) : DeliveryMode::fixed;
    if (mode == DeliveryMode::extint || mode == DeliveryMode::start_up) return Acceptance::refused;
    return accept(InterruptMessage{.mode = mode, .vector = static_cast<std::uint8_t>(lvt)});
}

// An error is signalled once until ESR is written; an illegal vector of the error entry itself must
// not recurse.
void LocalApic::error(std::uint32_t error_bit) {
    if (errors_.fetch_or(error_bit, std::memory_order_relaxed) & error_bit) return;
    if (static_cast<std::uint8_t>(lvt_[lvt_error].load(std::memory_order_relaxed)) >=
        first_legal_vector)
        local_interrupt(lvt_error);
}

// ---- what waits ----

bool LocalApic::take(std::uint32_t event) {
    if (!(events() & event)) return false;
    return events_.fetch_and(~event, std::memory_order_acquire) & event;
}

bool LocalApic::wakes(bool interrupts, bool nmis) const {
    const std::uint32_t now = events();
    if (now & (apic_event::timer | apic_event::init | apic_event::start_up | apic_event::unhalt))
        return true;
    if (nmis && (now & apic_event::nmi)) return true;
    return interrupts && ((now & apic_event::interrupt) || extint_ready());
}

bool LocalApic::ends_halt(bool interrupts, bool nmis) {
    sync();
    if (take_unhalt() || (nmis && this->nmis())) return true;
    if (events() & (apic_event::init | apic_event::start_up)) return true;
    return interrupts && ((lent_ ? pending_on_page() : pending() != 0) || extint_ready());
}

// What the CPU would deliver, by its own rules, without taking the registers back: each halt would
// pay for that and for filling the page again. What has arrived meets it at the next entry.
bool LocalApic::pending_on_page() {
    events_.fetch_and(~apic_event::interrupt, std::memory_order_acq_rel);
    const std::uint8_t request =
        highest([this](unsigned i) { return requests(i) | page_->bits(apic_reg::irr, i); });
    if (!request) return false;
    post(apic_event::page);
    const std::uint8_t service =
        highest([this](unsigned i) { return page_->bits(apic_reg::isr, i); });
    return request >> 4 > service >> 4 && request >> 4 > page_->get(apic_reg::tpr) >> 4;
}

bool LocalApic::take_nmi() {
    // The event bit goes first: an NMI that arrives now sets it again
    events_.fetch_and(~apic_event::nmi, std::memory_order_acquire);
    std::uint8_t count = nmis_.load(std::memory_order_relaxed);
    if (!count) return false;
    while (!nmis_.compare_exchange_weak(count, count - 1, std::memory_order_relaxed)) {}
    if (count > 1) post(apic_event::nmi);
    return true;
}

void LocalApic::set_nmis(std::uint8_t count) {
    nmis_.store(count < 2 ? count : 2, std::memory_order_relaxed);
    if (count)
        post(apic_event::nmi);
    else
        events_.fetch_and(~apic_event::nmi, std::memory_order_relaxed);
}

bool LocalApic::take_start_up(std::uint8_t &vector) {
    if (!take(apic_event::start_up)) return false;
    vector = start_up_vector_.load(std::memory_order_relaxed);
    return true;
}

bool LocalApic::take_extint(std::uint8_t &vector) {
    if (!extint_ready()) return false;
    events_.fetch_and(~apic_event::extint, std::memory_order_acquire);
    const std::uint16_t taken = extint_.exchange(0, std::memory_order_relaxed);
    vector = static_cast<std::uint8_t>(taken);
    return taken;
}

bool LocalApic::passes_extint() const {
    if (!present()) return true;
    const std::uint32_t lvt = lvt_[lvt_lint0].load(std::memory_order_relaxed);
    return !(lvt & lvt_masked) && lvt_mode(lvt) == DeliveryMode::extint;
}

// What arrives is counted first and its event bit set then, so that a bit may stay behind what was
// taken in between.
void LocalApic::settle() {
    const std::uint32_t now = events();
    if (now & apic_event::timer) run_timer();
    if ((now & apic_event::nmi) && !nmis()) {
        events_.fetch_and(~apic_event::nmi, std::memory_order_acq_rel);
        if (nmis()) post(apic_event::nmi);
    }
    if ((now & apic_event::extint) && !extint_pending()) {
        events_.fetch_and(~apic_event::extint, std::memory_order_acq_rel);
        if (extint_pending()) post(apic_event::extint);
    }
}

// ---- priorities ----

std::uint8_t LocalApic::highest_request() const {
    return highest([this](unsigned i) { return requests(i); });
}

void LocalApic::clear_requests(unsigned word, std::uint64_t bits) {
    irr_[word].fetch_and(~bits, std::memory_order_relaxed);
    if (posted_) posted_[word].fetch_and(~bits, std::memory_order_relaxed);
}

std::uint8_t LocalApic::highest_service() const {
    return highest([this](unsigned i) { return isr_[i]; });
}

// Clears the event first and looks then: a vector that arrives in between is seen now or sets the
// event again.
std::uint8_t LocalApic::find_pending() {
    if (lent_) return 0;
    events_.fetch_and(~apic_event::interrupt, std::memory_order_acq_rel);
    const std::uint8_t vector = highest_request();
    held_by_tpr_ = 0;
    if (!vector) return 0;
    if (vector >> 4 > ppr_ >> 4) {
        post(apic_event::interrupt);
        return vector;
    }
    if (vector >> 4 > in_service_ >> 4) held_by_tpr_ = vector;
    return 0;
}

void LocalApic::acknowledge(std::uint8_t vector) {
    clear_requests(vector / 64, bit(vector));
    isr_[vector / 64] |= bit(vector);
    in_service_ = vector; // what was deliverable is above all that is in service
    update_ppr();
}

void LocalApic::update_ppr() { ppr_ = tpr_ >> 4 >= in_service_ >> 4 ? tpr_ : in_service_ & 0xf0; }

void LocalApic::set_tpr(std::uint8_t value) {
    const std::uint8_t before = ppr_;
    tpr_ = value;
    if (lent_) return; // it is on the page, and the CPU looks at each entry
    update_ppr();
    if (ppr_ < before) post(apic_event::interrupt);
}

ApicEffect LocalApic::end_of_interrupt() {
    reclaim();
    const std::uint8_t vector = in_service_;
    if (!vector) return {};
    isr_[vector / 64] &= ~bit(vector);
    in_service_ = highest_service();
    update_ppr();
    if (highest_request()) post(apic_event::interrupt); // what comes from now on posts itself
    return {ApicEffect::Kind::eoi, vector, is_level(vector), {}};
}

bool LocalApic::is_level(std::uint8_t vector) const {
    return tmr_[vector / 64].load(std::memory_order_relaxed) & bit(vector);
}

bool LocalApic::sole_in_service(std::uint8_t vector) const {
    for (unsigned i = 0; i < words; ++i)
        if (isr_[i] != (i == vector / 64 ? bit(vector) : 0)) return false;
    return !highest_request();
}

// ---- the page ----

void LocalApic::use_page(ApicPage *page) {
    page_ = page;
    if (page) post(apic_event::page);
}

// What arrives goes to irr_ whoever has the registers, and waits there for the next entry; what is
// posted, at most so long.
ApicSummary LocalApic::lend() {
    events_.fetch_and(~(apic_event::interrupt | apic_event::page), std::memory_order_acq_rel);
    if (!lent_) fill_page();
    lent_ = true;
    held_by_tpr_ = 0;
    ApicSummary summary{};
#pragma GCC unroll 4
    for (unsigned i = 0; i < words; ++i) {
        std::uint64_t requested = page_->bits(apic_reg::irr, i);
        if (requests(i)) {
            requested |= irr_[i].exchange(0, std::memory_order_acq_rel);
            if (posted_) requested |= posted_[i].exchange(0, std::memory_order_acq_rel);
            page_->set_bits(apic_reg::irr, i, requested);
        }
        summary.eoi_exits[i] = tmr_[i].load(std::memory_order_relaxed);
        page_->set_bits(apic_reg::tmr, i, summary.eoi_exits[i]);
        if (requested) summary.requested = top(i, requested);
        if (const std::uint64_t served = page_->bits(apic_reg::isr, i))
            summary.in_service = top(i, served);
    }
    return summary;
}

void LocalApic::take_back() {
    lent_ = false;
    for (unsigned i = 0; i < words; ++i) {
        isr_[i] = page_->bits(apic_reg::isr, i);
        if (const std::uint64_t requested = page_->bits(apic_reg::irr, i))
            irr_[i].fetch_or(requested, std::memory_order_relaxed);
    }
    in_service_ = highest_service();
    tpr_ = static_cast<std::uint8_t>(page_->get(apic_reg::tpr));
    update_ppr();
    post(apic_event::interrupt | apic_event::page);
}

// ---- timer ----

void LocalApic::run_timer() {
    events_.fetch_and(~apic_event::timer, std::memory_order_acquire);
    const auto [interrupt, due] = timer_.expire();
    if (interrupt) local_interrupt(lvt_timer);
    note_due(due);
}

void LocalApic::set_deadline(std::uint64_t guest_tsc) { note_due(timer_.set_deadline(guest_tsc)); }

} // namespace hwv::cpu
