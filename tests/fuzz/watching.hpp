// SPDX-License-Identifier: GPL-2.0-only
// watching.hpp - what observers say: rules, sets of reasons, exit programs, of which most can be;
// and the count of what was taken.
#pragma once
#include <atomic>
#include <span>
#include "fuzz/fuzz.hpp"
#include "hwv.h"

namespace fuzz::watching {

hwv_rule any_rule(Random &r);
std::uint64_t any_reasons(Random &r); // bit per reason

// A number of any request that an observer knows, with noise for its argument.
void any_request(Random &r, int fd);

// Exit programs that pass, answer, inject, change registers, and some whose output cannot be.
void load_programs(std::span<int> to);

// One time in sixteen, a word of it is something else.
template <typename T>
void spoil(Random &r, T &request) {
    static_assert(sizeof(T) % 8 == 0);
    if (!r.one_in(16)) return;
    reinterpret_cast<std::uint64_t *>(&request)[r.below(sizeof(T) / 8)] = r.boundary();
}

struct Tally {
    struct Calls {
        std::atomic<std::uint64_t> taken, refused;
    };
    void count(Calls &of, long result) { ++(result >= 0 ? of.taken : of.refused); }
    void print() const;
    bool all_both_ways() const;

    std::atomic<std::uint64_t> runs, records;
    Calls attached, rules, programs, replies, rings, registers;
};

} // namespace fuzz::watching
