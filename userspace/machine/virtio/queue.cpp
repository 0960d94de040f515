// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/queue.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>

namespace machine::virtio {

namespace {

constexpr std::uint16_t flag_next = 1, flag_write = 2, flag_indirect = 4;
constexpr std::uint16_t no_signal = 1; // VIRTQ_AVAIL_F_NO_INTERRUPT and VIRTQ_USED_F_NO_NOTIFY
constexpr std::uint64_t descriptor_bytes = 16, used_bytes = 8;

std::uint16_t load(const std::uint16_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void store(std::uint16_t *word, std::uint16_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
// What was written before is seen before what is read after: the other side does the same the other
// way round, so that one of the two sees the other ("Used Buffer Notification Suppression").
void full_barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

} // namespace

std::uint64_t Chain::bytes(std::span<const iovec> segments) {
    std::uint64_t total = 0;
    for (const iovec &segment : segments)
        total += segment.iov_len;
    return total;
}

bool Chain::add(std::span<std::byte> bytes, bool writable) noexcept {
    if (count_ == max_segments || (!writable && count_ != readable_)) return false;
    segments_[count_++] = {bytes.data(), bytes.size()};
    readable_ += !writable;
    return true;
}

bool Chain::take(std::span<std::byte> to) noexcept {
    if (bytes(readable()) < to.size()) return false;
    while (!to.empty()) {
        iovec &first = segments_[skipped_];
        const std::size_t piece = std::min(first.iov_len, to.size());
        std::memcpy(to.data(), first.iov_base, piece);
        to = to.subspan(piece);
        first.iov_base = static_cast<std::byte *>(first.iov_base) + piece;
        first.iov_len -= piece;
        if (first.iov_len == 0) ++skipped_;
    }
    return true;
}

std::byte *Chain::take_last() noexcept {
    if (count_ == readable_) return nullptr;
    iovec &last = segments_[count_ - 1];
    auto *byte = static_cast<std::byte *>(last.iov_base) + --last.iov_len;
    if (last.iov_len == 0) --count_;
    return byte;
}

std::size_t scatter(std::span<const iovec> to, std::span<const std::byte> from, std::size_t skip) {
    std::size_t copied = 0;
    for (const iovec &segment : to) {
        const std::size_t over = std::min(skip, segment.iov_len);
        skip -= over;
        const std::size_t piece = std::min(segment.iov_len - over, from.size() - copied);
        if (piece != 0)
            std::memcpy(static_cast<std::byte *>(segment.iov_base) + over, from.data() + copied,
                        piece);
        copied += piece;
    }
    return copied;
}

std::size_t gather(std::span<std::byte> to, std::span<const iovec> from) {
    std::size_t copied = 0;
    for (const iovec &segment : from) {
        const std::size_t piece = std::min(segment.iov_len, to.size() - copied);
        if (piece != 0) std::memcpy(to.data() + copied, segment.iov_base, piece);
        copied += piece;
    }
    return copied;
}

Queue::Queue(unsigned number, std::uint16_t max_size, Signals &signals)
    : number_(number), max_size_(max_size), signals_(signals), doorbell_(eventfd(0, EFD_CLOEXEC)) {
    if (!doorbell_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Queue::ring() noexcept { eventfd_write(doorbell_.get(), 1); }

void Queue::quiet() noexcept {
    pollfd ready{doorbell_.get(), POLLIN, 0};
    eventfd_t count = 0;
    if (poll(&ready, 1, 0) == 1) eventfd_read(doorbell_.get(), &count);
}

bool Queue::start(const GuestMemory &memory, const Rings &rings, bool event_index) noexcept {
    const std::uint64_t size = rings.size;
    if (!std::has_single_bit(size) || size > max_size_ || rings.descriptors % 16 != 0 ||
        rings.driver % 2 != 0 || rings.device % 4 != 0)
        return false;
    // Both rings have their event word at the end, needed or not.
    const auto descriptors = memory.span(rings.descriptors, descriptor_bytes * size);
    const auto driver = memory.span(rings.driver, 6 + 2 * size);
    const auto device = memory.span(rings.device, 6 + used_bytes * size);
    if (!descriptors || !driver || !device) return false;
    memory_ = &memory;
    descriptors_ = *descriptors;
    driver_ = *driver;
    device_ = *device;
    size_ = rings.size;
    taken_ = pushed_ = published_ = 0;
    event_index_ = event_index;
    running_ = true;
    return true;
}

std::uint16_t *Queue::driver_word(std::uint32_t index) const noexcept {
    return reinterpret_cast<std::uint16_t *>(driver_.data()) + index;
}

std::uint16_t *Queue::device_word(std::uint32_t index) const noexcept {
    return reinterpret_cast<std::uint16_t *>(device_.data()) + index;
}

void Queue::broken() noexcept {
    running_ = false;
    signals_.needs_reset();
}

Queue::Descriptor Queue::descriptor(std::span<const std::byte> table,
                                    std::uint32_t index) const noexcept {
    Descriptor copy;
    std::memcpy(&copy, table.data() + index * descriptor_bytes, sizeof copy);
    // From here on the copy is all that counts: the compiler may not go back to the guest's.
    asm volatile("" : : "r"(&copy) : "memory");
    return copy;
}

bool Queue::follow(Chain &chain, std::span<const std::byte> table, std::uint32_t index,
                   bool indirect) noexcept {
    const std::size_t count = table.size() / descriptor_bytes;
    // A table of N has chains of N at most: more is a loop.
    for (std::size_t steps = 0; steps < count && index < count; ++steps) {
        const Descriptor entry = descriptor(table, index);
        if ((entry.flags & flag_indirect) != 0) {
            const auto inner = memory_->span(entry.address, entry.length);
            const bool allowed = !indirect && (entry.flags & flag_next) == 0 && entry.length != 0 &&
                                 entry.length % descriptor_bytes == 0;
            return allowed && inner && follow(chain, *inner, 0, true);
        }
        const auto bytes = memory_->span(entry.address, entry.length);
        if (!bytes) return false;
        if (!bytes->empty() && !chain.add(*bytes, (entry.flags & flag_write) != 0)) return false;
        if ((entry.flags & flag_next) == 0) return true;
        index = entry.next;
    }
    return false;
}

bool Queue::pop(Chain &chain) noexcept {
    if (!running_) return false;
    const auto available = static_cast<std::uint16_t>(load(driver_word(1)) - taken_);
    if (available == 0) return false;
    chain.count_ = chain.readable_ = chain.skipped_ = 0;
    if (available <= size_) {
        chain.head = load(driver_word(2 + (taken_ & (size_ - 1u))));
        if (chain.head < size_ && follow(chain, descriptors_, chain.head, false)) {
            ++taken_;
            return true;
        }
    }
    broken();
    return false;
}

void Queue::push(std::uint16_t head, std::uint32_t written) noexcept {
    const std::uint32_t element[2] = {head, written};
    std::memcpy(device_.data() + 4 + used_bytes * (pushed_++ & (size_ - 1u)), element,
                sizeof element);
}

void Queue::publish() noexcept {
    if (!running_ || pushed_ == published_) return;
    const std::uint16_t before = published_;
    published_ = pushed_;
    store(device_word(1), published_);
    full_barrier();
    bool wanted = (load(driver_word(0)) & no_signal) == 0;
    if (event_index_) {
        // Has the index that the driver waits for been passed?
        const std::uint16_t event = load(driver_word(2u + size_));
        wanted = static_cast<std::uint16_t>(published_ - event - 1) <
                 static_cast<std::uint16_t>(published_ - before);
    }
    if (wanted) signals_.queue_used(number_);
}

bool Queue::wait_for_more() noexcept {
    if (!running_) return false;
    if (event_index_)
        store(device_word(2u + 4u * size_), taken_);
    else
        store(device_word(0), 0);
    full_barrier();
    return load(driver_word(1)) != taken_;
}

void Queue::dont_signal() noexcept {
    // With an event index, the one asked for is passed already.
    if (running_ && !event_index_) store(device_word(0), no_signal);
}

} // namespace machine::virtio
