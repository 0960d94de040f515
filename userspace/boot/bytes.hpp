// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "boot/error.hpp"

namespace boot {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

// True when [offset, offset + length) lies in something `size` bytes long; cannot overflow.
constexpr bool within(std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
    return offset <= size && length <= size - offset;
}

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
    return (value + alignment - 1) & ~(alignment - 1);
}

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) {
    return value & ~(alignment - 1);
}

// Images come from outside: every field is read through this, and a field past the end is an error.
template <typename T>
T get(ByteView image, std::uint64_t offset) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!within(offset, sizeof(T), image.size())) throw Error("image is truncated");
    T value;
    std::memcpy(&value, image.data() + offset, sizeof(T));
    return value;
}

template <typename T>
void put(std::span<std::byte> to, std::uint64_t offset, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!within(offset, sizeof(T), to.size())) throw std::out_of_range("boot::put past the end");
    std::memcpy(to.data() + offset, &value, sizeof(T));
}

template <typename T>
void append(Bytes &to, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto old = to.size();
    to.resize(old + sizeof(T));
    std::memcpy(to.data() + old, &value, sizeof(T));
}

std::string hex(std::uint64_t value); // "0x1000"
std::string mib(std::uint64_t bytes); // "12 MiB", rounded up

// The whole of a file; throws Error naming the file and the reason.
Bytes read_file(const std::string &path);

} // namespace boot
