// SPDX-License-Identifier: GPL-2.0-only
// The device's side of a split virtqueue (Virtual I/O Device specification, "Split Virtqueues"),
// with indirect descriptors and event index. The rings are the guest's, who may write anything
// there at any time: everything is read once, checked, and bounded. Used by one thread at a time,
// without the machine's lock.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <sys/uio.h>

#include "machine/event_loop.hpp"
#include "machine/guest_memory.hpp"

namespace machine::virtio {

// How a device reaches its driver; from any thread.
struct Signals {
    virtual ~Signals() = default;
    virtual void queue_used(unsigned queue) noexcept = 0;
    virtual void configuration_changed() noexcept = 0;
    // The driver broke the rules: nothing works before it resets the device.
    virtual void needs_reset() noexcept = 0;
    // With the machine's lock: an eventfd whose signal is queue_used(), as the driver has it now,
    // see Model::events_moved(); -1: there is none.
    virtual int event(unsigned) const noexcept { return -1; }
};

// One request: first what the device reads, then what it writes.
class Chain {
  public:
    static constexpr unsigned max_segments = 256;

    std::uint16_t head = 0;
    std::span<const iovec> readable() const {
        return {segments_.data() + skipped_, readable_ - skipped_};
    }
    std::span<const iovec> writable() const {
        return {segments_.data() + readable_, count_ - readable_};
    }
    static std::uint64_t bytes(std::span<const iovec> segments);

    // Takes the first `to.size()` readable bytes away; false, and nothing taken, if there are
    // fewer.
    bool take(std::span<std::byte> to) noexcept;
    // Takes the last writable byte away; null if there is none.
    std::byte *take_last() noexcept;

  private:
    friend class Queue;
    bool add(std::span<std::byte> bytes, bool writable) noexcept;
    std::array<iovec, max_segments> segments_;
    std::size_t count_ = 0;
    std::size_t readable_ = 0;
    std::size_t skipped_ = 0;
};

// Copies up to `from.size()` bytes into the segments; how many.
std::size_t scatter(std::span<const iovec> to, std::span<const std::byte> from,
                    std::size_t skip = 0);
// And the other way.
std::size_t gather(std::span<std::byte> to, std::span<const iovec> from);

struct Rings {
    std::uint16_t size = 0;
    std::uint64_t descriptors = 0;
    std::uint64_t driver = 0; // available
    std::uint64_t device = 0; // used
};

// The same in the host, for who serves a queue elsewhere.
struct HostRings {
    std::uint16_t size = 0;
    const std::byte *descriptors = nullptr;
    const std::byte *driver = nullptr;
    const std::byte *device = nullptr;
};

class Queue {
  public:
    // Throws std::system_error.
    Queue(unsigned number, std::uint16_t max_size, Signals &signals);

    std::uint16_t max_size() const { return max_size_; }
    // Signalled when the driver has put something into the ring. Reading it blocks, so that a
    // thread may wait there.
    int doorbell() const { return doorbell_.get(); }
    void ring() noexcept;  // as the driver does
    void quiet() noexcept; // forgets the signal

    // False if the rings are not what the specification allows, or no memory.
    bool start(const GuestMemory &memory, const Rings &rings, bool event_index) noexcept;
    void stop() noexcept { running_ = false; }
    bool running() const { return running_; }
    // Of a queue that runs.
    HostRings host_rings() const {
        return {size_, descriptors_.data(), driver_.data(), device_.data()};
    }

    // The next request. False: there is none, or the queue is broken and stopped.
    bool pop(Chain &chain) noexcept;
    // A request is done, `written` bytes of it written. Not seen before publish().
    void push(std::uint16_t head, std::uint32_t written) noexcept;
    // Shows what was pushed and interrupts the driver if it asked for that.
    void publish() noexcept;
    // Asks to be signalled from now on. True: something came before that; go on.
    bool wait_for_more() noexcept;
    // Signals are not needed for a while.
    void dont_signal() noexcept;

  private:
    struct Descriptor {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags;
        std::uint16_t next;
    };
    Descriptor descriptor(std::span<const std::byte> table, std::uint32_t index) const noexcept;
    bool follow(Chain &chain, std::span<const std::byte> table, std::uint32_t index,
                bool indirect) noexcept;
    std::uint16_t *driver_word(std::uint32_t index) const noexcept;
    std::uint16_t *device_word(std::uint32_t index) const noexcept;
    void broken() noexcept;

    const unsigned number_;
    const std::uint16_t max_size_;
    Signals &signals_;
    Fd doorbell_;
    const GuestMemory *memory_ = nullptr;
    std::span<std::byte> descriptors_;
    std::span<std::byte> driver_;
    std::span<std::byte> device_;
    std::uint16_t size_ = 0;
    std::uint16_t taken_ = 0;     // of the available ring
    std::uint16_t pushed_ = 0;    // into the used ring
    std::uint16_t published_ = 0; // of these, shown
    bool event_index_ = false;
    bool running_ = false;
};

} // namespace machine::virtio
