// SPDX-License-Identifier: GPL-2.0-only
// ring.hpp - the records of one vCPU's exits, as an observer reads them.
#pragma once
#include <cstdint>
#include <span>
#include "hwv.h"
#include "hwv/fd.hpp"

namespace hwv {

struct RingOptions {
    std::uint32_t vcpu = 0;
    std::uint64_t capacity = 1 << 14; // records: a power of two
    std::uint64_t reasons = ~std::uint64_t{0};
    std::uint32_t every = 1;
    bool block = false;      // a full ring stops the vCPU; else records are dropped and counted
    bool ruled_only = false; // only what this observer's rules or programs say to record
};

struct RingCounts {
    std::uint64_t written, matched, dropped, blocked;
};

// Closes with the observer, or by Observer::close_ring(); what was mapped stays readable.
class Ring {
  public:
    Ring(std::uint32_t vcpu, Mapping pages) : vcpu_{vcpu}, pages_{std::move(pages)} {}

    // The oldest records that nobody took yet, and takes them: how many. In a ring that blocks,
    // Observer::wait() (or any request) afterwards lets the vCPU go on.
    std::size_t read(std::span<hwv_record> room);
    std::uint64_t waiting() const; // records
    RingCounts counts() const;
    std::uint32_t vcpu() const { return vcpu_; }

  private:
    hwv_ring &header() const { return *static_cast<hwv_ring *>(pages_.data()); }
    std::uint32_t vcpu_;
    Mapping pages_;
};

} // namespace hwv
