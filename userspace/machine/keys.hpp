// SPDX-License-Identifier: GPL-2.0-only
// The keys of a PC's keyboard, as people and programs name them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace machine {

// The key's make code in scan code set 1, and whether 0xe0 comes before it. Pause is like no other.
using Key = std::uint16_t;
inline constexpr Key extended_key = 0x100, pause_key = 0x200;
inline constexpr Key shift_key = 0x2a;

// Names as in QEMU's `sendkey`: "ret", "ctrl", "f1", "kp_5".
std::optional<Key> key_by_name(std::string_view name);
std::string_view key_name(Key key); // empty for an unknown one
// Those to be held together: "ctrl-alt-delete", "shift-a". Nothing if one of them is unknown.
std::optional<std::vector<Key>> key_chord(std::string_view text);
// What types `character` on a US keyboard; nothing if no key does.
std::optional<std::vector<Key>> keys_for(char character);

} // namespace machine
