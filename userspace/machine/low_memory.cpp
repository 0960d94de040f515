// SPDX-License-Identifier: GPL-2.0-only
#include "machine/low_memory.hpp"

#include <utility>

namespace machine {

namespace {

constexpr std::uint64_t kib = 1024, mib = 1024 * kib;
constexpr std::uint64_t conventional = 640 * kib; // what is seen at 1 MiB too
constexpr std::uint64_t shadow = 768 * kib;       // where PAM begins
constexpr std::uint64_t small = 16 * kib;
constexpr std::uint64_t bios = 960 * kib;
constexpr unsigned bios_segment = 12;

constexpr std::uint64_t start_of(unsigned segment) { return shadow + segment * small; }
constexpr std::uint64_t size_of(unsigned segment) {
    return segment == bios_segment ? mib - bios : small;
}
static_assert(start_of(bios_segment) == bios);

// PAM0 has the BIOS's segment in its upper half, each of the others two segments, the lower one in
// its lower half. Of a half, bit 1 lets writes through to RAM. Where reads are not (bit 0), there
// would be the ROM, of which RAM has the copy.
bool writable(const LowMemory::Pam &pam, unsigned segment) {
    if (segment == bios_segment) return (pam[0] & 0x20) != 0;
    return (pam[1 + segment / 2] & (segment % 2 ? 0x20 : 0x02)) != 0;
}

} // namespace

LowMemory::LowMemory(GuestMemory ram, RamSlots *slots, bool gate)
    : ram_(std::move(ram)),
      slots_(slots),
      gate_(gate && slots != nullptr && ram_.is_ram(0, conventional) &&
            ram_.is_ram(mib, conventional)) {}

std::vector<RamRegion> LowMemory::pieces(const std::vector<RamRegion> &ram) {
    std::vector<std::uint64_t> cuts{conventional, mib, mib + conventional};
    for (unsigned segment = 0; segment < segments; ++segment)
        cuts.push_back(start_of(segment));
    std::vector<RamRegion> pieces = ram;
    for (const std::uint64_t cut : cuts) {
        std::vector<RamRegion> finer;
        for (const RamRegion &piece : pieces) {
            const bool inside = cut > piece.gpa && cut < piece.end();
            const std::uint64_t below = inside ? cut - piece.gpa : piece.bytes.size();
            finer.push_back({piece.gpa, piece.bytes.first(below)});
            if (inside) finer.push_back({cut, piece.bytes.subspan(below)});
        }
        pieces = std::move(finer);
    }
    return pieces;
}

void LowMemory::set_a20(bool open) noexcept {
    if (!gate_ || open == a20_open_) return;
    const auto bytes = ram_.span(open ? mib : 0, conventional);
    if (bytes && slots_->replace(mib, *bytes, false)) a20_open_ = open;
}

void LowMemory::protect(const Pam &pam) noexcept {
    if (slots_ == nullptr) return;
    for (unsigned segment = 0; segment < segments; ++segment) {
        const bool read_only = !writable(pam, segment);
        if (read_only == read_only_[segment]) continue;
        const auto bytes = ram_.span(start_of(segment), size_of(segment));
        if (bytes && slots_->replace(start_of(segment), *bytes, read_only))
            read_only_[segment] = read_only;
    }
}

std::optional<std::uint64_t> LowMemory::find(std::uint64_t gpa, bool write) const noexcept {
    if (!a20_open_ && gpa >= mib && gpa < mib + conventional) return gpa - mib;
    if (!write || gpa < shadow || gpa >= mib) return gpa;
    const unsigned segment =
        gpa >= bios ? bios_segment : static_cast<unsigned>((gpa - shadow) / small);
    if (read_only_[segment]) return std::nullopt;
    return gpa;
}

} // namespace machine
