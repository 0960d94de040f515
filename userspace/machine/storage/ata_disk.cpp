// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/ata_disk.hpp"

#include <cstring>

namespace machine::storage {

namespace {

enum Command : std::uint8_t {
    nop = 0x00,
    recalibrate = 0x10,
    read_sectors = 0x20,
    read_sectors_old = 0x21,
    read_sectors_ext = 0x24,
    read_dma_ext = 0x25,
    read_native_max_ext = 0x27,
    read_multiple_ext = 0x29,
    write_sectors = 0x30,
    write_sectors_old = 0x31,
    write_sectors_ext = 0x34,
    write_dma_ext = 0x35,
    write_multiple_ext = 0x39,
    verify_sectors = 0x40,
    verify_sectors_old = 0x41,
    verify_sectors_ext = 0x42,
    seek = 0x70,
    diagnose = 0x90,
    set_parameters = 0x91,
    read_multiple = 0xc4,
    write_multiple = 0xc5,
    set_multiple_mode = 0xc6,
    read_dma = 0xc8,
    read_dma_old = 0xc9,
    write_dma = 0xca,
    write_dma_old = 0xcb,
    standby_now = 0xe0,
    idle_now = 0xe1,
    standby = 0xe2,
    idle_after = 0xe3,
    check_power = 0xe5,
    sleep = 0xe6,
    flush_cache = 0xe7,
    flush_cache_ext = 0xea,
    identify_device = 0xec,
    set_features_command = 0xef,
    read_native_max = 0xf8,
};

constexpr std::uint8_t device_lba = 0x40;
constexpr std::uint64_t most_narrow = (1u << 28) - 1;
constexpr unsigned largest_multiple = 16;

} // namespace

AtaDisk::AtaDisk(std::unique_ptr<Disk> contents, std::string serial)
    : IdeDrive(std::move(contents)), sectors_(disk().bytes() / sector), serial_(std::move(serial)) {
    reset();
}

// "Device signature".
void AtaDisk::reset() noexcept {
    idle();
    registers() = {.count = {1}, .low = {1}, .status = ata_ready | ata_seek_done, .error = 1};
    multiple_ = largest_multiple;
}

void AtaDisk::done() noexcept {
    idle();
    registers().status = ata_ready | ata_seek_done;
    registers().error = 0;
    want_interrupt();
}

void AtaDisk::fail(std::uint8_t error) noexcept {
    idle();
    registers().status = ata_ready | ata_seek_done | ata_failed;
    registers().error = error;
    want_interrupt();
}

void AtaDisk::execute(std::uint8_t command) noexcept {
    idle();
    switch (command) {
    case read_sectors:
    case read_sectors_old: return transfer({});
    case read_sectors_ext: return transfer({.wide = true});
    case read_multiple: return transfer({.way = Way::multiple});
    case read_multiple_ext: return transfer({.way = Way::multiple, .wide = true});
    case read_dma:
    case read_dma_old: return transfer({.way = Way::dma});
    case read_dma_ext: return transfer({.way = Way::dma, .wide = true});
    case write_sectors:
    case write_sectors_old: return transfer({.write = true});
    case write_sectors_ext: return transfer({.write = true, .wide = true});
    case write_multiple: return transfer({.write = true, .way = Way::multiple});
    case write_multiple_ext: return transfer({.write = true, .way = Way::multiple, .wide = true});
    case write_dma:
    case write_dma_old: return transfer({.write = true, .way = Way::dma});
    case write_dma_ext: return transfer({.write = true, .way = Way::dma, .wide = true});
    case verify_sectors:
    case verify_sectors_old: return verify(false);
    case verify_sectors_ext: return verify(true);
    case identify_device: return identify();
    case set_multiple_mode: return set_multiple();
    case set_features_command: return set_features();
    case read_native_max: return native_size(false);
    case read_native_max_ext: return native_size(true);
    default: break;
    }
    if (!simple(command)) fail(ata_abort);
}

// Commands without data or address.
bool AtaDisk::simple(std::uint8_t command) noexcept {
    switch (command) {
    case diagnose:
        reset();
        want_interrupt();
        return true;
    case flush_cache:
    case flush_cache_ext: disk().flush() == 0 ? done() : fail(ata_abort); return true;
    case check_power:
        registers().count[0] = 0xff; // active
        done();
        return true;
    case set_parameters:
    case standby_now:
    case idle_now:
    case standby:
    case idle_after:
    case sleep: done(); return true;
    case nop: return false; // "NOP": always aborted
    default: break;
    }
    const auto high = command & 0xf0;
    if (high != recalibrate && high != seek) return false;
    done();
    return true;
}

std::uint64_t AtaDisk::sector_count(bool wide) const noexcept {
    const AtaRegisters &r = registers();
    if (!wide) return r.count[0] == 0 ? 256 : r.count[0];
    const unsigned count = r.count[1] * 256u + r.count[0];
    return count == 0 ? 65536 : count;
}

std::uint64_t AtaDisk::address(bool wide) const noexcept {
    const AtaRegisters &r = registers();
    const std::uint64_t lower = r.low[0] | r.mid[0] << 8 | std::uint64_t{r.high[0]} << 16;
    if (wide) return lower | (r.low[1] | r.mid[1] << 8 | std::uint64_t{r.high[1]} << 16) << 24;
    if ((r.device & device_lba) != 0) return lower | std::uint64_t{r.device & 15u} << 24;
    // Cylinder, head, sector; there is no sector 0.
    const std::uint64_t cylinder = r.mid[0] | r.high[0] << 8;
    if (r.low[0] == 0) return sectors_;
    return (cylinder * heads + (r.device & 15u)) * sectors_per_track + r.low[0] - 1;
}

bool AtaDisk::in_range(bool wide) const noexcept {
    const std::uint64_t first = address(wide);
    return first < sectors_ && sector_count(wide) <= sectors_ - first;
}

void AtaDisk::transfer(const Transfer &what) noexcept {
    if (what.way == Way::multiple && multiple_ == 0) return fail(ata_abort);
    if (what.write && disk().read_only()) return fail(ata_abort);
    if (!in_range(what.wide)) return fail(ata_no_such_sector);
    use_contents(address(what.wide) * sector, sector_count(what.wide) * sector);
    writing_ = what.write;
    block_ = (what.way == Way::multiple ? multiple_ : 1) * sector;
    registers().error = 0;
    if (what.way == Way::dma) {
        registers().status = ata_ready | ata_seek_done | ata_request;
        begin(what.write ? Phase::dma_out : Phase::dma_in);
    } else if (what.write) {
        request(std::min(block_, left()));
        registers().status = ata_ready | ata_seek_done | ata_request;
    } else {
        offer_block();
    }
}

void AtaDisk::offer_block() noexcept {
    if (!offer(block_)) return fail(ata_bad_data);
    registers().status = ata_ready | ata_seek_done | ata_request;
    want_interrupt();
}

void AtaDisk::block_done() noexcept {
    if (writing_) {
        if (!store_block()) return fail(ata_abort);
        if (left() == 0) return done();
        request(std::min(block_, left()));
        want_interrupt();
    } else if (left() > 0) {
        offer_block();
    } else {
        idle(); // the last block's interrupt was when it was offered
        registers().status = ata_ready | ata_seek_done;
    }
}

void AtaDisk::finish(bool good) noexcept { good ? done() : fail(ata_abort); }

void AtaDisk::verify(bool wide) noexcept { in_range(wide) ? done() : fail(ata_no_such_sector); }

void AtaDisk::set_multiple() noexcept {
    const unsigned count = registers().count[0];
    if (count > largest_multiple || (count & (count - 1)) != 0) return fail(ata_abort);
    multiple_ = count;
    done();
}

// "SET FEATURES": subcommand in the features register.
void AtaDisk::set_features() noexcept {
    switch (registers().features[0]) {
    case 0x03: // transfer mode: PIO, multiword DMA, Ultra DMA
        if (registers().count[0] >= 0x20) transfer_mode_ = registers().count[0];
        return done();
    case 0x02: // write cache on and off
    case 0x82:
    case 0x55: // look-ahead off and on
    case 0xaa:
    case 0x66: // defaults after a reset kept or not
    case 0xcc: return done();
    default: return fail(ata_abort);
    }
}

void AtaDisk::native_size(bool wide) noexcept {
    AtaRegisters &r = registers();
    const std::uint64_t last = wide ? sectors_ - 1 : std::min(sectors_ - 1, most_narrow);
    const auto byte = [last](unsigned index) {
        return static_cast<std::uint8_t>(last >> (8 * index));
    };
    r.low = {byte(0), byte(3)};
    r.mid = {byte(1), byte(4)};
    r.high = {byte(2), byte(5)};
    if (!wide) r.device = static_cast<std::uint8_t>((r.device & 0xf0) | byte(3));
    done();
}

// "IDENTIFY DEVICE": 256 words.
void AtaDisk::identify() noexcept {
    std::array<std::uint16_t, 256> word{};
    const auto halves = [&word](unsigned at, std::uint64_t value, unsigned words) {
        for (; words > 0; --words, ++at, value >>= 16)
            word[at] = static_cast<std::uint16_t>(value);
    };
    const std::uint64_t cylinders =
        std::min<std::uint64_t>(sectors_ / (heads * sectors_per_track), 16383);
    word[0] = 0x0040; // fixed
    word[1] = word[54] = static_cast<std::uint16_t>(cylinders);
    word[3] = word[55] = heads;
    word[6] = word[56] = sectors_per_track;
    put_ata_text(std::span{word}.subspan(10, 10), serial_);
    put_ata_text(std::span{word}.subspan(23, 4), "1");
    put_ata_text(std::span{word}.subspan(27, 20), "HWV DISK");
    word[47] = 0x8000 | largest_multiple;
    word[48] = 1;      // 32-bit data port
    word[49] = 0x0f00; // LBA, DMA, IORDY
    word[50] = 0x4000;
    word[53] = 7; // words 54 to 58, 64 to 70 and 88 are valid
    halves(57, cylinders * heads * sectors_per_track, 2);
    word[59] = static_cast<std::uint16_t>(multiple_ == 0 ? 0 : 0x100 | multiple_);
    halves(60, std::min(sectors_, most_narrow), 2);
    word[63] = 0x0007; // multiword DMA 0 to 2
    word[64] = 0x0003; // PIO 3 and 4
    word[65] = word[66] = word[67] = word[68] = 120;
    word[80] = 0x0070;            // ATA-4 to 6
    word[82] = word[85] = 0x4020; // NOP, write cache
    word[83] = word[86] = 0x7400; // FLUSH CACHE and its EXT, 48-bit
    word[84] = word[87] = 0x4000;
    word[88] = 0x003f; // Ultra DMA 0 to 5
    const unsigned number = transfer_mode_ & 7u;
    if ((transfer_mode_ & 0xf8) == 0x40) word[88] |= static_cast<std::uint16_t>(0x100u << number);
    if ((transfer_mode_ & 0xf8) == 0x20) word[63] |= static_cast<std::uint16_t>(0x100u << number);
    word[93] = 0x6001; // an 80-wire cable
    halves(100, sectors_, 4);
    std::memcpy(use_reply(sizeof word).data(), word.data(), sizeof word);
    writing_ = false;
    block_ = sizeof word;
    registers().error = 0;
    offer_block();
}

} // namespace machine::storage
