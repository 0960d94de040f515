// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

// Runs one instruction on the CPU of the test machine, as the reference for the emulator.
namespace assist_test {

struct NativeState {
    std::array<std::uint64_t, 16> gpr{};
    std::uint64_t flags = 0;
};

// Memory at the same address natively and in the emulated guest.
std::span<std::byte> native_window();

// `instruction` must neither trap nor jump; its memory accesses go to native_window().
void run_native(NativeState &state, std::span<const std::byte> instruction);

} // namespace assist_test
