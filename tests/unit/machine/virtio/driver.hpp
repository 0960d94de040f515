// SPDX-License-Identifier: GPL-2.0-only
// A driver's half of a virtqueue, in a little guest memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "machine/virtio/queue.hpp"

namespace machine::virtio {

struct RecordingSignals final : Signals {
    void queue_used(unsigned) noexcept override { ++used; }
    void configuration_changed() noexcept override { ++changes; }
    void needs_reset() noexcept override { ++resets; }
    std::atomic<unsigned> used = 0;
    std::atomic<unsigned> changes = 0;
    std::atomic<unsigned> resets = 0;
};

class Driver {
  public:
    static constexpr std::uint64_t base = 0x10000, table_at = base, avail_at = base + 0x1000,
                                   used_at = base + 0x2000, indirect_at = base + 0x3000,
                                   data_at = base + 0x4000;
    struct Piece {
        std::uint64_t address;
        std::uint32_t length;
        bool write;
    };

    explicit Driver(std::uint16_t size) : size_(size), bytes_(0x20000), ram_({{base, bytes_}}) {}

    GuestMemory &ram() { return ram_; }
    Rings rings() const { return {size_, table_at, avail_at, used_at}; }
    void descriptor(std::uint64_t table, unsigned index, std::uint64_t address,
                    std::uint32_t length, std::uint16_t flags, std::uint16_t next) {
        ram_.put(table + 16 * index, address);
        ram_.put(table + 16 * index + 8, length);
        ram_.put(table + 16 * index + 12, flags);
        ram_.put(table + 16 * index + 14, next);
    }
    // A chain from descriptor `head` on, made available.
    void offer(std::uint16_t head, const std::vector<Piece> &pieces) {
        for (unsigned i = 0; i < pieces.size(); ++i) {
            const bool more = i + 1 < pieces.size();
            const auto flags =
                static_cast<std::uint16_t>((more ? 1 : 0) | (pieces[i].write ? 2 : 0));
            descriptor(table_at, head + i, pieces[i].address, pieces[i].length, flags,
                       static_cast<std::uint16_t>(head + i + 1));
        }
        make_available(head);
    }
    void make_available(std::uint16_t head) {
        ram_.put<std::uint16_t>(avail_at + 4 + 2 * (available_ % size_), head);
        ram_.put<std::uint16_t>(avail_at + 2, ++available_);
    }
    std::uint16_t used_index() const { return ram_.get<std::uint16_t>(used_at + 2); }
    std::pair<std::uint32_t, std::uint32_t> used(unsigned index) const {
        const std::uint64_t at = used_at + 4 + 8 * (index % size_);
        return {ram_.get<std::uint32_t>(at), ram_.get<std::uint32_t>(at + 4)};
    }
    void set_used_event(std::uint16_t index) { ram_.put(avail_at + 4 + 2 * size_, index); }
    std::uint16_t avail_event() const { return ram_.get<std::uint16_t>(used_at + 4 + 8 * size_); }
    void put(std::uint64_t at, const std::string &text) {
        ram_.write(at, std::as_bytes(std::span{text}));
    }
    std::string text(std::uint64_t at, std::size_t count) const {
        std::string out(count, ' ');
        ram_.read(at, std::as_writable_bytes(std::span{out}));
        return out;
    }

  private:
    std::uint16_t size_;
    std::vector<std::byte> bytes_;
    GuestMemory ram_;
    std::uint16_t available_ = 0;
};

} // namespace machine::virtio
