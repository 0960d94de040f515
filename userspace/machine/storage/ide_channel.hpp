// SPDX-License-Identifier: GPL-2.0-only
// One IDE cable: the ports of its two drives, its interrupt, and the bus master that moves their
// data. Source: ATA/ATAPI-6, "Register delivered operations"; "Programming Interface for Bus Master
// IDE Controller".
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "machine/bus.hpp"
#include "machine/guest_memory.hpp"
#include "machine/interrupts.hpp"
#include "machine/storage/ide_drive.hpp"

namespace machine::storage {

// Device offsets: 0 to 7 the command block, 8 the alternate status and device control.
class IdeChannel final : public Device {
  public:
    IdeChannel(IrqLine irq, GuestMemory &ram) : irq_(irq), ram_(ram) {}
    [[nodiscard]] bool attach(PortBus &bus, std::uint16_t command, std::uint16_t control);
    // `position` 0 or 1. Before the guest runs.
    void plug(unsigned position, std::unique_ptr<IdeDrive> drive);

    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    // The bus master's eight bytes: command, status, descriptor table.
    std::uint8_t read_master(unsigned offset) noexcept;
    void write_master(unsigned offset, std::uint8_t value) noexcept;

    static constexpr std::uint64_t control_offset = 8;

  private:
    IdeDrive *selected() noexcept { return drives_[slave_ ? 1 : 0].get(); }
    std::uint8_t read_register(unsigned number) noexcept;
    void write_register(unsigned number, std::uint8_t value) noexcept;
    void write_pair(unsigned number, std::uint8_t value) noexcept;
    void write_control(std::uint8_t value) noexcept;
    void settle() noexcept;
    void set_interrupt(bool level) noexcept;
    void run_master() noexcept;
    bool move(IdeDrive &drive) noexcept;

    IrqLine irq_;
    GuestMemory &ram_;
    std::array<std::unique_ptr<IdeDrive>, 2> drives_;
    bool slave_ = false;
    std::uint8_t control_ = 0;
    bool interrupt_ = false; // what the drive says; the line has it unless the guest forbade it
    std::uint8_t master_command_ = 0;
    std::uint8_t master_status_ = 0;
    std::uint32_t table_ = 0;
};

} // namespace machine::storage
