// SPDX-License-Identifier: GPL-2.0-only
#include "machine/guest_memory.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace machine {

GuestMemory::GuestMemory(std::vector<RamRegion> regions) : regions_(std::move(regions)) {
    std::sort(regions_.begin(), regions_.end(),
              [](const RamRegion &a, const RamRegion &b) { return a.gpa < b.gpa; });
    std::uint64_t last_end = 0;
    for (const auto &region : regions_) {
        if (region.bytes.empty() || region.end() < region.gpa)
            throw std::invalid_argument("guest memory region is empty or wraps");
        if (region.gpa < last_end) throw std::invalid_argument("guest memory regions overlap");
        last_end = region.end();
    }
}

std::uint64_t GuestMemory::contiguous_end(std::uint64_t gpa) const {
    for (const auto &region : regions_)
        if (gpa >= region.gpa && gpa < region.end()) gpa = region.end();
    return gpa;
}

bool GuestMemory::is_ram(std::uint64_t gpa, std::uint64_t size) const {
    return size == 0 || (gpa + size > gpa && contiguous_end(gpa) >= gpa + size);
}

template <typename Visit>
void GuestMemory::for_each_piece(std::uint64_t gpa, std::uint64_t size, Visit visit) const {
    if (!is_ram(gpa, size))
        throw std::out_of_range(fmt::format("not guest RAM: {:#x} +{:#x}", gpa, size));
    for (const auto &region : regions_) {
        if (size == 0) return;
        if (gpa < region.gpa || gpa >= region.end()) continue;
        const auto piece =
            region.bytes.subspan(gpa - region.gpa, std::min(size, region.end() - gpa));
        visit(piece);
        gpa += piece.size();
        size -= piece.size();
    }
}

void GuestMemory::write(std::uint64_t gpa, ByteView from) {
    for_each_piece(gpa, from.size(), [&](std::span<std::byte> piece) {
        std::copy_n(from.begin(), piece.size(), piece.begin());
        from = from.subspan(piece.size());
    });
}

void GuestMemory::read(std::uint64_t gpa, std::span<std::byte> to) const {
    for_each_piece(gpa, to.size(), [&](std::span<std::byte> piece) {
        std::copy(piece.begin(), piece.end(), to.begin());
        to = to.subspan(piece.size());
    });
}

void GuestMemory::zero(std::uint64_t gpa, std::uint64_t size) {
    for_each_piece(gpa, size, [](std::span<std::byte> piece) {
        std::fill(piece.begin(), piece.end(), std::byte{});
    });
}

std::optional<std::span<std::byte>> GuestMemory::span(std::uint64_t gpa, std::uint64_t size) const {
    for (const auto &region : regions_)
        if (gpa >= region.gpa && within(gpa - region.gpa, size, region.bytes.size()))
            return region.bytes.subspan(gpa - region.gpa, size);
    return std::nullopt;
}

std::uint64_t GuestMemory::size() const {
    std::uint64_t total = 0;
    for (const auto &region : regions_)
        total += region.bytes.size();
    return total;
}

std::vector<GpaRange> pc_ram_layout(std::uint64_t ram_bytes) {
    if (ram_bytes <= pci_hole_start) return {{0, ram_bytes}};
    return {{0, pci_hole_start}, {four_gib, ram_bytes - pci_hole_start}};
}

std::vector<RamRegion> without(const std::vector<RamRegion> &regions, const GpaRange &hole) {
    std::vector<RamRegion> out;
    for (const RamRegion &region : regions) {
        const std::uint64_t below = std::clamp(hole.start, region.gpa, region.end());
        const std::uint64_t above = std::clamp(hole.end(), region.gpa, region.end());
        if (below > region.gpa) out.push_back({region.gpa, region.bytes.first(below - region.gpa)});
        if (above < region.end()) out.push_back({above, region.bytes.subspan(above - region.gpa)});
    }
    return out;
}

} // namespace machine
