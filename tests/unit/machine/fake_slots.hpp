// SPDX-License-Identifier: GPL-2.0-only
// Devices' memory as a guest would find it.
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "machine/memory_slots.hpp"

namespace machine {

class FakeSlots final : public MemorySlots {
  public:
    bool map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept override {
        if (refuse || mapped_.contains(gpa)) return false;
        mapped_[gpa] = bytes;
        last_read_only = read_only;
        return true;
    }
    void unmap(std::uint64_t gpa) noexcept override { mapped_.erase(gpa); }

    bool empty() const { return mapped_.empty(); }
    std::size_t size_at(std::uint64_t gpa) const {
        return mapped_.contains(gpa) ? mapped_.at(gpa).size() : 0;
    }
    unsigned get(std::uint64_t gpa) const { return std::to_integer<unsigned>(*find(gpa)); }
    void put(std::uint64_t gpa, unsigned value) { *find(gpa) = static_cast<std::byte>(value); }

    bool refuse = false;
    bool last_read_only = false;

  private:
    std::byte *find(std::uint64_t gpa) const {
        const auto above = mapped_.upper_bound(gpa);
        const auto &[start, bytes] = *std::prev(above);
        return &bytes[gpa - start];
    }
    std::map<std::uint64_t, std::span<std::byte>> mapped_;
};

} // namespace machine
