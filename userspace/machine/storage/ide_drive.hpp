// SPDX-License-Identifier: GPL-2.0-only
// What a disk and a CD-ROM drive on an IDE cable have in common: the registers through which they
// are commanded, and the data phase of a command. Source: ATA/ATAPI-6, "Register descriptions",
// "Protocols".
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "machine/storage/disk.hpp"

namespace machine::storage {

enum AtaStatus : std::uint8_t {
    ata_busy = 0x80,
    ata_ready = 0x40,
    ata_fault = 0x20,
    ata_seek_done = 0x10,
    ata_request = 0x08, // data are wanted or offered
    ata_failed = 0x01,
};

enum AtaError : std::uint8_t { ata_abort = 0x04, ata_no_such_sector = 0x10, ata_bad_data = 0x40 };

using ByteSpan = std::span<const std::byte>;
// Index 0 is what was written last, 1 what was there before: the upper half for 48-bit commands.
using AtaPair = std::array<std::uint8_t, 2>;

struct AtaRegisters {
    AtaPair features{}, count{}, low{}, mid{}, high{};
    std::uint8_t device = 0;
    std::uint8_t status = 0;
    std::uint8_t error = 0;
};

class IdeDrive {
  public:
    virtual ~IdeDrive() = default;
    IdeDrive(const IdeDrive &) = delete;
    IdeDrive &operator=(const IdeDrive &) = delete;

    // Both end with the registers saying what came of it.
    virtual void reset() noexcept = 0;
    virtual void execute(std::uint8_t command) noexcept = 0;

    AtaRegisters &registers() { return registers_; }
    const AtaRegisters &registers() const { return registers_; }
    // Does the drive want an interrupt; asking takes the wish back.
    bool take_interrupt() noexcept { return std::exchange(interrupt_, false); }

    // The data port, `size` 1, 2 or 4.
    std::uint32_t read_data(unsigned size) noexcept;
    void write_data(unsigned size, std::uint32_t value) noexcept;

    // A command waits for the bus master, which moves dma_left() bytes in pieces and then says how
    // it went.
    bool wants_dma() const { return phase_ == Phase::dma_in || phase_ == Phase::dma_out; }
    bool dma_to_memory() const { return phase_ == Phase::dma_in; }
    std::uint64_t dma_left() const { return left_; }
    bool dma_piece(std::span<std::byte> memory) noexcept;
    void end_dma(bool good) noexcept;

  protected:
    enum class Phase { idle, pio_in, pio_out, dma_in, dma_out };

    explicit IdeDrive(std::unique_ptr<Disk> disk);
    // A block of PIO data is complete, in or out.
    virtual void block_done() noexcept = 0;
    // All of the data phase is over.
    virtual void finish(bool good) noexcept = 0;

    void idle() noexcept { phase_ = Phase::idle; }
    void want_interrupt() noexcept { interrupt_ = true; }
    // The data of the command: `bytes` of the contents from `offset` on.
    void use_contents(std::uint64_t offset, std::uint64_t bytes) noexcept;
    // Or an answer, which is zeroed and then filled by the caller.
    std::span<std::byte> use_reply(std::size_t bytes) noexcept;
    void begin(Phase phase) noexcept { phase_ = phase; }
    // Puts the next `bytes`, at most block_limit, to the data port, or makes room for them.
    bool offer(std::uint64_t bytes) noexcept;
    bool request(std::uint64_t bytes) noexcept;
    // What the guest has written since request(), into the contents.
    bool store_block() noexcept;
    ByteSpan block() const { return ByteSpan{buffer_}.first(block_bytes_); }
    std::uint64_t left() const { return left_; }
    void shorten(std::uint64_t bytes) noexcept { left_ = std::min(left_, bytes); }
    Disk &disk() { return *disk_; }

    static constexpr std::size_t block_limit = 0x10000;

  private:
    bool pull(std::span<std::byte> to) noexcept;
    bool push(ByteSpan from) noexcept;

    std::unique_ptr<Disk> disk_;
    AtaRegisters registers_;
    bool interrupt_ = false;
    Phase phase_ = Phase::idle;
    bool from_reply_ = false;
    std::array<std::byte, 1024> reply_{};
    std::uint64_t position_ = 0; // in the contents or the reply
    std::uint64_t left_ = 0;     // bytes of the command not yet moved
    std::vector<std::byte> buffer_;
    std::size_t block_bytes_ = 0;
    std::size_t taken_ = 0; // of the block, by the data port
};

// Text in IDENTIFY data: padded with blanks, the bytes of each word swapped.
void put_ata_text(std::span<std::uint16_t> words, std::string_view text) noexcept;

} // namespace machine::storage
