// SPDX-License-Identifier: GPL-2.0-only
// Two IDE cables where a PC has them, and the PCI function that is their bus master: Intel's PIIX4,
// which old and new systems know ("82371AB (PIIX4)", "IDE Controller PCI Configuration Registers").
#pragma once

#include <array>

#include "machine/pci/function.hpp"
#include "machine/storage/ide_channel.hpp"

namespace machine::storage {

class IdeController final : public pci::Function {
  public:
    static constexpr std::array<std::uint16_t, 2> command_ports{0x1f0, 0x170};
    static constexpr std::array<std::uint16_t, 2> control_ports{0x3f6, 0x376};
    static constexpr std::array<unsigned, 2> irqs{14, 15};

    static constexpr unsigned most_drives = 4;

    // `lines` are the ISA interrupts 14 and 15.
    IdeController(const std::array<IrqLine, 2> &lines, GuestMemory &ram);
    [[nodiscard]] bool attach(PortBus &bus);
    // 0 to 3: master and slave of the first cable, then of the second.
    void plug(unsigned position, std::unique_ptr<IdeDrive> drive);

  protected:
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) noexcept override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                   std::uint64_t value) noexcept override;

  private:
    std::array<IdeChannel, 2> channels_;
};

} // namespace machine::storage
