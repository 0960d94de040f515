// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/hexdump.hpp"
#include <algorithm>
#include <fmt/format.h>

namespace hwvctl {
namespace {

std::string line(std::uint64_t address, std::span<const std::byte> bytes) {
    std::string out = fmt::format("{:08x} ", address), text;
    for (std::size_t i = 0; i < 16; ++i) {
        if (i == 8) out += ' ';
        if (i >= bytes.size()) {
            out += "   ";
            continue;
        }
        const auto byte = std::to_integer<unsigned>(bytes[i]);
        out += fmt::format(" {:02x}", byte);
        text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
    }
    return out + "  |" + text + "|\n";
}

} // namespace

std::string Hexdump::lines(std::span<const std::byte> bytes) {
    std::string out;
    while (!bytes.empty()) {
        const std::span<const std::byte> now = bytes.first(std::min<std::size_t>(16, bytes.size()));
        const bool same =
            started_ && now.size() == 16 && std::equal(now.begin(), now.end(), last_.begin());
        if (!same)
            out += line(address_, now);
        else if (!repeating_)
            out += "*\n";
        repeating_ = same;
        started_ = true;
        std::copy(now.begin(), now.end(), last_.begin());
        address_ += now.size();
        bytes = bytes.subspan(now.size());
    }
    return out;
}

std::string Hexdump::end() const { return fmt::format("{:08x}\n", address_); }

} // namespace hwvctl
