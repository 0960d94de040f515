// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "boot/error.hpp"
#include "machine/bytes.hpp"

namespace boot {

using machine::align_down;
using machine::align_up;
using machine::Bytes;
using machine::ByteView;
using machine::within;

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
