// SPDX-License-Identifier: GPL-2.0-only
// hexdump.hpp - bytes as `hexdump -C` prints them, in as many pieces as they come in.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace hwvctl {

class Hexdump {
  public:
    explicit Hexdump(std::uint64_t address) : address_{address} {}
    // All pieces but the last are multiples of 16 bytes.
    std::string lines(std::span<const std::byte> bytes);
    std::string end() const; // the address behind the last byte

  private:
    std::uint64_t address_;
    std::array<std::byte, 16> last_{}; // the line above
    bool started_ = false, repeating_ = false;
};

} // namespace hwvctl
