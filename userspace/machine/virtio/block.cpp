// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/block.hpp"

#include <cstring>

namespace machine::virtio {

namespace {

constexpr std::uint16_t block_id = 2;
constexpr std::uint64_t seg_max = 1u << 2, geometry = 1u << 4, read_only = 1u << 5,
                        block_size = 1u << 6, flush = 1u << 9, multi_queue = 1u << 12,
                        discard = 1u << 13, write_zeroes = 1u << 14;

} // namespace

Block::Block(std::unique_ptr<storage::Disk> disk, const storage::DiskOptions &options)
    : disk_(std::move(disk)),
      serial_(options.serial),
      queues_(options.queues),
      io_uring_(options.io_uring) {
    const auto put = [this](unsigned offset, auto value) {
        std::memcpy(&configuration_[offset], &value, sizeof value);
    };
    const std::uint64_t sectors = disk_->bytes() / storage::sector;
    constexpr std::uint64_t heads = 16, per_track = 63;
    put(0, sectors);
    put(12, std::uint32_t{Chain::max_segments - 2}); // less header and status
    put(16,
        static_cast<std::uint16_t>(std::min<std::uint64_t>(sectors / (heads * per_track), 65535)));
    put(18, static_cast<std::uint8_t>(heads));
    put(19, static_cast<std::uint8_t>(per_track));
    put(20, static_cast<std::uint32_t>(storage::sector));
    put(34, static_cast<std::uint16_t>(queues_));
    put(36, max_range_sectors);
    put(40, std::uint32_t{1}); // ranges in one request
    put(44, std::uint32_t{8}); // alignment of discards, in sectors
    put(48, max_range_sectors);
    put(52, std::uint32_t{1});
    put(56, std::uint8_t{1}); // zeroes may be holes
}

Model::Kind Block::kind() const {
    return {block_id, 0x010000, std::vector<std::uint16_t>(queues_, queue_size)};
}

std::uint64_t Block::features() const {
    return seg_max | geometry | block_size | flush | (queues_ > 1 ? multi_queue : 0) |
           (disk_->read_only() ? read_only : discard | write_zeroes);
}

bool Block::start(Queues &queues, std::uint64_t, Signals &) noexcept {
    try {
        for (const auto &queue : queues)
            if (queue->running())
                workers_.push_back(
                    std::make_unique<BlockWorker>(*queue, *disk_, serial_, io_uring_));
        return true;
    } catch (const std::exception &) {
        workers_.clear();
        return false;
    }
}

} // namespace machine::virtio
