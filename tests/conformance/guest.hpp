// SPDX-License-Identifier: GPL-2.0-only
// guest.hpp - guest bytes, by GNU as: GUEST(name, "text") assembles the text three times, as 16-,
// 32- and 64-bit code, and makes the constant `name` of it. The text must not depend on where it is
// put. GUEST64 and the like: for text that only exists there.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace conformance {

using Bytes = std::vector<std::uint8_t>;

struct Text {
    const std::uint8_t *first[3], *last[3]; // 16, 32, 64 bits; null: not assembled

    bool exists(unsigned bits) const { return first[bits >> 5]; }
    Bytes bytes(unsigned bits) const { return {first[bits >> 5], last[bits >> 5]}; }
};

#define GUEST_PART(name, bits, text)                                                               \
    asm(".pushsection .rodata\n.code" #bits "\nguest_" #name "_" #bits ":\n" text "\nguest_" #name \
        "_" #bits "_end:\n.code64\n.popsection\n");                                                \
    extern "C" const std::uint8_t guest_##name##_##bits[], guest_##name##_##bits##_end[];

#define GUEST(name, text)                                                                          \
    GUEST_PART(name, 16, text)                                                                     \
    GUEST_PART(name, 32, text)                                                                     \
    GUEST_PART(name, 64, text)                                                                     \
    const Text name{{guest_##name##_16, guest_##name##_32, guest_##name##_64},                     \
                    {guest_##name##_16_end, guest_##name##_32_end, guest_##name##_64_end}};

#define GUEST_LEGACY(name, text)                                                                   \
    GUEST_PART(name, 16, text)                                                                     \
    GUEST_PART(name, 32, text)                                                                     \
    const Text name{{guest_##name##_16, guest_##name##_32, nullptr},                               \
                    {guest_##name##_16_end, guest_##name##_32_end, nullptr}};

#define GUEST32(name, text)                                                                        \
    GUEST_PART(name, 32, text)                                                                     \
    const Text name{{nullptr, guest_##name##_32, nullptr},                                         \
                    {nullptr, guest_##name##_32_end, nullptr}};

#define GUEST64(name, text)                                                                        \
    GUEST_PART(name, 64, text)                                                                     \
    const Text name{{nullptr, nullptr, guest_##name##_64},                                         \
                    {nullptr, nullptr, guest_##name##_64_end}};

} // namespace conformance
