// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "machine/display/vga.hpp"
#include "machine/pci/function.hpp"

namespace machine {

// The VGA as firmware and drivers find it on PCI: the frame buffer behind BAR 0, registers behind
// BAR 2, its BIOS as option ROM.
class VgaFunction final : public pci::Function {
  public:
    // An empty ROM: none. Throws std::system_error.
    VgaFunction(Vga &vga, std::span<const std::byte> rom);
    // Where the guest finds the frame buffer, as the BAR says.
    std::uint64_t frame_buffer_address();

  protected:
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) noexcept override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                   std::uint64_t value) noexcept override;

  private:
    Vga &vga_;
    std::optional<HostPages> rom_;
};

} // namespace machine
