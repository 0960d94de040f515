// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/display_options.hpp"
#include <charconv>
#include <string_view>
#include <vector>
#include "hwvctl/command.hpp"
#include "machine/display/vga.hpp"

namespace hwvctl {

VgaMode parse_vga(const std::string &text) {
    if (text == "text") return {};
    std::vector<unsigned> numbers;
    const char *at = text.data(), *end = at + text.size();
    while (at <= end && numbers.size() < 4) {
        unsigned number = 0;
        const auto [rest, error] = std::from_chars(at, end, number);
        if (error != std::errc{} || (rest != end && *rest != 'x')) break;
        numbers.push_back(number);
        at = rest + 1;
    }
    if (at != end + 1 || numbers.size() < 2 || numbers.size() > 3)
        throw UsageError{"--vga: '" + text + "' is none of text, WIDTHxHEIGHT, WIDTHxHEIGHTxBITS"};
    const VgaMode mode{numbers[0], numbers[1], numbers.size() > 2 ? numbers[2] : 32};
    const bool depth = mode.bits == 16 || mode.bits == 24 || mode.bits == 32;
    if (mode.width < 320 || mode.width > machine::BochsVbe::widest || mode.width % 8 ||
        mode.height < 200 || mode.height > machine::BochsVbe::highest || !depth ||
        std::uint64_t{mode.width} * mode.height * (mode.bits / 8) > machine::Vga::frame_buffer_size)
        throw UsageError{"--vga: from 320x200 on, the width a multiple of 8, 16, 24 or 32 bits for "
                         "each pixel, 16 MiB at most"};
    return mode;
}

std::optional<VncOptions> parse_display(const std::string &text) {
    if (text == "none") return std::nullopt;
    constexpr std::string_view vnc = "vnc=", unix_path = "unix:", password = ",password=";
    const UsageError wrong{"--display: '" + text +
                           "' is none of none, vnc=[ADDRESS]:N, vnc=unix:PATH, each vnc with "
                           ",password=FILE behind it or without"};
    if (!text.starts_with(vnc)) throw wrong;
    VncOptions out;
    std::string place = text.substr(vnc.size());
    if (const auto comma = place.find(password); comma != std::string::npos) {
        out.password_file = place.substr(comma + password.size());
        if (out.password_file.empty()) throw wrong;
        place.resize(comma);
    }
    if (place.starts_with(unix_path)) {
        out.path = place.substr(unix_path.size());
        if (out.path.empty()) throw wrong;
        return out;
    }
    const auto colon = place.rfind(':');
    if (colon == std::string::npos) throw wrong;
    const char *end = place.data() + place.size();
    const auto [rest, error] = std::from_chars(place.data() + colon + 1, end, out.number);
    if (error != std::errc{} || rest != end || out.number > 999) throw wrong;
    if (colon > 0) out.address = place.substr(0, colon);
    return out;
}

} // namespace hwvctl
