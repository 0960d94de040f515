// SPDX-License-Identifier: GPL-2.0-only
// One request to a disk, from the chain to its status byte ("Block Device", "Device Operation").
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "machine/storage/disk.hpp"
#include "machine/virtio/queue.hpp"

namespace machine::virtio {

class BlockRequest {
  public:
    Chain chain;

    // What is left to do after begin(): a transfer between file and memory, or nothing.
    enum class Next : std::uint8_t { read, write, done };
    // `serial` is what the guest may ask for.
    Next begin(storage::Disk &disk, const std::string &serial) noexcept;
    std::span<const iovec> segments() { return segments_; }
    std::uint64_t offset() const { return offset_; }
    std::uint64_t bytes() const { return bytes_; }
    // Does the transfer here and now.
    void transfer(storage::Disk &disk, Next next) noexcept;
    // All of it once more, by the disk itself.
    void retry(storage::Disk &disk) noexcept { transfer(disk, reads_ ? Next::read : Next::write); }
    // The transfer ended: 0 or an errno. Writes the status byte.
    void finish(int error) noexcept;
    std::uint32_t written() const { return written_; }

  private:
    static constexpr std::uint8_t ok = 0, io_error = 1, unsupported = 2;
    Next complete(std::uint8_t status) noexcept;
    Next begin_transfer(storage::Disk &disk, bool write, std::uint64_t sector) noexcept;
    Next change_ranges(storage::Disk &disk, bool zeroes) noexcept;

    std::span<const iovec> segments_;
    std::byte *status_ = nullptr;
    std::uint64_t offset_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint32_t written_ = 0;
    bool reads_ = false;
};

} // namespace machine::virtio
