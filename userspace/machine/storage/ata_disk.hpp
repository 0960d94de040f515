// SPDX-License-Identifier: GPL-2.0-only
// A hard disk for the IDE cable (ATA/ATAPI-6, "General feature set", "48-bit Address feature set").
#pragma once

#include <string>

#include "machine/storage/ide_drive.hpp"

namespace machine::storage {

class AtaDisk final : public IdeDrive {
  public:
    // Contents beyond the last whole sector are not there for the guest.
    AtaDisk(std::unique_ptr<Disk> disk, std::string serial);
    void reset() noexcept override;
    void execute(std::uint8_t command) noexcept override;

    static constexpr unsigned heads = 16, sectors_per_track = 63;

  private:
    enum class Way { pio, multiple, dma };
    struct Transfer {
        bool write = false;
        Way way = Way::pio;
        bool wide = false; // 48-bit
    };
    void block_done() noexcept override;
    void finish(bool good) noexcept override;

    void done() noexcept;
    void fail(std::uint8_t error) noexcept;
    void identify() noexcept;
    void transfer(const Transfer &what) noexcept;
    void verify(bool wide) noexcept;
    void set_multiple() noexcept;
    void set_features() noexcept;
    void native_size(bool wide) noexcept;
    bool simple(std::uint8_t command) noexcept;
    void offer_block() noexcept;
    std::uint64_t address(bool wide) const noexcept;
    std::uint64_t sector_count(bool wide) const noexcept;
    bool in_range(bool wide) const noexcept;

    std::uint64_t sectors_;
    std::string serial_;
    unsigned multiple_ = 16;  // sectors in a block of READ and WRITE MULTIPLE; 0: not allowed
    std::uint64_t block_ = 0; // bytes in a block of the command under way
    bool writing_ = false;
    std::uint8_t transfer_mode_ = 0x45; // as SET FEATURES has it: Ultra DMA 5
};

} // namespace machine::storage
