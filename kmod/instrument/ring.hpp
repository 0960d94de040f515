// SPDX-License-Identifier: GPL-2.0-only
// ring.hpp - one observer's ring of one vCPU: 64-byte records in memory that the observer maps. One
// writer, the vCPU's thread. What the observer may write is read as a number and no more.
#pragma once
#include <cstdint>
#include "host.h"
#include "hwv.h"

struct hwv_core_ring {}; // the C door's name of hwv::instrument::Ring

namespace hwv::instrument {

class Ring : public hwv_core_ring {
  public:
    // `shared`: HWV_RING_HEADER and request.capacity records, zeroed.
    Ring(hwv_ring *shared, hwv_host_observer *observer, std::uint64_t age,
         const hwv_ring_open &request)
        : shared_{shared},
          observer_{observer},
          age_{age},
          capacity_{request.capacity},
          reasons_{request.reasons},
          every_{request.every ? request.every : 1},
          flags_{request.flags} {
        shared_->version = HWV_RING_VERSION;
        shared_->record_bytes = sizeof(hwv_record);
        shared_->capacity = capacity_;
    }

    static bool valid(const hwv_ring_open &r) {
        constexpr std::uint32_t known = HWV_RING_BLOCK | HWV_RING_RULED_ONLY;
        const bool power = r.capacity && !(r.capacity & (r.capacity - 1));
        return !(r.flags & ~known) && !r.reserved && power && r.capacity >= HWV_RING_MIN &&
               r.capacity <= HWV_RING_MAX;
    }

    std::uint64_t age() const { return age_; } // its observer's

    // Of an exit that takes place: is it one of those to record? ruled: a rule or a program of this
    // ring's observer said so.
    bool wants(std::uint8_t reason, bool ruled) {
        if (!(reasons_ >> (reason & 63) & 1) || ((flags_ & HWV_RING_RULED_ONLY) && !ruled))
            return false;
        if (++turn_ < every_) return false;
        turn_ = 0;
        return true;
    }

    void write(hwv_record record) {
        record.sequence = static_cast<__u32>(matched_);
        shared_->matched = ++matched_;
        if (used() >= capacity_) {
            ++shared_->dropped;
            hwv_host_tell_drop(observer_, record.vcpu);
            return;
        }
        records()[head_ & (capacity_ - 1)] = record;
        __atomic_store_n(&shared_->head, ++head_, __ATOMIC_RELEASE);
        // An observer who moved his tail before that, and then found no more, is told.
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (used() == 1) hwv_host_observer_wake(observer_);
    }

    // A vCPU that enters now needs room for so many records when it exits.
    bool must_wait(unsigned records) const {
        return (flags_ & HWV_RING_BLOCK) && used() + records > capacity_;
    }
    void count_wait() { ++shared_->blocked; }

  private:
    // A tail that cannot be makes the ring look full.
    std::uint64_t used() const { return head_ - __atomic_load_n(&shared_->tail, __ATOMIC_ACQUIRE); }
    hwv_record *records() const {
        return reinterpret_cast<hwv_record *>(reinterpret_cast<char *>(shared_) + HWV_RING_HEADER);
    }

    hwv_ring *const shared_;
    hwv_host_observer *const observer_;
    const std::uint64_t age_, capacity_, reasons_;
    const std::uint32_t every_, flags_;
    std::uint32_t turn_ = 0;
    std::uint64_t head_ = 0, matched_ = 0; // what the observer may write over is not believed
};

static_assert(sizeof(hwv_record) == 64 && sizeof(hwv_ring) <= HWV_RING_HEADER);

} // namespace hwv::instrument
