// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <span>

namespace machine {

// Page-aligned memory of zeros that costs nothing before it is touched.
class HostPages {
  public:
    explicit HostPages(std::size_t bytes); // throws std::system_error
    ~HostPages();
    HostPages(const HostPages &) = delete;
    HostPages &operator=(const HostPages &) = delete;
    std::span<std::byte> bytes() const { return bytes_; }
    // All zero again.
    void clear() noexcept;

  private:
    std::span<std::byte> bytes_;
};

} // namespace machine
