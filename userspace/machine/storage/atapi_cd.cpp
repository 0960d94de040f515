// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/atapi_cd.hpp"

#include <cstring>

namespace machine::storage {

namespace {

enum Command : std::uint8_t {
    device_reset = 0x08,
    diagnose = 0x90,
    packet_command = 0xa0,
    identify_packet = 0xa1,
    standby_now = 0xe0,
    idle_now = 0xe1,
    check_power = 0xe5,
    identify_device = 0xec,
    set_features = 0xef,
};

enum Operation : std::uint8_t {
    test_unit_ready = 0x00,
    op_request_sense = 0x03,
    op_inquiry = 0x12,
    mode_sense_6 = 0x1a,
    start_stop = 0x1b,
    prevent_removal = 0x1e,
    op_read_capacity = 0x25,
    read_10 = 0x28,
    seek_10 = 0x2b,
    op_read_toc = 0x43,
    op_get_configuration = 0x46,
    op_get_event = 0x4a,
    op_disc_information = 0x51,
    mode_sense_10 = 0x5a,
    read_12 = 0xa8,
    set_speed = 0xbb,
    mechanism_status = 0xbd,
    read_cd = 0xbe,
};

// "Interrupt Reason register", in the place of the sector count.
constexpr std::uint8_t reason_command = 1, reason_in = 2;

constexpr std::uint8_t medium_error = 3, illegal_request = 5;
constexpr std::uint8_t unrecovered_read = 0x11, invalid_command = 0x20, out_of_range = 0x21,
                       invalid_field = 0x24;

std::uint32_t big32(const std::uint8_t *at) {
    return std::uint32_t{at[0]} << 24 | at[1] << 16 | at[2] << 8 | at[3];
}
unsigned big16(const std::uint8_t *at) { return at[0] * 256u + at[1]; }

void put(std::span<std::byte> to, std::size_t at, std::uint64_t value, unsigned bytes) {
    for (; bytes > 0; --bytes, value >>= 8)
        to[at + bytes - 1] = static_cast<std::byte>(value);
}

void put_text(std::span<std::byte> to, std::size_t at, std::size_t length, std::string_view text) {
    for (std::size_t index = 0; index < length; ++index)
        to[at + index] = static_cast<std::byte>(index < text.size() ? text[index] : ' ');
}

} // namespace

AtapiCd::AtapiCd(std::unique_ptr<Disk> disc)
    : IdeDrive(std::move(disc)),
      blocks_(static_cast<std::uint32_t>(
          std::min<std::uint64_t>(disk().bytes() / block_bytes, 0xffff'fffe))) {
    reset();
}

// "Device signature": 0x14, 0xeb where an address would be.
void AtapiCd::reset() noexcept {
    idle();
    packet_expected_ = false;
    registers() = {.count = {1}, .low = {1}, .mid = {0x14}, .high = {0xeb}, .error = 1};
}

void AtapiCd::abort() noexcept {
    idle();
    registers().status = ata_ready | ata_failed;
    registers().error = ata_abort;
    want_interrupt();
}

void AtapiCd::good() noexcept {
    idle();
    sense_ = {};
    registers().count[0] = reason_command | reason_in;
    registers().status = ata_ready | ata_seek_done;
    registers().error = 0;
    want_interrupt();
}

void AtapiCd::check_condition(Sense sense) noexcept {
    idle();
    sense_ = sense;
    registers().count[0] = reason_command | reason_in;
    registers().status = ata_ready | ata_failed;
    registers().error = static_cast<std::uint8_t>(sense.key << 4 | ata_abort);
    want_interrupt();
}

void AtapiCd::execute(std::uint8_t command) noexcept {
    idle();
    packet_expected_ = false;
    switch (command) {
    case device_reset: return reset();
    case diagnose: reset(); return want_interrupt();
    case identify_packet: return identify();
    case packet_command: return expect_packet();
    case check_power: registers().count[0] = 0xff; [[fallthrough]];
    case set_features:
    case standby_now:
    case idle_now:
        registers().status = ata_ready | ata_seek_done;
        registers().error = 0;
        return want_interrupt();
    case identify_device: // aborted, with the signature: this is how the two kinds are told apart
        reset();
        return abort();
    default: return abort();
    }
}

void AtapiCd::expect_packet() noexcept {
    AtaRegisters &r = registers();
    by_dma_ = (r.features[0] & 1) != 0;
    // "Byte count low/high": at most this many at once, an even number; 0 stands for all.
    byte_limit_ = (r.mid[0] | r.high[0] * 256u) & ~1u;
    if (byte_limit_ == 0) byte_limit_ = 0xfffe;
    packet_expected_ = true;
    request(packet_bytes);
    r.count[0] = reason_command;
    r.status = ata_ready | ata_request;
}

void AtapiCd::block_done() noexcept {
    if (packet_expected_) {
        packet_expected_ = false;
        Packet packet;
        std::memcpy(packet.data(), block().data(), packet.size());
        return run(packet);
    }
    if (left() > 0) return offer_block();
    if (!identifying_) return good();
    idle();
    registers().status = ata_ready | ata_seek_done;
}

void AtapiCd::finish(bool good_end) noexcept {
    good_end ? good() : check_condition({medium_error, unrecovered_read});
}

void AtapiCd::start_data() noexcept {
    identifying_ = false;
    if (left() == 0) return good();
    if (!by_dma_) return offer_block();
    registers().count[0] = reason_in;
    registers().status = ata_ready | ata_request;
    begin(Phase::dma_in);
}

void AtapiCd::offer_block() noexcept {
    const std::uint64_t bytes = std::min(left(), identifying_ ? left() : byte_limit_);
    if (!offer(bytes)) return check_condition({medium_error, unrecovered_read});
    AtaRegisters &r = registers();
    r.status = ata_ready | ata_seek_done | ata_request;
    if (!identifying_) {
        r.count[0] = reason_in;
        r.mid[0] = static_cast<std::uint8_t>(bytes);
        r.high[0] = static_cast<std::uint8_t>(bytes >> 8);
    }
    want_interrupt();
}

void AtapiCd::give(std::size_t most) noexcept {
    shorten(most);
    start_data();
}

void AtapiCd::read_blocks(std::uint32_t first, std::uint32_t count) noexcept {
    if (first > blocks_ || count > blocks_ - first)
        return check_condition({illegal_request, out_of_range});
    use_contents(first * block_bytes, count * block_bytes);
    start_data();
}

void AtapiCd::run(const Packet &packet) noexcept {
    switch (packet[0]) {
    case op_request_sense: return request_sense(packet);
    case op_inquiry: return inquiry(packet);
    case mode_sense_6: return mode_sense(packet, false);
    case mode_sense_10: return mode_sense(packet, true);
    case op_read_capacity: return read_capacity();
    case read_10: return read_blocks(big32(&packet[2]), big16(&packet[7]));
    case read_12: return read_blocks(big32(&packet[2]), big32(&packet[6]));
    case op_read_toc: return read_toc(packet);
    case op_get_configuration: return get_configuration(packet);
    case op_get_event: return get_event(packet);
    case op_disc_information: return disc_information(packet);
    default: break;
    }
    if (!run_simple(packet)) check_condition({illegal_request, invalid_command});
}

bool AtapiCd::run_simple(const Packet &packet) noexcept {
    switch (packet[0]) {
    case test_unit_ready:
    case start_stop: // the disc stays where it is
    case prevent_removal:
    case seek_10:
    case set_speed: good(); return true;
    case mechanism_status:
        use_reply(8);
        give(big16(&packet[8]));
        return true;
    case read_cd: {
        // Of what a sector has only the data are there.
        const std::uint8_t parts = packet[9] & 0xf8;
        if (parts == 0)
            good();
        else if (parts == 0x10)
            read_blocks(big32(&packet[2]), big32(&packet[5]) & 0xff'ffff);
        else
            check_condition({illegal_request, invalid_field});
        return true;
    }
    default: return false;
    }
}

void AtapiCd::inquiry(const Packet &packet) noexcept {
    const auto reply = use_reply(36);
    put(reply, 0, 0x05'80'00'21, 4); // CD-ROM, removable, ATAPI's format of the reply
    put(reply, 4, 31, 1);            // bytes that follow
    put_text(reply, 8, 8, "HWV");
    put_text(reply, 16, 16, "CD-ROM");
    put_text(reply, 32, 4, "1");
    give(big16(&packet[3]));
}

void AtapiCd::request_sense(const Packet &packet) noexcept {
    const Sense sense = sense_;
    const auto reply = use_reply(18);
    put(reply, 0, 0x70, 1);
    put(reply, 2, sense.key, 1);
    put(reply, 7, 10, 1);
    put(reply, 12, sense.code, 1);
    give(packet[4]);
}

void AtapiCd::read_capacity() noexcept {
    const auto reply = use_reply(8);
    put(reply, 0, blocks_ == 0 ? 0 : blocks_ - 1, 4);
    put(reply, 4, block_bytes, 4);
    give(reply.size());
}

// "READ TOC/PMA/ATIP": one track of data, in one session.
void AtapiCd::read_toc(const Packet &packet) noexcept {
    constexpr std::uint8_t data_track = 0x14, lead_out = 0xaa;
    const bool in_minutes = (packet[1] & 2) != 0;
    const unsigned format = (packet[2] & 15) != 0 ? packet[2] & 15u : packet[9] >> 6;
    const auto place = [in_minutes](std::uint32_t block) {
        if (!in_minutes) return block;
        const std::uint32_t frame = block + 150; // the first two seconds of a disc are not counted
        return frame / 75 / 60 << 16 | frame / 75 % 60 << 8 | frame % 75;
    };
    const std::uint8_t first = packet[6];
    if (format > 1 || (format == 0 && first > 1 && first != lead_out))
        return check_condition({illegal_request, invalid_field});
    const bool both = format == 0 && first <= 1;
    const auto reply = use_reply(both ? 20 : 12);
    put(reply, 0, reply.size() - 2, 2);
    put(reply, 2, 0x0101, 2); // first and last
    put(reply, 5, data_track, 1);
    put(reply, 6, format == 1 || both ? 1 : lead_out, 1);
    put(reply, 8, place(format == 1 || both ? 0 : blocks_), 4);
    if (both) {
        put(reply, 13, data_track, 1);
        put(reply, 14, lead_out, 1);
        put(reply, 16, place(blocks_), 4);
    }
    give(big16(&packet[7]));
}

// "MODE SENSE": the pages on recovery from errors and on what the drive can do.
void AtapiCd::mode_sense(const Packet &packet, bool wide) noexcept {
    constexpr unsigned recovery = 0x01, capabilities = 0x2a, all = 0x3f;
    const unsigned page = packet[2] & 0x3fu;
    if (page != recovery && page != capabilities && page != all)
        return check_condition({illegal_request, invalid_field});
    const std::size_t header = wide ? 8 : 4;
    const std::size_t first = page == capabilities ? 0 : 8, second = page == recovery ? 0 : 22;
    const auto reply = use_reply(header + first + second);
    put(reply, 0, reply.size() - (wide ? 2 : 1), wide ? 2 : 1);
    put(reply, wide ? 2 : 1, 0x01, 1); // a data disc is in
    if (first != 0) put(reply, header, recovery << 8 | 6, 2);
    if (second != 0) {
        const std::size_t at = header + first;
        put(reply, at, capabilities << 8 | 20, 2);
        put(reply, at + 6, 0x2900, 2); // loaded by a tray, which ejects and locks
        put(reply, at + 8, 706, 2);    // kB/s: fourfold speed, most and present
        put(reply, at + 14, 706, 2);
    }
    give(wide ? big16(&packet[7]) : packet[4]);
}

// "GET CONFIGURATION": the profile CD-ROM, the core of features, removable medium.
void AtapiCd::get_configuration(const Packet &packet) noexcept {
    constexpr unsigned cd_rom = 0x0008;
    const auto reply = use_reply(8 + 8 + 12 + 8);
    put(reply, 0, reply.size() - 4, 4);
    put(reply, 6, cd_rom, 2);
    put(reply, 8, 0x0000'03'04, 4); // profile list
    put(reply, 12, cd_rom << 16 | 0x0100, 4);
    put(reply, 16, 0x0001'0b'08, 4); // core: ATAPI
    put(reply, 20, 2, 4);
    put(reply, 28, 0x0003'03'04, 4); // removable medium, in a tray that locks
    put(reply, 32, 0x29, 1);
    give(big16(&packet[7]));
}

// "GET EVENT STATUS NOTIFICATION": nothing has happened, a disc is in.
void AtapiCd::get_event(const Packet &packet) noexcept {
    constexpr unsigned media = 4;
    if ((packet[1] & 1) == 0) return check_condition({illegal_request, invalid_field});
    const bool asked = (packet[4] & 1u << media) != 0;
    const auto reply = use_reply(asked ? 8 : 4);
    put(reply, 0, reply.size() - 2, 2);
    put(reply, 2, asked ? media : 0x80, 1);
    put(reply, 3, 1u << media, 1);
    if (asked) put(reply, 5, 0x02, 1);
    give(big16(&packet[7]));
}

void AtapiCd::disc_information(const Packet &packet) noexcept {
    const auto reply = use_reply(34);
    put(reply, 0, 32, 2);
    put(reply, 2, 0x0e, 1); // the only session is complete
    put(reply, 3, 0x01010101, 4);
    put(reply, 7, 0x20, 1); // unrestricted use
    give(big16(&packet[7]));
}

// "IDENTIFY PACKET DEVICE".
void AtapiCd::identify() noexcept {
    std::array<std::uint16_t, 256> word{};
    word[0] = 0x85c0; // CD-ROM, removable, packets of 12 bytes
    put_ata_text(std::span{word}.subspan(10, 10), "HWV00002");
    put_ata_text(std::span{word}.subspan(23, 4), "1");
    put_ata_text(std::span{word}.subspan(27, 20), "HWV CD-ROM");
    word[49] = 0x0f00; // LBA, DMA, IORDY
    word[53] = 6;
    word[63] = 0x0007; // multiword DMA 0 to 2
    word[64] = 0x0003; // PIO 3 and 4
    word[65] = word[66] = word[67] = word[68] = 120;
    word[80] = 0x0070;            // ATA-4 to 6
    word[82] = word[85] = 0x4010; // NOP, PACKET
    word[83] = word[84] = word[86] = word[87] = 0x4000;
    word[88] = 0x0007; // Ultra DMA 0 to 2
    std::memcpy(use_reply(sizeof word).data(), word.data(), sizeof word);
    identifying_ = true;
    registers().error = 0;
    offer_block();
}

} // namespace machine::storage
