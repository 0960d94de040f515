// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/block_request.hpp"

#include <algorithm>
#include <array>

#include "machine/bytes.hpp"
#include "machine/virtio/block.hpp"

namespace machine::virtio {

namespace {

constexpr std::uint32_t type_in = 0, type_out = 1, type_flush = 4, type_id = 8, type_discard = 11,
                        type_zeroes = 13;
constexpr std::size_t id_bytes = 20;
constexpr std::uint32_t flag_unmap = 1;

struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};
static_assert(sizeof(Header) == 16);

struct Range {
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};
static_assert(sizeof(Range) == 16);

} // namespace

BlockRequest::Next BlockRequest::complete(std::uint8_t status) noexcept {
    // A request that has no room for its status cannot be told.
    if (status_ != nullptr) {
        *status_ = std::byte{status};
        written_ += 1;
    }
    return Next::done;
}

BlockRequest::Next BlockRequest::begin(storage::Disk &disk, const std::string &serial) noexcept {
    Header header{};
    written_ = 0;
    reads_ = false;
    status_ = chain.take_last();
    if (!chain.take(std::as_writable_bytes(std::span{&header, 1})) || status_ == nullptr)
        return complete(io_error);
    switch (header.type) {
    case type_in: return begin_transfer(disk, false, header.sector);
    case type_out: return begin_transfer(disk, true, header.sector);
    case type_flush: return complete(disk.flush() == 0 ? ok : io_error);
    case type_discard: return change_ranges(disk, false);
    case type_zeroes: return change_ranges(disk, true);
    case type_id: {
        std::array<char, id_bytes> id{};
        std::copy_n(serial.begin(), std::min(serial.size(), id.size()), id.begin());
        written_ =
            static_cast<std::uint32_t>(scatter(chain.writable(), std::as_bytes(std::span{id})));
        return complete(ok);
    }
    default: return complete(unsupported);
    }
}

BlockRequest::Next BlockRequest::begin_transfer(storage::Disk &disk, bool write,
                                                std::uint64_t sector) noexcept {
    segments_ = write ? chain.readable() : chain.writable();
    bytes_ = Chain::bytes(segments_);
    const std::uint64_t sectors = disk.bytes() / storage::sector;
    if (bytes_ == 0 || bytes_ % storage::sector != 0 || bytes_ > 0x7fff'f000 ||
        !within(sector, bytes_ / storage::sector, sectors) || (write && disk.read_only()))
        return complete(io_error);
    offset_ = sector * storage::sector;
    reads_ = !write;
    return write ? Next::write : Next::read;
}

void BlockRequest::transfer(storage::Disk &disk, Next next) noexcept {
    if (next == Next::read) finish(disk.read(segments_, offset_));
    if (next == Next::write) finish(disk.write(segments_, offset_));
}

void BlockRequest::finish(int error) noexcept {
    if (reads_ && error == 0) written_ = static_cast<std::uint32_t>(bytes_);
    complete(error == 0 ? ok : io_error);
}

// "The driver MUST set": one range for each request, by the limits that it was told.
BlockRequest::Next BlockRequest::change_ranges(storage::Disk &disk, bool zeroes) noexcept {
    Range range{};
    if (!chain.take(std::as_writable_bytes(std::span{&range, 1})) ||
        Chain::bytes(chain.readable()) != 0 || disk.read_only() ||
        !within(range.sector, range.sectors, disk.bytes() / storage::sector) ||
        range.sectors > Block::max_range_sectors)
        return complete(io_error);
    if ((range.flags & ~(zeroes ? flag_unmap : 0)) != 0) return complete(unsupported);
    if (range.sectors == 0) return complete(ok);
    const std::uint64_t offset = range.sector * storage::sector;
    const std::uint64_t length = range.sectors * storage::sector;
    const int error = zeroes ? disk.write_zeroes(offset, length, (range.flags & flag_unmap) != 0)
                             : disk.discard(offset, length);
    return complete(error == 0 ? ok : io_error);
}

} // namespace machine::virtio
