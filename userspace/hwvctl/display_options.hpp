// SPDX-License-Identifier: GPL-2.0-only
// display_options.hpp - --vga and --display.
#pragma once
#include <optional>
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

// Where VNC viewers come in: a display of an address, or a path.
struct VncOptions {
    std::string address = "127.0.0.1";
    unsigned number = 0; // TCP port 5900 + number
    std::string path;    // of a unix socket, instead
    std::string password_file;
};

// "none", "vnc=:1", "vnc=0.0.0.0:1,password=FILE", "vnc=unix:PATH". Throws UsageError.
std::optional<VncOptions> parse_display(const std::string &text);

} // namespace hwvctl
