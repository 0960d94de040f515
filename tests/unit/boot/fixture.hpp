// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "boot/load.hpp"
#include "boot/memory_map.hpp"

namespace boot_test {

using boot::Bytes;
using boot::get;
using boot::put;

constexpr std::uint64_t mib = 1024 * 1024;

// Owns what GuestMemory views.
class Ram {
  public:
    explicit Ram(std::uint64_t bytes) : Ram(boot::pc_ram_layout(bytes)) {}
    explicit Ram(const std::vector<boot::GpaRange> &layout) {
        std::vector<boot::RamRegion> regions;
        for (const auto &range : layout) {
            // memset is an order faster than a vector's constructor in an instrumented build.
            backing_.push_back(std::make_unique_for_overwrite<std::byte[]>(range.size));
            std::memset(backing_.back().get(), 0xee, range.size);
            regions.push_back({range.start, {backing_.back().get(), range.size}});
        }
        memory_.emplace(std::move(regions));
    }
    boot::GuestMemory &operator*() { return *memory_; }
    boot::GuestMemory *operator->() { return &*memory_; }

    std::string text(std::uint64_t gpa) {
        std::string result;
        for (char c; (c = memory_->get<char>(gpa)) != 0; ++gpa)
            result += c;
        return result;
    }

  private:
    std::vector<std::unique_ptr<std::byte[]>> backing_;
    std::optional<boot::GuestMemory> memory_;
};

inline Bytes pattern(std::size_t size, unsigned seed) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(seed + i * 7 + (i >> 8));
    return bytes;
}

// The message of the boot::Error that `action` throws; empty when it throws none.
template <typename Action>
std::string error_of(Action action) {
    try {
        action();
    } catch (const boot::Error &error) {
        return error.what();
    }
    return {};
}

inline ::testing::AssertionResult says(const std::string &message, const std::string &part) {
    if (message.find(part) != std::string::npos && message.find('\n') == std::string::npos)
        return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << '"' << message << "\" does not say \"" << part << '"';
}

} // namespace boot_test
