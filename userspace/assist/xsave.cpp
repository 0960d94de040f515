// SPDX-License-Identifier: GPL-2.0-only
#include "assist/xsave.hpp"

#include <algorithm>
#include <cstring>

#include <cpuid.h>

namespace assist {
namespace {

// Numbers of XSAVE components.
constexpr unsigned sse = 1;
constexpr unsigned avx = 2;
constexpr unsigned zmm_hi256 = 6;
constexpr unsigned hi16_zmm = 7;

constexpr std::size_t xmm_area = 160;
constexpr std::size_t xstate_bv = 512;

std::uint32_t component_offset(unsigned component) {
    unsigned size = 0;
    unsigned offset = 0;
    unsigned flags = 0;
    unsigned unused = 0;
    const bool known = __get_cpuid_count(0xd, component, &size, &offset, &flags, &unused) != 0;
    return known && size != 0 ? offset : 0;
}

} // namespace

XsaveLayout host_xsave_layout() {
    return {.ymm_high = component_offset(avx),
            .zmm_high = component_offset(zmm_hi256),
            .zmm_16_up = component_offset(hi16_zmm)};
}

template <typename Visit>
void XsaveImage::for_parts(unsigned index, Visit visit) const {
    const auto part = [&](unsigned component, std::size_t area, unsigned slot, unsigned at,
                          unsigned bytes) {
        const auto offset = area + std::size_t{slot} * bytes;
        if (area != 0 && offset + bytes <= image_.size()) visit(component, offset, at, bytes);
    };
    if (index >= 16) return part(hi16_zmm, layout_.zmm_16_up, index - 16, 0, 64);
    part(sse, xmm_area, index, 0, 16);
    part(avx, layout_.ymm_high, index, 16, 16);
    part(zmm_hi256, layout_.zmm_high, index, 32, 32);
}

bool XsaveImage::present(unsigned component) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, image_.data() + xstate_bv, sizeof bits);
    return (bits >> component & 1) != 0;
}

// Registers of a component that was initial are zero: their bytes in the image were not meaningful
// until now.
void XsaveImage::make_present(unsigned component) {
    if (present(component)) return;
    for (unsigned index = 0; index < 32; ++index)
        for_parts(index, [&](unsigned own, std::size_t offset, unsigned, unsigned bytes) {
            if (own == component) std::fill_n(image_.data() + offset, bytes, std::byte{});
        });
    std::uint64_t bits = 0;
    std::memcpy(&bits, image_.data() + xstate_bv, sizeof bits);
    bits |= std::uint64_t{1} << component;
    std::memcpy(image_.data() + xstate_bv, &bits, sizeof bits);
}

void XsaveImage::read(unsigned index, std::span<std::byte, 64> to) {
    std::fill(to.begin(), to.end(), std::byte{});
    for_parts(index, [&](unsigned component, std::size_t offset, unsigned at, unsigned bytes) {
        if (present(component)) std::copy_n(image_.data() + offset, bytes, to.data() + at);
    });
}

// A part that stays zero does not make an initial component present: XRSTOR would fault on one the
// guest has not enabled.
void XsaveImage::write(unsigned index, std::span<const std::byte, 64> from) {
    for_parts(index, [&](unsigned component, std::size_t offset, unsigned at, unsigned bytes) {
        const auto part = from.subspan(at, bytes);
        const bool zero =
            std::all_of(part.begin(), part.end(), [](std::byte b) { return b == std::byte{}; });
        if (zero && !present(component)) return;
        make_present(component);
        std::copy(part.begin(), part.end(), image_.data() + offset);
    });
}

} // namespace assist
