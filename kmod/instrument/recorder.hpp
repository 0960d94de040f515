// SPDX-License-Identifier: GPL-2.0-only
// recorder.hpp - the record of the exit under way, and the rings that it goes into when the guest
// is entered again. Rings come and go in other threads; who takes one away waits until no vCPU can
// be using it (preemption is off here).
#pragma once
#include <atomic>
#include "instrument/ring.hpp"

namespace hwv::instrument {

class Recorder {
  public:
    static constexpr unsigned slots = HWV_MAX_OBSERVERS;

    // Any thread.
    void set(unsigned slot, Ring *ring) { rings_[slot].store(ring, std::memory_order_release); }
    bool any() const {
        for (const auto &ring : rings_)
            if (ring.load(std::memory_order_relaxed)) return true;
        return false;
    }

    // The vCPU's thread.
    bool is_open() const { return open_; }
    void open(const hwv_record &record) {
        record_ = record;
        ruled_ = 0;
        open_ = true;
    }
    void drop() { open_ = false; }
    void mark(std::uint8_t flags) { record_.flags |= flags; } // HWV_RECORD_*
    void set_data(std::uint64_t data) { record_.data = data; }
    // Who has the slot when the record is written may be another one than who has it now.
    void rule(unsigned slot) {
        mark(HWV_RECORD_RULED);
        const Ring *ring = at(slot);
        if (!ring) return;
        ruled_ |= 1u << slot;
        ruled_by_[slot] = ring->age();
    }
    const hwv_record &record() const { return record_; }

    void close(std::uint64_t tsc) {
        open_ = false;
        record_.tsc_entry = tsc;
        for (unsigned i = 0; i < slots; ++i)
            if (Ring *ring = at(i); ring && ring->wants(record_.reason, ruled(i, *ring)))
                ring->write(record_);
    }

    // The vCPU ends: nobody enters the guest any more.
    void finish(std::uint64_t tsc) {
        if (!open_) return;
        mark(HWV_RECORD_UNFINISHED);
        close(tsc);
    }

    // Some ring has no room for the record under way and the next one: the vCPU is to wait.
    bool full() const {
        for (unsigned i = 0; i < slots; ++i)
            if (const Ring *ring = at(i); ring && ring->must_wait(1u + open_)) return true;
        return false;
    }
    void count_wait() {
        for (unsigned i = 0; i < slots; ++i)
            if (Ring *ring = at(i); ring && ring->must_wait(1u + open_)) ring->count_wait();
    }

  private:
    Ring *at(unsigned slot) const { return rings_[slot].load(std::memory_order_acquire); }
    bool ruled(unsigned slot, const Ring &ring) const {
        return ruled_ >> slot & 1 && ruled_by_[slot] == ring.age();
    }

    std::atomic<Ring *> rings_[slots] = {};
    hwv_record record_{};
    std::uint32_t ruled_ = 0; // bit per slot whose observer wants it
    std::uint64_t ruled_by_[slots] = {};
    bool open_ = false;
};

} // namespace hwv::instrument
