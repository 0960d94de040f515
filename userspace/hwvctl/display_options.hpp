// SPDX-License-Identifier: GPL-2.0-only
// display_options.hpp - --vga and what goes with it.
#pragma once
#include <string>

namespace hwvctl {

// How the screen is when the guest starts: in text, or with a linear picture.
struct VgaMode {
    unsigned width = 0; // 0: text
    unsigned height = 0;
    unsigned bits = 32;
};

// "text", "1024x768", "800x600x16". Throws UsageError.
VgaMode parse_vga(const std::string &text);

} // namespace hwvctl
