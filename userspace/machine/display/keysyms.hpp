// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>

#include "machine/keys.hpp"

namespace machine {

// The key of a US keyboard that has an X11 keysym on it, shifted or not, as VNC's clients send them
// (RFC 6143, "KeyEvent"). Nothing for what no key has.
std::optional<Key> key_of_keysym(std::uint32_t keysym);

} // namespace machine
