// SPDX-License-Identifier: GPL-2.0-only
// fuzz.hpp - what the fuzzers of the kernel's side share: numbers, children that may die of what
// they do, and the host's word that it is whole.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace fuzz {

// SplitMix64: one word of state, so that a seed says all.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_{seed} {}
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15;
        z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
        z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t n) { return next() % n; }
    bool one_in(unsigned n) { return below(n) == 0; }
    // Small numbers, powers of two and their neighbours, addresses at edges, noise.
    std::uint64_t boundary();

  private:
    std::uint64_t state_;
};

// FUZZ_SECONDS, FUZZ_SEED: longer, or once more. The seed is printed.
double seconds(double otherwise);
std::uint64_t seed();

// Panic on any WARN from here on.
void arm();

// Runs `body` in child processes with seeds of their own until the time is over. A child may end as
// it likes, but it must be over soon after its time, or else a SIGKILL must end it: false if that
// fails.
bool rounds(double duration, double each, const std::function<void(Random &)> &body);

// In Bochs, whose guests can keep a CPU for ever (fuzz.cpp), a thread that runs one leaves the
// second CPU to others: rounds() ends such guests from there.
void leave_a_cpu();

// A new VM still does what it should.
bool guest_still_runs();

// No complaint in the kernel's log; else the line.
std::string complaint();

// Kicks and signals the calling thread's HWV_RUN on `fd` from another thread for as long as the
// object lives.
class Ticker {
  public:
    explicit Ticker(int fd, unsigned microseconds);
    ~Ticker();

  private:
    struct State;
    State *state_;
};

} // namespace fuzz
