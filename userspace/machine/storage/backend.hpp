// SPDX-License-Identifier: GPL-2.0-only
// What a disk's contents come from and go to, as the devices see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace machine::storage {

inline constexpr std::uint64_t sector_bytes = 512;

// Bytes from 0 to size(). Each call is whole or false: an error of the host, or a range that leaves
// the contents. Throws nothing, whatever a guest asks for.
class Backend {
  public:
    virtual ~Backend() = default;
    virtual std::uint64_t size() const noexcept = 0;
    virtual bool read_only() const noexcept = 0;
    virtual bool read(std::uint64_t offset, std::span<std::byte> to) noexcept = 0;
    virtual bool write(std::uint64_t offset, std::span<const std::byte> from) noexcept = 0;
    // What was written is on the host's disk.
    virtual bool flush() noexcept = 0;
};

} // namespace machine::storage
