// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/balloon.hpp"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace machine::virtio {

namespace {

constexpr std::uint64_t statistics_queue = 1u << 1;
constexpr std::uint64_t deflate_on_oom = 1u << 2;
constexpr std::uint64_t page_reporting = 1u << 5;

// Page numbers in one piece; drivers send 256 or 1024 of them.
constexpr std::size_t numbers_at_once = 1024;

// The host's pages that lie in these bytes entirely. How many bytes.
std::uint64_t release(std::span<std::byte> bytes) noexcept {
    constexpr std::uintptr_t mask = Balloon::page - 1;
    const auto first = (reinterpret_cast<std::uintptr_t>(bytes.data()) + mask) & ~mask;
    const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size()) & ~mask;
    if (first >= end) return 0;
    return madvise(reinterpret_cast<void *>(first), end - first, MADV_DONTNEED) == 0 ? end - first
                                                                                     : 0;
}

} // namespace

std::uint64_t Balloon::features() const {
    return statistics_queue | deflate_on_oom | page_reporting;
}

bool Balloon::counts() const { return (accepted() & statistics_queue) != 0; }
bool Balloon::reports() const { return (accepted() & page_reporting) != 0; }

// The driver writes what it has given, all of it or a byte.
void Balloon::write_configuration(unsigned offset, std::span<const std::byte> bytes) noexcept {
    constexpr unsigned actual_at = sizeof configuration_[0];
    if (offset < actual_at || offset + bytes.size() > sizeof configuration_) return;
    std::memcpy(reinterpret_cast<std::byte *>(&configuration_[1]) + (offset - actual_at),
                bytes.data(), bytes.size());
}

void Balloon::set_target(std::uint64_t bytes) noexcept {
    configuration_[0] = static_cast<std::uint32_t>(std::min(bytes, memory_.size()) / page);
    if (signals() != nullptr) signals()->configuration_changed();
}

Balloon::State Balloon::state() noexcept {
    const bool driven = signals() != nullptr;
    return {driven,
            driven && reports(),
            configuration_[0] * page,
            configuration_[1] * page,
            inflated_,
            reported_,
            guest_};
}

bool Balloon::refresh() noexcept {
    Queue *asked = queue(statistics);
    if (asked == nullptr || !counts()) return false;
    if (!held_) return true; // asked already
    asked->push(*held_, 0);
    held_.reset();
    asked->publish();
    return true;
}

void Balloon::stopped() noexcept {
    held_.reset();
    configuration_[1] = 0;
    guest_ = {};
}

// Which queues there are besides the first two depends on what was negotiated, and drivers do not
// agree whether one that is left out keeps its number.
void Balloon::serve(unsigned number) noexcept {
    Queue &requests = *queue(number);
    if (number == statistics && counts()) return take_statistics(requests);
    if (number > deflate && !reports()) return;
    for (unsigned i = 0; i < requests_at_once && requests.pop(chain_); ++i) {
        if (number == inflate) inflated_ += give_back(chain_);
        for (const iovec &free : chain_.writable())
            if (number > deflate)
                reported_ += release({static_cast<std::byte *>(free.iov_base), free.iov_len});
        requests.push(chain_.head, 0);
    }
    requests.publish();
    if (requests.wait_for_more()) requests.ring();
}

// The pages whose numbers the driver sends. What is behind the first ones, nobody asked it to send.
std::uint64_t Balloon::give_back(Chain &chain) noexcept {
    std::array<std::uint32_t, numbers_at_once> numbers;
    const std::size_t bytes = gather(std::as_writable_bytes(std::span{numbers}), chain.readable());
    return give_back_pages(std::span{numbers}.first(bytes / sizeof numbers[0]));
}

// Neighbours together: one system call for all, and huge pages go as a whole.
std::uint64_t Balloon::give_back_pages(std::span<std::uint32_t> numbers) noexcept {
    std::sort(numbers.begin(), numbers.end());
    std::span<std::byte> run;
    std::uint64_t given = 0;
    for (const std::uint32_t number : numbers) {
        const auto bytes = memory_.span(number * page, page);
        if (!bytes) continue;
        if (!run.empty() && bytes->data() == run.data() + run.size()) {
            run = {run.data(), run.size() + page};
            continue;
        }
        given += release(run);
        run = *bytes;
    }
    return given + release(run);
}

// "Memory Statistics": tags of 16 bits with values of 64. The buffer is kept until somebody asks.
void Balloon::take_statistics(Queue &requests) noexcept {
    constexpr std::size_t entry_bytes = 10, most = 32;
    if (requests.pop(chain_)) {
        if (held_) requests.push(*held_, 0); // a driver that sends what nobody asked for
        held_ = chain_.head;
        guest_ = {};
        std::array<std::byte, entry_bytes> entry;
        for (std::size_t i = 0; i < most && chain_.take(entry); ++i) {
            std::uint16_t tag = 0;
            std::uint64_t value = 0;
            std::memcpy(&tag, entry.data(), sizeof tag);
            std::memcpy(&value, entry.data() + sizeof tag, sizeof value);
            if (tag == 4) guest_.free = value;
            if (tag == 5) guest_.total = value;
            if (tag == 6) guest_.available = value;
            if (tag == 7) guest_.caches = value;
        }
    }
    requests.publish();
    if (requests.wait_for_more()) requests.ring();
}

} // namespace machine::virtio
