// SPDX-License-Identifier: GPL-2.0-only
// apic_regs.cpp - the register file of the local APIC, as a page (xAPIC) and as MSRs (x2APIC).
// Manual: Intel SDM vol. 3, "The Local APIC Block Diagram" (register map), "x2APIC Register Address
// Space".
#include <initializer_list>
#include "cpu/apic.hpp"
#include "cpu/nospec.hpp"

namespace hwv::cpu {
namespace {

namespace reg = apic_reg;

constexpr std::uint32_t version_value =
    0x14 | 5u << 16; // integrated, six LVT entries, no EOI-broadcast suppression
constexpr std::uint32_t lvt_masked = 1u << 16;
constexpr std::uint32_t software_enable = 1u << 8;
constexpr std::uint32_t error_send_vector = 1u << 5, error_register = 1u << 7;
constexpr std::uint32_t icr_writable = 0xccfff, icr_busy = 1u << 12, icr_self = 1u << 18;

// How a register can be accessed in the two modes, and which bits a write may have set (others:
// dropped, #GP in x2APIC).
struct Rule {
    bool x1_read, x1_write, x2_read, x2_write;
    std::uint32_t bits;
};

constexpr unsigned registers = 64;
struct Rules {
    Rule rule[registers];
};

constexpr Rules make_rules() {
    Rules r{};
    const auto at = [&](std::uint32_t offset) -> Rule & { return r.rule[offset >> 4]; };
    at(reg::id) = {true, true, true, false, 0};
    at(reg::version) = at(reg::ppr) = at(reg::current_count) = {true, false, true, false, 0};
    at(reg::apr) = at(reg::rrd) = {true, false, false, false, 0};
    at(reg::tpr) = {true, true, true, true, 0xff};
    at(reg::eoi) = {false, true, false, true, 0};
    at(reg::ldr) = {true, true, true, false, 0xff00'0000};
    at(reg::dfr) = {true, true, false, false, 0xf000'0000};
    at(reg::svr) = {true, true, true, true, 0x3ff};
    for (std::uint32_t offset = reg::isr; offset < reg::esr; offset += 0x10)
        at(offset) = {true, false, true, false, 0};
    at(reg::esr) = {true, true, true, true, 0};
    at(reg::icr) = {true, true, true, true, icr_writable | icr_busy};
    at(reg::icr_high) = {true, true, false, false, 0xff00'0000};
    at(0x320) = {true, true, true, true, 0x7'10ff}; // timer
    for (std::uint32_t offset : {0x330, 0x340})
        at(offset) = {true, true, true, true, 0x1'17ff}; // thermal, performance
    for (std::uint32_t offset : {0x350, 0x360})
        at(offset) = {true, true, true, true, 0x1'f7ff}; // LINT0, LINT1
    at(0x370) = {true, true, true, true, 0x1'10ff};      // error
    at(reg::initial_count) = {true, true, true, true, 0xffff'ffff};
    at(reg::divide) = {true, true, true, true, 0xb};
    at(reg::self_ipi) = {false, false, false, true, 0xff};
    return r;
}
constexpr Rules rules = make_rules();

// Of a register below `registers`.
const Rule &rule_of(std::uint32_t number) { return rules.rule[nospec(number, registers)]; }

bool in_page(std::uint32_t offset) {
    if (offset >= registers * 16) return false;
    const Rule &rule = rule_of(offset >> 4);
    return rule.x1_read || rule.x1_write;
}

constexpr std::uint32_t lvt_read_only = 1u << 12 | 1u << 14; // delivery status, remote IRR
constexpr std::uint32_t timer_deadline_bit = 1u << 18;

} // namespace

// ---- the two doors ----

std::uint32_t LocalApic::read(std::uint32_t offset) {
    if (offset & 0xf) return 0;
    reclaim();
    if (!in_page(offset)) {
        error(error_register);
        return 0;
    }
    return rule_of(offset >> 4).x1_read ? read_register(offset) : 0;
}

ApicEffect LocalApic::write(std::uint32_t offset, std::uint32_t value) {
    if (offset & 0xf) return {};
    reclaim();
    if (!in_page(offset)) {
        error(error_register);
        return {};
    }
    const Rule &rule = rule_of(offset >> 4);
    if (!rule.x1_write) return {};
    if (offset == reg::icr) return write_icr((icr_ & ~0xffff'ffffull) | value, false);
    return write_register(offset, value & rule.bits);
}

bool LocalApic::read_msr(std::uint32_t index, std::uint64_t &value) {
    const std::uint32_t number = index - 0x800;
    if (!x2apic() || number >= registers || !rule_of(number).x2_read) return false;
    if (number != reg::current_count >> 4) reclaim();
    value = number == reg::icr >> 4 ? icr_ : read_register(number << 4);
    return true;
}

bool LocalApic::write_msr(std::uint32_t index, std::uint64_t value, ApicEffect &effect) {
    const std::uint32_t number = index - 0x800;
    if (!x2apic() || number >= registers || !rule_of(number).x2_write) return false;
    const std::uint32_t offset = number << 4;
    const auto low = static_cast<std::uint32_t>(value);
    if (low & ~rule_of(number).bits) return false;
    if (offset == reg::icr) {
        effect = write_icr(value, true);
        if (lent_) page_->set_wide(reg::icr, icr_);
        return true;
    }
    if (value >> 32) return false;
    reclaim();
    if (offset == reg::lvt_first && (low & timer_deadline_bit) && !features_.tsc_deadline)
        return false;
    effect = offset == reg::self_ipi ? send(low | icr_self, true) : write_register(offset, low);
    return true;
}

// "x2APIC State Transitions": out of x2APIC mode only to disabled, and into it only from xAPIC
// mode.
bool LocalApic::set_base(std::uint64_t value) {
    const std::uint64_t page_bits = ((1ull << features_.phys_bits) - 1) & ~0xfffull;
    if (!features_.present || (value & ~(page_bits | base_bsp | base_extended | base_enable)))
        return false;
    const std::uint64_t before = base();
    const bool on = value & base_enable, extended = value & base_extended;
    if (extended && (!on || !features_.x2apic || !present())) return false;
    if (x2apic() && on && !extended) return false;
    reclaim();
    if (page_) post(apic_event::page);
    base_.store((value & ~base_bsp) | (before & base_bsp), std::memory_order_relaxed);
    if (!on && (before & base_enable)) init();
    if (extended && !(before & base_extended)) {
        ldr_.store(x2apic_logical_id(id_), std::memory_order_relaxed);
        icr_ &= 0xffff'ffff;
    }
    return true;
}

// ---- reading ----

std::uint32_t LocalApic::read_register(std::uint32_t offset) const {
    if (offset >= reg::isr && offset < reg::esr) return read_bitmap(offset);
    if (offset >= reg::lvt_first && offset <= reg::lvt_last)
        return lvt_[(offset - reg::lvt_first) >> 4].load(std::memory_order_relaxed);
    switch (offset) {
    case reg::id: return x2apic() ? id_ : id_ << 24;
    case reg::version: return version_value;
    case reg::tpr: return tpr_;
    case reg::apr: return arbitration_priority();
    case reg::ppr: return ppr_;
    case reg::ldr: return ldr_.load(std::memory_order_relaxed);
    case reg::dfr: return dfr_.load(std::memory_order_relaxed);
    case reg::svr: return svr_.load(std::memory_order_relaxed);
    case reg::esr: return esr_;
    case reg::icr: return static_cast<std::uint32_t>(icr_);
    case reg::icr_high: return static_cast<std::uint32_t>(icr_ >> 32);
    case reg::initial_count: return timer_.initial_count();
    case reg::current_count: return timer_.current_count();
    case reg::divide: return timer_.divide_configuration();
    default: return 0; // remote read: nothing ever starts one
    }
}

std::uint32_t LocalApic::read_bitmap(std::uint32_t offset) const {
    const unsigned part = offset >> 4 & 7; // 32 vectors
    std::uint64_t word = isr_[part / 2];
    if (offset >= reg::irr)
        word = requests(part / 2);
    else if (offset >= reg::tmr)
        word = tmr_[part / 2].load(std::memory_order_relaxed);
    return static_cast<std::uint32_t>(word >> (part % 2 * 32));
}

// "Arbitration Priority Register (APR)" of the APM: TPR where it is above all that waits and is in
// service.
std::uint8_t LocalApic::arbitration_priority() const {
    const unsigned task = tpr_ >> 4, request = highest_request() >> 4, service = in_service_ >> 4;
    if (task >= request && task > service) return tpr_;
    const unsigned held = task & service;
    return static_cast<std::uint8_t>((held > request ? held : request) << 4);
}

// ---- writing ----

ApicEffect LocalApic::write_register(std::uint32_t offset, std::uint32_t value) {
    if (offset >= reg::lvt_first && offset <= reg::lvt_last) {
        write_lvt((offset - reg::lvt_first) >> 4, value);
        return {};
    }
    switch (offset) {
    case reg::tpr: set_tpr(static_cast<std::uint8_t>(value)); break;
    case reg::eoi: return end_of_interrupt();
    case reg::ldr: ldr_.store(value, std::memory_order_relaxed); break;
    case reg::dfr: dfr_.store(value | 0x0fff'ffff, std::memory_order_relaxed); break;
    case reg::svr: write_svr(value); break;
    case reg::esr: latch_errors(); break;
    case reg::icr_high:
        icr_ = static_cast<std::uint64_t>(value) << 32 | (icr_ & 0xffff'ffff);
        break;
    case reg::initial_count: note_due(timer_.set_initial_count(value)); break;
    case reg::divide: note_due(timer_.set_divide(value)); break;
    default: break; // the id, which is fixed
    }
    return {};
}

void LocalApic::write_lvt(unsigned index, std::uint32_t value) {
    value &= ~lvt_read_only;
    if (!software_enabled()) value |= lvt_masked;
    if (index == lvt_timer) {
        if (!features_.tsc_deadline) value &= ~timer_deadline_bit;
        sync(); // what expired before this write is still the old entry's
    }
    lvt_[index].store(value, std::memory_order_relaxed);
    if (index == lvt_timer)
        note_due(
            timer_.configure(static_cast<ApicTimer::Mode>(value >> 17 & 3), value & lvt_masked));
}

// "Local APIC State After It Has Been Software Disabled": all mask bits are set; what is requested
// or in service stays.
void LocalApic::write_svr(std::uint32_t value) {
    svr_.store(value, std::memory_order_relaxed);
    if (value & software_enable) return;
    for (unsigned i = 0; i < lvts; ++i)
        write_lvt(i, lvt_[i].load(std::memory_order_relaxed));
}

void LocalApic::latch_errors() { esr_ = errors_.exchange(0, std::memory_order_relaxed); }

ApicEffect LocalApic::write_icr(std::uint64_t icr, bool wide) {
    icr_ = icr & (~0xffff'ffffull | icr_writable);
    return send(icr_, wide);
}

ApicEffect LocalApic::send(std::uint64_t icr, bool wide) {
    ApicEffect effect;
    if (!decode_icr(icr, wide, effect.message)) return {};
    const DeliveryMode mode = effect.message.mode;
    if ((mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority) &&
        effect.message.vector < 16) {
        error(error_send_vector);
        return {};
    }
    effect.kind = ApicEffect::Kind::ipi;
    return effect;
}

// ---- the page ----

// What the guest can read of it, but the bitmaps.
void LocalApic::fill_page() {
    for (std::uint32_t offset : {reg::id, reg::version, reg::tpr, reg::ldr, reg::svr, reg::esr,
                                 reg::initial_count, reg::divide})
        page_->set(offset, read_register(offset));
    for (std::uint32_t offset = reg::lvt_first; offset <= reg::lvt_last; offset += 0x10)
        page_->set(offset, read_register(offset));
    page_->set_wide(reg::icr, icr_);
    for (unsigned i = 0; i < words; ++i) {
        page_->set_bits(reg::isr, i, isr_[i]);
        page_->set_bits(reg::irr, i, 0);
    }
}

ApicEffect LocalApic::written(const ApicWrite &write) {
    if (write.offset == reg::eoi)
        return {ApicEffect::Kind::eoi, write.vector, is_level(write.vector), {}};
    if (write.offset == reg::self_ipi) return send(page_->get(write.offset) | icr_self, true);
    return {};
}

} // namespace hwv::cpu
