// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/ring.hpp"
#include <algorithm>
#include <atomic>

namespace hwv {
namespace {

// The header is in memory that the kernel writes at any time.
std::uint64_t load(__u64 &word) {
    return std::atomic_ref<__u64>{word}.load(std::memory_order_acquire);
}

} // namespace

std::size_t Ring::read(std::span<hwv_record> room) {
    hwv_ring &ring = header();
    const auto *records = reinterpret_cast<const hwv_record *>(
        static_cast<const std::byte *>(pages_.data()) + HWV_RING_HEADER);
    const std::uint64_t tail = ring.tail;
    const std::size_t count = std::min<std::uint64_t>(load(ring.head) - tail, room.size());
    for (std::size_t i = 0; i < count; ++i)
        room[i] = records[(tail + i) & (ring.capacity - 1)];
    std::atomic_ref<__u64>{ring.tail}.store(tail + count, std::memory_order_release);
    return count;
}

std::uint64_t Ring::waiting() const { return load(header().head) - header().tail; }

RingCounts Ring::counts() const {
    hwv_ring &ring = header();
    return {load(ring.head), load(ring.matched), load(ring.dropped), load(ring.blocked)};
}

} // namespace hwv
