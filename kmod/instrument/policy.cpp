// SPDX-License-Identifier: GPL-2.0-only
#include "instrument/policy.hpp"
#include <cstddef>

namespace hwv::instrument {

namespace {

constexpr std::uint64_t bit(ExitReason reason) { return 1ull << reason; }

// Reasons whose exits a value completes; those that are instructions; those that may fault.
constexpr std::uint64_t answerable =
    bit(HWV_EXIT_CPUID) | bit(HWV_EXIT_IO) | bit(HWV_EXIT_MSR_READ) | bit(HWV_EXIT_MSR_WRITE) |
    bit(HWV_EXIT_HYPERCALL) | bit(HWV_EXIT_CR_READ) | bit(HWV_EXIT_CR_WRITE) |
    bit(HWV_EXIT_DR_ACCESS) | bit(HWV_EXIT_RDTSC) | bit(HWV_EXIT_RDTSCP) | bit(HWV_EXIT_RDPMC);
constexpr std::uint64_t instructions =
    answerable | bit(HWV_EXIT_HLT) | bit(HWV_EXIT_INVLPG) | bit(HWV_EXIT_INVD) |
    bit(HWV_EXIT_WBINVD) | bit(HWV_EXIT_MONITOR) | bit(HWV_EXIT_MWAIT) | bit(HWV_EXIT_PAUSE) |
    bit(HWV_EXIT_XSETBV) | bit(HWV_EXIT_DESCRIPTOR) | bit(HWV_EXIT_INVPCID) |
    bit(HWV_EXIT_VIRT_INSTRUCTION);
constexpr std::uint64_t faultable = instructions | bit(HWV_EXIT_EXCEPTION) |
                                    bit(HWV_EXIT_PAGE_FAULT) | bit(HWV_EXIT_RDPRU) |
                                    bit(HWV_EXIT_RSM);

std::uint32_t bits_between(std::uint64_t first, std::uint64_t last) {
    std::uint32_t mask = 0;
    for (std::uint64_t i = first; i <= last && i < 32; ++i)
        mask |= 1u << i;
    return mask;
}

// The exits that the rule needs, and whether it needs any that not every guest has.
bool traps_of(const hwv_rule &r, Traps &out) {
    const bool keyed = r.flags & HWV_RULE_KEY;
    const std::uint64_t first = keyed ? r.key_first : 0, last = keyed ? r.key_last : ~0ull;
    const std::uint32_t keys = bits_between(first, last);
    constexpr std::uint64_t highest = ~0u;
    switch (r.reason) {
    case HWV_EXIT_RDTSC:
    case HWV_EXIT_RDTSCP: out.instructions = trap::rdtsc; return true;
    case HWV_EXIT_INVLPG:
    case HWV_EXIT_INVPCID: out.instructions = trap::invlpg; return true;
    case HWV_EXIT_PAUSE: out.instructions = trap::pause; return true;
    case HWV_EXIT_DESCRIPTOR: out.instructions = trap::tables; return true;
    case HWV_EXIT_EXCEPTION: out.exceptions = keys; return true;
    case HWV_EXIT_CR_READ: out.cr_reads = static_cast<std::uint16_t>(keys); return true;
    case HWV_EXIT_CR_WRITE: out.cr_writes = static_cast<std::uint16_t>(keys); return true;
    case HWV_EXIT_DR_ACCESS:
        out.dr_reads = out.dr_writes = static_cast<std::uint8_t>(keys);
        return true;
    case HWV_EXIT_MSR_READ:
    case HWV_EXIT_MSR_WRITE:
        if (first <= highest)
            out.add(MsrRange{static_cast<std::uint32_t>(first),
                             static_cast<std::uint32_t>(last < highest ? last : highest),
                             r.reason == HWV_EXIT_MSR_READ, r.reason == HWV_EXIT_MSR_WRITE});
        return false; // those that do not exit already, every CPU can trap
    default: return false;
    }
}

bool asks_for_any(const Traps &t) {
    return t.instructions || t.exceptions || t.cr_reads || t.cr_writes || t.debug_registers();
}

// Offset of the first field that makes no sense; ~0: none.
std::uint32_t check(const hwv_rule &r) {
    constexpr std::uint32_t known = HWV_RULE_CPL | HWV_RULE_CR3 | HWV_RULE_RIP | HWV_RULE_KEY |
                                    HWV_RULE_EVERY | HWV_RULE_ERROR_CODE;
    const bool injects = r.action == HWV_ACTION_INJECT, has_code = r.flags & HWV_RULE_ERROR_CODE;
    if (r.reason == HWV_EXIT_NONE || r.reason >= HWV_EXIT_CPU_REASONS)
        return offsetof(hwv_rule, reason);
    if (r.action > HWV_ACTION_STOP ||
        !may(static_cast<hwv_action>(r.action), static_cast<ExitReason>(r.reason)))
        return offsetof(hwv_rule, action);
    if ((r.flags & ~known) || (has_code && !injects)) return offsetof(hwv_rule, flags);
    if ((r.flags & HWV_RULE_EVERY) && !r.every) return offsetof(hwv_rule, every);
    if ((r.flags & HWV_RULE_CPL) && (!r.cpl_mask || r.cpl_mask > 0xf))
        return offsetof(hwv_rule, cpl_mask);
    if (r.reserved) return offsetof(hwv_rule, reserved);
    if ((r.flags & HWV_RULE_KEY) && r.key_first > r.key_last) return offsetof(hwv_rule, key_last);
    if ((r.flags & HWV_RULE_RIP) && r.rip_first > r.rip_last) return offsetof(hwv_rule, rip_last);
    if (!injects) return ~0u;
    if (!injectable(r.vector, pushes_error_code(r.vector), 0)) return offsetof(hwv_rule, vector);
    if (has_code != pushes_error_code(r.vector)) return offsetof(hwv_rule, flags);
    return injectable(r.vector, has_code, r.error_code) ? ~0u : offsetof(hwv_rule, error_code);
}

} // namespace

bool traps_for(std::uint64_t reasons, const Traps &can, Traps &out) {
    bool all = true;
    for (std::uint32_t reason = 0; reason < HWV_EXIT_CPU_REASONS; ++reason) {
        if (!(reasons >> reason & 1)) continue;
        hwv_rule rule{};
        rule.reason = reason;
        Traps traps;
        const bool needs_any = traps_of(rule, traps);
        traps.limit(can);
        if (needs_any && !asks_for_any(traps)) all = false;
        out.add(traps);
    }
    return all;
}

bool may(hwv_action action, ExitReason reason) {
    switch (action) {
    case HWV_ACTION_ANSWER: return answerable & bit(reason);
    case HWV_ACTION_SKIP: return instructions & bit(reason);
    case HWV_ACTION_INJECT: return faultable & bit(reason);
    default: return true;
    }
}

// Intel SDM vol. 3 "Exceptions and Interrupts", each vector's "Exception Error Code".
bool pushes_error_code(std::uint32_t v) {
    return v == vector::double_fault || (v >= vector::invalid_tss && v <= vector::page_fault) ||
           v == vector::alignment_check || v == vector::control_protection;
}

// "VM-Entry Controls for Event Injection": upper bits of error codes must be clear.
bool injectable(std::uint32_t v, bool has_error_code, std::uint32_t error_code) {
    if (v > 31 || !(trap::exceptions >> v & 1) || has_error_code != pushes_error_code(v))
        return false;
    return error_code <= (has_error_code ? 0x7fffu : 0u);
}

bool Policy::set(const hwv_rule *rules, std::uint32_t count, const Traps &can, RuleFault &fault) {
    for (std::uint8_t &first : first_)
        first = none;
    count_ = count;
    for (std::uint32_t i = count; i--;) { // last first, so that lists are in order
        fault = {i, check(rules[i]), false};
        if (fault.field != ~0u) return false;
        Traps traps;
        fault.unsupported = traps_of(rules[i], traps);
        traps.limit(can);
        if (fault.unsupported && !asks_for_any(traps)) {
            fault.field = offsetof(hwv_rule, reason);
            return false;
        }
        traps_.add(traps);
        rules_[i].rule = rules[i];
        rules_[i].next = first_[rules[i].reason];
        first_[rules[i].reason] = static_cast<std::uint8_t>(i);
    }
    return true;
}

bool Policy::act(unsigned i, Verdict &verdict) {
    Compiled &c = rules_[i];
    const hwv_rule &r = c.rule;
    const std::uint64_t n = c.matched.fetch_add(1, std::memory_order_relaxed) + 1;
    if ((r.flags & HWV_RULE_EVERY) && n % r.every) return false;
    const auto action = static_cast<hwv_action>(r.action);
    if (action > HWV_ACTION_RECORD && verdict.decided()) return false;
    c.acted.fetch_add(1, std::memory_order_relaxed);
    if (!verdict.hit.count++) verdict.hit = {age_, i, 1};
    if (action > HWV_ACTION_RECORD)
        verdict = {action,
                   r.vector,
                   (r.flags & HWV_RULE_ERROR_CODE) != 0,
                   r.error_code,
                   {r.value[0], r.value[1]},
                   age_,
                   i,
                   timeout_ms_,
                   verdict.hit};
    return action == HWV_ACTION_RECORD;
}

} // namespace hwv::instrument
