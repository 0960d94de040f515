// SPDX-License-Identifier: GPL-2.0-only
// Devices' memory as a guest would find it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "machine/guest_memory.hpp"
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

// RAM's slots.
class FakeRam final : public RamSlots {
  public:
    explicit FakeRam(const std::vector<RamRegion> &pieces) {
        for (const RamRegion &piece : pieces)
            pieces_[piece.gpa] = {piece.bytes, false};
    }
    bool replace(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept override {
        const auto piece = pieces_.find(gpa);
        if (refuse || piece == pieces_.end() || piece->second.bytes.size() != bytes.size())
            return false;
        piece->second = {bytes, read_only};
        ++changes;
        return true;
    }
    const std::byte *at(std::uint64_t gpa) const { return pieces_.at(gpa).bytes.data(); }
    bool read_only(std::uint64_t gpa) const { return pieces_.at(gpa).read_only; }

    bool refuse = false;
    unsigned changes = 0;

  private:
    struct Piece {
        std::span<std::byte> bytes;
        bool read_only = false;
    };
    std::map<std::uint64_t, Piece> pieces_;
};

} // namespace machine
