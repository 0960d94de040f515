// SPDX-License-Identifier: GPL-2.0-only
#include "fuzz/watching.hpp"
#include <cstdio>
#include <sys/mman.h>
#include "module/exit_program.hpp"
#include "module/raw.hpp"

namespace fuzz::watching {

namespace {

constexpr std::uint32_t often[] = {HWV_EXIT_IO,       HWV_EXIT_CPUID,      HWV_EXIT_RDTSC,
                                   HWV_EXIT_CR_WRITE, HWV_EXIT_MSR_READ,   HWV_EXIT_MSR_WRITE,
                                   HWV_EXIT_CR_READ,  HWV_EXIT_DR_ACCESS,  HWV_EXIT_DESCRIPTOR,
                                   HWV_EXIT_HLT,      HWV_EXIT_PAGE_FAULT, HWV_EXIT_EXCEPTION,
                                   HWV_EXIT_INVLPG,   HWV_EXIT_PAUSE,      HWV_EXIT_HYPERCALL};
constexpr std::uint64_t keys[] = {0,  1,    3,    4,     6,          7,         13,
                                  14, 0x10, 0x21, 0x277, 0xc0000080, 0xa0000000};

std::uint32_t any_reason(Random &r) {
    return r.one_in(8) ? static_cast<std::uint32_t>(r.below(HWV_EXIT_CPU_REASONS + 2))
                       : often[r.below(std::size(often))];
}

std::uint64_t any_key(Random &r) {
    return r.one_in(4) ? r.boundary() : keys[r.below(std::size(keys))];
}

// Those that most reasons allow.
std::uint32_t any_action(Random &r, std::uint32_t reason) {
    constexpr std::uint32_t actions[] = {HWV_ACTION_COUNT, HWV_ACTION_RECORD, HWV_ACTION_STOP,
                                         HWV_ACTION_SKIP,  HWV_ACTION_INJECT, HWV_ACTION_ANSWER};
    const bool fault = reason == HWV_EXIT_PAGE_FAULT || reason == HWV_EXIT_EXCEPTION;
    return actions[r.below(fault ? 3 : std::size(actions))];
}

constexpr unsigned long requests[] = {
    HWV_OBSERVE_INFO,   HWV_RESUME,     HWV_OBSERVE_REGS,   HWV_OBSERVE_MEMORY,
    HWV_RING_OPEN,      HWV_RING_CLOSE, HWV_POLICY_SET,     HWV_POLICY_GET,
    HWV_STOP_GET,       HWV_STOP_REPLY, HWV_PROGRAM_ATTACH, HWV_PROGRAM_DETACH,
    HWV_PROGRAM_LIST,   HWV_LIST_VMS,   HWV_ATTACH,         HWV_RUN,
    HWV_OBSERVE_EVENTFD};

} // namespace

hwv_rule any_rule(Random &r) {
    const std::uint32_t reason = any_reason(r), action = any_action(r, reason);
    hwv_rule rule{.reason = reason, .action = action};
    if (r.one_in(3)) rule.flags |= HWV_RULE_KEY;
    if (r.one_in(6)) rule.flags |= HWV_RULE_CPL;
    if (r.one_in(6)) rule.flags |= HWV_RULE_RIP;
    if (r.one_in(6)) rule.flags |= HWV_RULE_EVERY;
    rule.every = rule.flags & HWV_RULE_EVERY ? static_cast<std::uint32_t>(1 + r.below(4)) : 0;
    if (rule.flags & HWV_RULE_CPL) rule.cpl_mask = static_cast<std::uint8_t>(1 + r.below(15));
    if (rule.flags & HWV_RULE_KEY) {
        rule.key_first = any_key(r);
        rule.key_last = rule.key_first + r.below(4);
    }
    if (rule.flags & HWV_RULE_RIP) rule.rip_last = r.boundary();
    if (action == HWV_ACTION_INJECT) {
        rule.vector = r.one_in(2) ? 6 : 13;
        if (rule.vector == 13) rule.flags |= HWV_RULE_ERROR_CODE;
    }
    if (action == HWV_ACTION_ANSWER) rule.value[0] = r.next() & 0xffffffff;
    spoil(r, rule);
    return rule;
}

std::uint64_t any_reasons(Random &r) {
    std::uint64_t out = 0;
    for (unsigned n = 1 + r.below(4); n; --n)
        out |= 1ull << any_reason(r);
    return out;
}

// All that a request points to is in here, and it may write there.
void any_request(Random &r, int fd) {
    constexpr std::size_t bytes = 1 << 16, words = 64;
    static thread_local auto *arena = static_cast<std::uint64_t *>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t n = 0; n < words; ++n)
        arena[n] = r.one_in(2)   ? r.below(4)
                   : r.one_in(2) ? reinterpret_cast<std::uint64_t>(arena + r.below(words))
                                 : r.boundary();
    unsigned long request = requests[r.below(std::size(requests))];
    if (r.one_in(4)) request = raw::with_size(request, r.below(1 << _IOC_SIZEBITS));
    raw::call(fd, request, arena);
}

void load_programs(std::span<int> to) {
    const std::vector<exit_program::Store> outputs[] = {
        {},
        {SET(ack, 1)},
        {SET(action, HWV_ACTION_RECORD), SET(ack, 1)},
        {SET(action, HWV_ACTION_SKIP)},
        {SET(action, HWV_ACTION_INJECT), SET(vector, 6)},
        {SET(action, HWV_ACTION_ANSWER), SET(value[0], 0x1234)},
        {SET(gprs, 9), SET(gpr[0], 7), SET(gpr[3], -1)},
        {SET(action, 99), SET(gprs, -1), SET(flags, -1), SET(rip, 0)}};
    for (std::size_t n = 0; n < to.size(); ++n)
        to[n] = exit_program::storing(outputs[n % std::size(outputs)]);
}

void Tally::print() const {
    std::printf("# %lu runs, %lu records; taken and refused:", runs.load(), records.load());
    const std::pair<const char *, const Calls &> all[] = {
        {"attach", attached}, {"rules", rules}, {"programs", programs},
        {"replies", replies}, {"rings", rings}, {"registers", registers}};
    for (const auto &[name, calls] : all)
        std::printf(" %s %lu %lu", name, calls.taken.load(), calls.refused.load());
    std::printf("\n");
}

// A stop is over before a reply of somebody else's finds it, more often than not.
bool Tally::all_both_ways() const {
    for (const Calls *c : {&attached, &rules, &programs, &rings, &registers})
        if (!c->taken || !c->refused) return false;
    return runs > 100 && records && replies.refused;
}

} // namespace fuzz::watching
