// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/ide_drive.hpp"

#include <cstring>

namespace machine::storage {

IdeDrive::IdeDrive(std::unique_ptr<Disk> disk) : disk_(std::move(disk)), buffer_(block_limit) {}

void IdeDrive::use_contents(std::uint64_t offset, std::uint64_t bytes) noexcept {
    from_reply_ = false;
    position_ = offset;
    left_ = bytes;
}

std::span<std::byte> IdeDrive::use_reply(std::size_t bytes) noexcept {
    from_reply_ = true;
    position_ = 0;
    left_ = std::min(bytes, reply_.size());
    reply_.fill(std::byte{0});
    return std::span{reply_}.first(left_);
}

bool IdeDrive::pull(std::span<std::byte> to) noexcept {
    if (to.size() > left_) return false;
    if (from_reply_) {
        std::copy_n(reply_.begin() + static_cast<std::ptrdiff_t>(position_), to.size(), to.begin());
    } else {
        const iovec piece{to.data(), to.size()};
        if (disk_->read({&piece, 1}, position_) != 0) return false;
    }
    position_ += to.size();
    left_ -= to.size();
    return true;
}

bool IdeDrive::push(ByteSpan from) noexcept {
    if (from.size() > left_ || from_reply_) return false;
    // It is only read, whatever the type says.
    const iovec piece{const_cast<std::byte *>(from.data()), from.size()};
    if (disk_->write({&piece, 1}, position_) != 0) return false;
    position_ += from.size();
    left_ -= from.size();
    return true;
}

bool IdeDrive::offer(std::uint64_t bytes) noexcept {
    block_bytes_ = std::min<std::uint64_t>({bytes, left_, block_limit});
    taken_ = 0;
    phase_ = Phase::pio_in;
    return pull(std::span{buffer_}.first(block_bytes_));
}

bool IdeDrive::request(std::uint64_t bytes) noexcept {
    block_bytes_ = std::min<std::uint64_t>(bytes, block_limit);
    taken_ = 0;
    phase_ = Phase::pio_out;
    return block_bytes_ > 0;
}

bool IdeDrive::store_block() noexcept { return push(block()); }

// "Data register": a word that goes past the block's end has nothing in its upper part.
std::uint32_t IdeDrive::read_data(unsigned size) noexcept {
    if (phase_ != Phase::pio_in) return 0;
    std::uint32_t value = 0;
    const std::size_t count = std::min<std::size_t>(size, block_bytes_ - taken_);
    std::memcpy(&value, buffer_.data() + taken_, count);
    taken_ += count;
    if (taken_ == block_bytes_) block_done();
    return value;
}

void IdeDrive::write_data(unsigned size, std::uint32_t value) noexcept {
    if (phase_ != Phase::pio_out) return;
    const std::size_t count = std::min<std::size_t>(size, block_bytes_ - taken_);
    std::memcpy(buffer_.data() + taken_, &value, count);
    taken_ += count;
    if (taken_ == block_bytes_) block_done();
}

bool IdeDrive::dma_piece(std::span<std::byte> memory) noexcept {
    return phase_ == Phase::dma_in ? pull(memory) : phase_ == Phase::dma_out && push(memory);
}

void IdeDrive::end_dma(bool good) noexcept {
    if (wants_dma()) finish(good);
}

void put_ata_text(std::span<std::uint16_t> words, std::string_view text) noexcept {
    const auto at = [text](std::size_t index) {
        return static_cast<unsigned char>(index < text.size() ? text[index] : ' ');
    };
    for (std::size_t word = 0; word < words.size(); ++word)
        words[word] = static_cast<std::uint16_t>(at(2 * word) << 8 | at(2 * word + 1));
}

} // namespace machine::storage
