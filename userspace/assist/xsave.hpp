// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>

#include "assist/cpu.hpp"

namespace assist {

// Where the standard (not compacted) XSAVE format keeps what is beyond the legacy area; 0: the CPU
// does not have it (SDM, "XSAVE-Managed Features"; CPUID leaf 0xd tells the places).
struct XsaveLayout {
    std::uint32_t ymm_high = 0;  // bytes 16 to 31 of registers 0 to 15
    std::uint32_t zmm_high = 0;  // bytes 32 to 63 of registers 0 to 15
    std::uint32_t zmm_16_up = 0; // registers 16 to 31 whole
};

// This machine's.
XsaveLayout host_xsave_layout();

// Vector registers in an XSAVE image, which stays the owner's. Components that the image marks as
// initial read as zero.
class XsaveImage final : public VectorRegisters {
  public:
    XsaveImage(std::span<std::byte> image, const XsaveLayout &layout)
        : image_(image), layout_(layout) {}
    void read(unsigned index, std::span<std::byte, 64> to) override;
    void write(unsigned index, std::span<const std::byte, 64> from) override;

  private:
    // Calls visit(component bit, offset in the image, offset in the register, bytes) for each part
    // of a register.
    template <typename Visit>
    void for_parts(unsigned index, Visit visit) const;
    bool present(unsigned component) const;
    void make_present(unsigned component);

    std::span<std::byte> image_;
    XsaveLayout layout_;
};

} // namespace assist
