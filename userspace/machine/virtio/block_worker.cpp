// SPDX-License-Identifier: GPL-2.0-only
// block_worker.cpp - the thread that serves one queue of a disk.
#include <array>
#include <liburing.h>
#include <sys/eventfd.h>

#include "machine/virtio/block.hpp"

namespace machine::virtio {

namespace {

constexpr std::uint64_t doorbell_token = ~std::uint64_t{0};
constexpr std::size_t largest_transfer = 1u << 30;

} // namespace

// The doorbell is read through the ring too: one system call submits, and waits for either.
class BlockWorker::Ring {
  public:
    Ring(int doorbell, int file) {
        // What spares interruptions of the thread, on kernels that know it, and looking files up.
        made_ = init(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER) ||
                init(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER) || init(0);
        const std::array files{doorbell, file};
        ready_ = made_ && io_uring_register_files(&ring_, files.data(), files.size()) == 0;
        if (ready_) io_uring_register_ring_fd(&ring_);
    }
    ~Ring() {
        if (made_) io_uring_queue_exit(&ring_);
    }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;
    bool ready() const { return ready_; }

    bool listen() noexcept {
        io_uring_sqe *entry = next();
        if (entry == nullptr) return false;
        io_uring_prep_read(entry, doorbell_index, &count_, sizeof count_, 0);
        io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
        io_uring_sqe_set_data64(entry, doorbell_token);
        return true;
    }
    bool submit(BlockRequest &request, BlockRequest::Next next_step, std::uint64_t token) noexcept {
        io_uring_sqe *entry = next();
        if (entry == nullptr) return false;
        prepare(entry, request.segments(), request.offset(), next_step == BlockRequest::Next::read);
        io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
        io_uring_sqe_set_data64(entry, token);
        ++in_flight_;
        return true;
    }
    void wait() noexcept { io_uring_submit_and_wait(&ring_, 1); }
    template <typename Each>
    void reap(Each each) noexcept {
        io_uring_cqe *entry = nullptr;
        while (io_uring_peek_cqe(&ring_, &entry) == 0) {
            const std::uint64_t token = io_uring_cqe_get_data64(entry);
            const int result = entry->res;
            io_uring_cqe_seen(&ring_, entry);
            if (token != doorbell_token) --in_flight_;
            each(token, result);
        }
    }
    unsigned in_flight() const { return in_flight_; }

  private:
    static constexpr int doorbell_index = 0, file_index = 1; // of the registered files

    static void prepare(io_uring_sqe *entry, std::span<const iovec> segments, std::uint64_t offset,
                        bool read) noexcept {
        const auto count = static_cast<unsigned>(segments.size());
        const bool one = count == 1 && segments[0].iov_len <= largest_transfer;
        const auto size = one ? static_cast<unsigned>(segments[0].iov_len) : 0u;
        if (one && read)
            io_uring_prep_read(entry, file_index, segments[0].iov_base, size, offset);
        else if (one)
            io_uring_prep_write(entry, file_index, segments[0].iov_base, size, offset);
        else if (read)
            io_uring_prep_readv(entry, file_index, segments.data(), count, offset);
        else
            io_uring_prep_writev(entry, file_index, segments.data(), count, offset);
    }
    bool init(unsigned flags) noexcept {
        return io_uring_queue_init(2u * Block::queue_size, &ring_, flags) == 0;
    }
    io_uring_sqe *next() noexcept {
        io_uring_sqe *entry = io_uring_get_sqe(&ring_);
        if (entry != nullptr) return entry;
        io_uring_submit(&ring_);
        return io_uring_get_sqe(&ring_);
    }
    io_uring ring_{};
    std::uint64_t count_ = 0;
    unsigned in_flight_ = 0;
    bool made_ = false, ready_ = false;
};

BlockWorker::BlockWorker(Queue &queue, storage::Disk &disk, const std::string &serial,
                         bool io_uring)
    : queue_(queue), disk_(disk), serial_(serial), io_uring_(io_uring && disk.file() >= 0) {
    const unsigned count = io_uring_ ? queue.max_size() : 1;
    for (unsigned i = 0; i < count; ++i) {
        requests_.push_back(std::make_unique_for_overwrite<BlockRequest>());
        free_.push_back(count - 1 - i);
    }
    thread_ = std::thread([this] { run(); });
}

BlockWorker::~BlockWorker() {
    stop_ = true;
    queue_.ring();
    thread_.join();
}

void BlockWorker::run() noexcept {
    if (io_uring_) {
        Ring ring(queue_.doorbell(), disk_.file());
        if (ring.ready() && ring.listen()) return run_with(ring);
    }
    run_alone();
}

void BlockWorker::done(BlockRequest &request) noexcept {
    queue_.push(request.chain.head, request.written());
}

void BlockWorker::begin_some(Ring &ring) noexcept {
    while (!stop_ && !free_.empty()) { // what ends at once may never run out
        const unsigned slot = free_.back();
        BlockRequest &request = *requests_[slot];
        if (!queue_.pop(request.chain)) return;
        const auto next = request.begin(disk_, serial_);
        if (next != BlockRequest::Next::done && ring.submit(request, next, slot)) {
            free_.pop_back();
            continue;
        }
        request.transfer(disk_, next);
        done(request);
    }
}

void BlockWorker::run_with(Ring &ring) noexcept {
    bool listening = true;
    // The end's own signal ends the last read of the doorbell.
    while (!stop_ || listening || ring.in_flight() != 0) {
        do {
            begin_some(ring);
            queue_.publish();
        } while (!stop_ && !free_.empty() && queue_.wait_for_more());
        if (!listening && !stop_) listening = ring.listen();
        if (!listening && ring.in_flight() == 0) continue;
        ring.wait();
        ring.reap([&](std::uint64_t token, int result) {
            if (token == doorbell_token) {
                listening = false;
                return;
            }
            BlockRequest &request = *requests_[token];
            // The rest of a short transfer, or what the ring would not do, goes the simple way.
            if (result >= 0 && static_cast<std::uint64_t>(result) == request.bytes())
                request.finish(0);
            else
                request.retry(disk_);
            done(request);
            free_.push_back(static_cast<unsigned>(token));
        });
    }
    queue_.publish();
}

void BlockWorker::run_alone() noexcept {
    BlockRequest &request = *requests_[0];
    while (!stop_) {
        while (!stop_ && queue_.pop(request.chain)) {
            request.transfer(disk_, request.begin(disk_, serial_));
            done(request);
            queue_.publish();
        }
        if (queue_.wait_for_more()) continue;
        eventfd_t count = 0;
        eventfd_read(queue_.doorbell(), &count);
    }
}

} // namespace machine::virtio
