// SPDX-License-Identifier: GPL-2.0-only
// A balloon ("Traditional Memory Balloon Device"): the guest gives pages away for as long as it is
// asked to, and tells of free ones by itself ("Free Page Reporting"). The host then has their
// memory; a page that the guest uses again is one of zeroes.
#pragma once

#include <array>
#include <optional>

#include "machine/guest_memory.hpp"
#include "machine/virtio/loop_model.hpp"

namespace machine::virtio {

class Balloon final : public LoopModel {
  public:
    static constexpr std::uint64_t page = 4096;
    // What the guest says of its memory, in bytes ("Memory Statistics Tags").
    struct Statistics {
        std::optional<std::uint64_t> free, total, available, caches;
    };
    struct State {
        bool driven = false; // a driver runs it
        bool reporting = false;
        std::uint64_t target = 0; // bytes that the guest is asked to give
        std::uint64_t actual = 0; // bytes that it says it gave
        // Bytes handed back to the host so far, asked for and told of.
        std::uint64_t inflated = 0, reported = 0;
        Statistics guest;
    };

    Balloon(EventLoop &loop, const GuestMemory &memory) : LoopModel(loop), memory_(memory) {}
    Kind kind() const override { return {5, 0x00ff00, {128, 128, 16, 32, 32}}; }
    std::uint64_t features() const override;
    std::span<const std::byte> configuration() noexcept override {
        return std::as_bytes(std::span{configuration_});
    }
    void write_configuration(unsigned offset, std::span<const std::byte> bytes) noexcept override;

    // All with the machine's lock. More than the guest has RAM is cut to that.
    void set_target(std::uint64_t bytes) noexcept;
    State state() noexcept;
    // Asks for new statistics. False: there are none to be had.
    bool refresh() noexcept;
    bool fresh() const { return held_.has_value(); } // what was asked for is there

  private:
    static constexpr unsigned inflate = 0, deflate = 1, statistics = 2;
    // A page takes the host a system call at worst, while the machine waits.
    static constexpr unsigned requests_at_once = 4;

    void serve(unsigned queue) noexcept override;
    void stopped() noexcept override;
    bool counts() const;  // has the queue of statistics
    bool reports() const; // and the one of free pages
    std::uint64_t give_back(Chain &chain) noexcept;
    std::uint64_t give_back_pages(std::span<std::uint32_t> numbers) noexcept;
    void take_statistics(Queue &queue) noexcept;

    const GuestMemory &memory_;
    // num_pages and actual; no hints, no poison
    std::array<std::uint32_t, 2> configuration_{};
    std::uint64_t inflated_ = 0;
    std::uint64_t reported_ = 0;
    Statistics guest_;
    std::optional<std::uint16_t> held_; // the buffer that is given back to be asked for another
    Chain chain_;
};

} // namespace machine::virtio
