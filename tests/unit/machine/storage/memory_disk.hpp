// SPDX-License-Identifier: GPL-2.0-only
// Contents in memory, with errors to order.
#pragma once

#include <cerrno>
#include <cstring>
#include <vector>

#include "machine/bytes.hpp"
#include "machine/storage/disk.hpp"

namespace machine::storage {

class MemoryDisk final : public Disk {
  public:
    // Each sector has its number in all of its bytes.
    explicit MemoryDisk(std::size_t sectors) : contents(sectors * sector) {
        for (std::size_t at = 0; at < contents.size(); ++at)
            contents[at] = static_cast<std::byte>(at / sector);
    }
    std::uint64_t bytes() const override { return contents.size(); }
    bool read_only() const override { return locked; }
    int read(std::span<const iovec> to, std::uint64_t offset) noexcept override {
        for (const iovec &piece : to) {
            if (broken || !within(offset, piece.iov_len, contents.size())) return EIO;
            std::memcpy(piece.iov_base, &contents[offset], piece.iov_len);
            offset += piece.iov_len;
        }
        return 0;
    }
    int write(std::span<const iovec> from, std::uint64_t offset) noexcept override {
        for (const iovec &piece : from) {
            if (broken || locked || !within(offset, piece.iov_len, contents.size())) return EIO;
            std::memcpy(&contents[offset], piece.iov_base, piece.iov_len);
            offset += piece.iov_len;
        }
        return 0;
    }
    int flush() noexcept override {
        ++flushes;
        return broken ? EIO : 0;
    }
    int discard(std::uint64_t, std::uint64_t) noexcept override { return 0; }
    int write_zeroes(std::uint64_t, std::uint64_t, bool) noexcept override { return 0; }

    std::vector<std::byte> contents;
    bool broken = false;
    bool locked = false;
    unsigned flushes = 0;
};

} // namespace machine::storage
