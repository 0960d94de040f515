// SPDX-License-Identifier: GPL-2.0-only
// policies.hpp - the policies of a VM's observers. Who takes one away waits until no vCPU can be
// asking it any more: they ask with preemption off.
#pragma once
#include "instrument/policy.hpp"

namespace hwv::instrument {

class Policies {
  public:
    static constexpr unsigned slots = HWV_MAX_OBSERVERS;

    // One caller at a time. Returns what was there.
    Policy *set(unsigned slot, Policy *policy) {
        return policies_[slot].exchange(policy, std::memory_order_acq_rel);
    }
    bool any() const {
        for (const auto &p : policies_)
            if (p.load(std::memory_order_relaxed)) return true;
        return false;
    }
    Traps traps() const {
        Traps all;
        for (const auto &p : policies_)
            if (const Policy *policy = p.load(std::memory_order_relaxed)) all.add(policy->traps());
        return all;
    }

    // All rules of all, oldest observer first. Bit per slot that wants a record.
    std::uint32_t ask(const Question &q, Verdict &verdict) const {
        std::uint32_t records = 0;
        std::uint64_t asked = 0;
        for (unsigned slot = after(asked); slot < slots; slot = after(asked)) {
            Policy *policy = at(slot);
            if (!policy) continue; // gone meanwhile
            asked = policy->age();
            if (policy->ask(q, verdict)) records |= 1u << slot;
        }
        return records;
    }

  private:
    Policy *at(unsigned slot) const { return policies_[slot].load(std::memory_order_acquire); }

    // The slot of the oldest whose age is above that; slots: none.
    unsigned after(std::uint64_t age) const {
        unsigned found = slots;
        std::uint64_t lowest = ~0ull;
        for (unsigned i = 0; i < slots; ++i) {
            const Policy *policy = at(i);
            if (!policy || policy->age() <= age || policy->age() >= lowest) continue;
            found = i;
            lowest = policy->age();
        }
        return found;
    }

    std::atomic<Policy *> policies_[slots] = {};
};

} // namespace hwv::instrument
