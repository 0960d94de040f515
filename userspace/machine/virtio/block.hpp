// SPDX-License-Identifier: GPL-2.0-only
// A disk ("Block Device"). Each queue has a thread, which waits for requests and for what they
// wait for, through io_uring where the host lets it.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "machine/storage/disk.hpp"
#include "machine/virtio/block_request.hpp"
#include "machine/virtio/model.hpp"

namespace machine::virtio {

// The thread of one queue, from its construction to its end, which waits for what is on its way.
class BlockWorker {
  public:
    // Throws std::system_error when there can be no thread.
    BlockWorker(Queue &queue, storage::Disk &disk, const std::string &serial, bool io_uring);
    ~BlockWorker();
    BlockWorker(const BlockWorker &) = delete;
    BlockWorker &operator=(const BlockWorker &) = delete;

  private:
    class Ring;
    void run() noexcept;
    void run_with(Ring &ring) noexcept;
    void begin_some(Ring &ring) noexcept;
    void run_alone() noexcept;
    void done(BlockRequest &request) noexcept;

    Queue &queue_;
    storage::Disk &disk_;
    const std::string &serial_;
    const bool io_uring_;
    std::atomic<bool> stop_{false};
    std::vector<std::unique_ptr<BlockRequest>> requests_;
    std::vector<unsigned> free_; // of requests_
    std::thread thread_;
};

class Block final : public Model {
  public:
    static constexpr std::uint16_t queue_size = 256;
    static constexpr std::uint32_t max_range_sectors = 1u << 22; // 2 GiB

    Block(std::unique_ptr<storage::Disk> disk, const storage::DiskOptions &options);
    Kind kind() const override;
    std::uint64_t features() const override;
    std::span<const std::byte> configuration() noexcept override { return configuration_; }
    bool start(Queues &queues, std::uint64_t features, Signals &signals) noexcept override;
    void stop() noexcept override { workers_.clear(); }

  private:
    std::unique_ptr<storage::Disk> disk_;
    std::string serial_;
    unsigned queues_;
    bool io_uring_;
    std::array<std::byte, 60> configuration_{};
    std::vector<std::unique_ptr<BlockWorker>> workers_;
};

} // namespace machine::virtio
