// SPDX-License-Identifier: GPL-2.0-only
// Sockets between the guest and programs of the host ("Socket Device"). To reach the guest a
// program connects to a Unix socket and says "CONNECT PORT"; for the guest, the host's port N is
// the Unix socket of the same path with "_N" behind it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "machine/virtio/loop_model.hpp"
#include "machine/virtio/vsock_options.hpp"
#include "machine/virtio/vsock_stream.hpp"

namespace machine::virtio {

class Vsock final : public LoopModel {
  public:
    // Both ways together.
    static constexpr std::size_t most_streams = 256;

    // Throws std::system_error where the socket is not to be had.
    Vsock(EventLoop &loop, VsockOptions options);
    ~Vsock() override;
    Kind kind() const override { return {19, 0x028000, {128, 128, 16}}; }
    std::uint64_t features() const override { return 1; } // streams
    std::span<const std::byte> configuration() noexcept override {
        return std::as_bytes(std::span{configuration_});
    }
    std::size_t streams() const { return streams_.size(); }

  private:
    static constexpr unsigned input = 0, output = 1;
    struct Entry {
        std::unique_ptr<vsock::Stream> stream;
        EventLoop::Watch watch;
        std::uint32_t watched; // for these events; 0 once they were told
    };

    void serve(unsigned queue) noexcept override;
    void stopped() noexcept override;
    void take_packets() noexcept;
    void take_packet(Chain &chain) noexcept;
    void connect_for_guest(const vsock::Header &request) noexcept;
    void accept_one() noexcept;
    void greeted(vsock::Stream &stream) noexcept;
    bool adopt(std::unique_ptr<vsock::Stream> stream) noexcept;
    void ready(const vsock::Stream *stream, std::uint32_t events) noexcept;
    vsock::Stream *find(const vsock::Ports &ports) noexcept;
    void refuse(const vsock::Header &header) noexcept;
    void drop(std::size_t index, bool tell) noexcept;
    void settle() noexcept;
    bool fill_room() noexcept;
    bool has_packet() const;
    void deliver() noexcept;

    const VsockOptions options_;
    std::array<std::uint64_t, 1> configuration_{};
    Fd listener_;
    EventLoop::Watch listening_ = 0;
    std::vector<Entry> streams_;
    std::size_t next_ = 0; // whose turn it is
    std::uint32_t next_port_ = 0;
    // Resets of what is no stream. While there is no place for one, nothing is taken from the
    // guest.
    std::array<vsock::Ports, 64> resets_{};
    std::size_t reset_count_ = 0;
    Chain chain_;
    Chain room_; // a buffer for the next packet
    bool has_room_ = false;
};

} // namespace machine::virtio
