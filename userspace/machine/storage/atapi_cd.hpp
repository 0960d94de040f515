// SPDX-License-Identifier: GPL-2.0-only
// A CD-ROM drive for the IDE cable: commands are SCSI's, in packets (ATA/ATAPI-6, "PACKET Command
// feature set"; SCSI Multimedia Commands).
#pragma once

#include "machine/storage/ide_drive.hpp"

namespace machine::storage {

class AtapiCd final : public IdeDrive {
  public:
    explicit AtapiCd(std::unique_ptr<Disk> disc);
    void reset() noexcept override;
    void execute(std::uint8_t command) noexcept override;

    static constexpr std::uint64_t block_bytes = 2048;
    static constexpr std::size_t packet_bytes = 12;

  private:
    struct Sense {
        std::uint8_t key = 0;
        std::uint8_t code = 0;
    };
    using Packet = std::array<std::uint8_t, packet_bytes>;

    void block_done() noexcept override;
    void finish(bool good) noexcept override;

    void abort() noexcept;
    void identify() noexcept;
    void expect_packet() noexcept;
    void run(const Packet &packet) noexcept;
    bool run_simple(const Packet &packet) noexcept;
    void read_blocks(std::uint32_t first, std::uint32_t count) noexcept;
    // Gives the guest the reply, but no more of it than it asked for.
    void give(std::size_t most) noexcept;
    void good() noexcept;
    void check_condition(Sense sense) noexcept;
    void start_data() noexcept;
    void offer_block() noexcept;

    void inquiry(const Packet &packet) noexcept;
    void request_sense(const Packet &packet) noexcept;
    void read_capacity() noexcept;
    void read_toc(const Packet &packet) noexcept;
    void mode_sense(const Packet &packet, bool wide) noexcept;
    void get_configuration(const Packet &packet) noexcept;
    void get_event(const Packet &packet) noexcept;
    void disc_information(const Packet &packet) noexcept;

    std::uint32_t blocks_;
    Sense sense_;
    bool packet_expected_ = false;
    bool identifying_ = false;
    bool by_dma_ = false;
    std::uint64_t byte_limit_ = 0; // of a block of PIO data
};

} // namespace machine::storage
