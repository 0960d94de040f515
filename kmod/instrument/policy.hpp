// SPDX-License-Identifier: GPL-2.0-only
// policy.hpp - the rules of one observer: which exits they need, and what they say of an exit. The
// rules do not change while anybody asks them; their counts do, from all vCPUs at once.
#pragma once
#include <atomic>
#include <cstdint>
#include "core/traps.hpp"
#include "hwv.h"

struct hwv_core_policy {}; // the C door's name of hwv::instrument::Policy

namespace hwv::instrument {

// What rules are asked of.
struct Question {
    ExitReason reason;
    std::uint8_t cpl;
    std::uint64_t key, rip, cr3;
};

// Rules that acted at an exit: how many, and which one was the first.
struct Hit {
    std::uint64_t holder = 0; // the age of its policy
    std::uint32_t rule = 0, count = 0;
};

// What is to happen at an exit, by value: whoever said so may be gone before it does.
struct Verdict {
    hwv_action action = HWV_ACTION_COUNT;
    std::uint8_t vector = 0;
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    std::uint64_t value[2] = {};
    std::uint64_t observer = 0; // by his age: whose it was, for STOP
    std::uint32_t rule = 0, timeout_ms = 0;
    Hit hit = {};

    bool decided() const { return action > HWV_ACTION_RECORD; }
};

// What is wrong with a rule: the offset of its field, or that it needs what this CPU cannot.
struct RuleFault {
    std::uint32_t rule = 0, field = 0;
    bool unsupported = false;
};

class Policy : public hwv_core_policy {
  public:
    static constexpr unsigned max_rules = HWV_MAX_RULES;

    // `age`: whose this is; observers are asked in the order of theirs.
    Policy(std::uint64_t age, std::uint32_t timeout_ms)
        : timeout_ms_{timeout_ms ? timeout_ms : HWV_STOP_TIMEOUT_MS}, age_{age} {}

    // Before anybody asks. False: `fault` says why, and the policy is of no use.
    bool set(const hwv_rule *rules, std::uint32_t count, const Traps &can, RuleFault &fault);

    std::uint64_t age() const { return age_; }
    std::uint32_t count() const { return count_; }
    const Traps &traps() const { return traps_; }
    const hwv_rule &rule(unsigned i) const { return rules_[i].rule; }
    hwv_rule_counts counts(unsigned i) const {
        return {rules_[i].matched.load(std::memory_order_relaxed),
                rules_[i].acted.load(std::memory_order_relaxed)};
    }

    // Counts what matches, and decides what has not been decided yet. True: some rule wants a
    // record.
    bool ask(const Question &q, Verdict &verdict) {
        bool record = false;
        for (std::uint8_t i = first_[q.reason]; i != none; i = rules_[i].next)
            if (matches(rules_[i].rule, q)) record |= act(i, verdict);
        return record;
    }

  private:
    static constexpr std::uint8_t none = 0xff;
    struct Compiled {
        hwv_rule rule;
        std::atomic<std::uint64_t> matched{0}, acted{0};
        std::uint8_t next = none; // rule of the same reason
    };

    static bool matches(const hwv_rule &r, const Question &q) {
        constexpr std::uint64_t address = 0x000f'ffff'ffff'f000;
        if ((r.flags & HWV_RULE_KEY) && (q.key < r.key_first || q.key > r.key_last)) return false;
        if ((r.flags & HWV_RULE_CPL) && !(r.cpl_mask >> q.cpl & 1)) return false;
        if ((r.flags & HWV_RULE_CR3) && ((r.cr3 ^ q.cr3) & address)) return false;
        return !(r.flags & HWV_RULE_RIP) || (q.rip >= r.rip_first && q.rip <= r.rip_last);
    }
    bool act(unsigned i, Verdict &verdict);

    Compiled rules_[max_rules];
    std::uint8_t first_[HWV_EXIT_CPU_REASONS] = {};
    std::uint32_t count_ = 0, timeout_ms_;
    std::uint64_t age_;
    Traps traps_{};
};

// The exits of these reasons, as rules without filters would need them. False: the CPU cannot make
// those of one of them.
bool traps_for(std::uint64_t reasons, const Traps &can, Traps &out);
// May a rule for this reason do that?
bool may(hwv_action action, ExitReason reason);
// Does the CPU push an error code for this exception?
bool pushes_error_code(std::uint32_t vector);
// An exception that can be made up: vector, and an error code where there is one.
bool injectable(std::uint32_t vector, bool has_error_code, std::uint32_t error_code);

} // namespace hwv::instrument
