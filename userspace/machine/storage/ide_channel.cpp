// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/ide_channel.hpp"

namespace machine::storage {

namespace {

enum Register : unsigned { data, features, count, low, mid, high, device, command };

constexpr std::uint8_t control_no_interrupt = 0x02, control_reset = 0x04, control_upper = 0x80;
constexpr std::uint8_t device_slave = 0x10;
// "Bus Master IDE Command Register", "Bus Master IDE Status Register".
constexpr std::uint8_t master_start = 0x01, master_to_memory = 0x08;
constexpr std::uint8_t master_active = 0x01, master_error = 0x02, master_interrupt = 0x04;
constexpr std::uint8_t master_capable = 0x60; // what software notes of the drives
constexpr std::uint64_t table_bytes = 0x10000;

} // namespace

bool IdeChannel::attach(PortBus &bus, std::uint16_t command_ports, std::uint16_t control_port) {
    return bus.claim({.first = command_ports, .count = 8, .width = 4}, *this) &&
           bus.claim({.first = control_port, .count = 1}, *this, control_offset);
}

void IdeChannel::plug(unsigned position, std::unique_ptr<IdeDrive> drive) {
    drives_.at(position) = std::move(drive);
}

std::uint64_t IdeChannel::read(std::uint64_t offset, unsigned size) noexcept {
    if (offset == data) {
        IdeDrive *drive = selected();
        const std::uint64_t value = drive != nullptr ? drive->read_data(size) : 0;
        settle();
        return value;
    }
    // Wider accesses are several, as on ISA.
    std::uint64_t value = 0;
    for (unsigned index = 0; index < size; ++index)
        value |= std::uint64_t{read_register(static_cast<unsigned>(offset) + index)} << (8 * index);
    return value;
}

void IdeChannel::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (offset == data) {
        if (IdeDrive *drive = selected())
            drive->write_data(size, static_cast<std::uint32_t>(value));
        return settle();
    }
    for (unsigned index = 0; index < size; ++index)
        write_register(static_cast<unsigned>(offset) + index,
                       static_cast<std::uint8_t>(value >> (8 * index)));
}

// A drive that is not there reads as zero: nothing that a driver would wait for.
std::uint8_t IdeChannel::read_register(unsigned number) noexcept {
    IdeDrive *drive = selected();
    if (drive == nullptr) return 0;
    const AtaRegisters &r = drive->registers();
    const unsigned which = (control_ & control_upper) != 0 ? 1 : 0;
    switch (number) {
    case features: return r.error;
    case count: return r.count[which];
    case low: return r.low[which];
    case mid: return r.mid[which];
    case high: return r.high[which];
    case device: return static_cast<std::uint8_t>(r.device | 0xa0 | (slave_ ? device_slave : 0));
    case command: set_interrupt(false); return r.status;
    case control_offset: return r.status;
    default: return 0;
    }
}

// Both drives hear of it; a command is for the selected one.
void IdeChannel::write_pair(unsigned number, std::uint8_t value) noexcept {
    for (const auto &drive : drives_) {
        if (drive == nullptr) continue;
        AtaRegisters &r = drive->registers();
        AtaPair &pair = number == features ? r.features
                        : number == count  ? r.count
                        : number == low    ? r.low
                        : number == mid    ? r.mid
                                           : r.high;
        pair = {value, pair[0]};
    }
}

void IdeChannel::write_register(unsigned number, std::uint8_t value) noexcept {
    if (number == control_offset) return write_control(value);
    control_ &= static_cast<std::uint8_t>(~control_upper);
    if (number >= features && number <= high) return write_pair(number, value);
    if (number == device) {
        slave_ = (value & device_slave) != 0;
        for (const auto &drive : drives_)
            if (drive != nullptr) drive->registers().device = value & 0x4f;
    } else if (number == command) {
        set_interrupt(false);
        if (IdeDrive *drive = selected()) drive->execute(value);
        settle();
        run_master();
    }
}

// "Device Control register"; a reset is over when the guest takes its bit back.
void IdeChannel::write_control(std::uint8_t value) noexcept {
    const bool was = (control_ & control_reset) != 0, is = (value & control_reset) != 0;
    control_ = value;
    if (is && !was) {
        set_interrupt(false);
        slave_ = false;
        for (const auto &drive : drives_) {
            if (drive == nullptr) continue;
            drive->reset();
            drive->registers().status = ata_busy;
        }
    } else if (was && !is) {
        for (const auto &drive : drives_)
            if (drive != nullptr) drive->reset();
    }
    set_interrupt(interrupt_);
}

void IdeChannel::settle() noexcept {
    IdeDrive *drive = selected();
    if (drive != nullptr && drive->take_interrupt()) set_interrupt(true);
}

void IdeChannel::set_interrupt(bool level) noexcept {
    if (level && !interrupt_) master_status_ |= master_interrupt;
    interrupt_ = level;
    irq_.set(level && (control_ & control_no_interrupt) == 0);
}

std::uint8_t IdeChannel::read_master(unsigned offset) noexcept {
    switch (offset) {
    case 0: return master_command_;
    case 2: return master_status_;
    case 4:
    case 5:
    case 6:
    case 7: return static_cast<std::uint8_t>(table_ >> (8 * (offset - 4)));
    default: return 0;
    }
}

void IdeChannel::write_master(unsigned offset, std::uint8_t value) noexcept {
    if (offset == 0) {
        const bool starts = (value & master_start) != 0 && (master_command_ & master_start) == 0;
        master_command_ = value & (master_start | master_to_memory);
        if (starts) {
            master_status_ |= master_active;
            run_master();
        } else if ((value & master_start) == 0) {
            master_status_ &= static_cast<std::uint8_t>(~master_active);
        }
    } else if (offset == 2) {
        // Error and interrupt are taken back by writing ones.
        const std::uint8_t kept =
            master_status_ & (master_active | master_error | master_interrupt);
        const std::uint8_t cleared = value & (master_error | master_interrupt);
        master_status_ = static_cast<std::uint8_t>((kept & ~cleared) | (value & master_capable));
    } else if (offset >= 4 && offset < 8) {
        const unsigned shift = 8 * (offset - 4);
        table_ = (table_ & ~(0xffu << shift)) | std::uint32_t{value} << shift;
        table_ &= ~3u;
    }
}

// When both are there, the master that was started and a command that waits for it.
void IdeChannel::run_master() noexcept {
    IdeDrive *drive = selected();
    if ((master_status_ & master_active) == 0 || drive == nullptr || !drive->wants_dma()) return;
    const bool good = move(*drive);
    if (!good) master_status_ |= master_error;
    master_status_ &= static_cast<std::uint8_t>(~master_active);
    drive->end_dma(good);
    settle();
}

// "Physical Region Descriptor": address, byte count (0 is 64 KiB), the last one marked. The table
// is in one 64 KiB block, which bounds it.
bool IdeChannel::move(IdeDrive &drive) noexcept {
    for (std::uint64_t at = table_; at < table_ + table_bytes; at += 8) {
        if (drive.dma_left() == 0) return true;
        if (!ram_.is_ram(at, 8)) return false;
        const auto region = ram_.get<std::uint32_t>(at);
        const auto control = ram_.get<std::uint32_t>(at + 4);
        const std::uint64_t room = (control & 0xffff) == 0 ? 0x10000 : control & 0xfffe;
        const auto memory = ram_.span(region & ~1u, std::min(room, drive.dma_left()));
        if (!memory || !drive.dma_piece(*memory)) return false;
        if (control >> 31 != 0) break;
    }
    return drive.dma_left() == 0;
}

} // namespace machine::storage
