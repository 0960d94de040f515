// SPDX-License-Identifier: GPL-2.0-only
// A network card ("Network Device"): one pair of queues, no offloads.
#pragma once

#include <array>
#include <memory>

#include "machine/net/link.hpp"
#include "machine/virtio/loop_model.hpp"

namespace machine::virtio {

// What all network cards of ours have.
inline Model::Kind net_kind() { return {1, 0x020000, {256, 256}}; }
constexpr std::uint64_t net_features = 1u << 5 | 1u << 16; // its address and its status
using NetConfiguration = std::array<std::uint8_t, 8>;      // these
NetConfiguration net_configuration(const net::Mac &mac);

class Net final : public LoopModel, private net::Receiver {
  public:
    Net(EventLoop &loop, std::unique_ptr<net::Link> link, const net::Mac &mac);
    ~Net() override { link_->connect(nullptr); }
    Kind kind() const override { return net_kind(); }
    std::uint64_t features() const override { return net_features; }
    std::span<const std::byte> configuration() noexcept override {
        return std::as_bytes(std::span{configuration_});
    }

  private:
    static constexpr unsigned input = 0, output = 1;
    static constexpr std::size_t header_bytes = 12;
    void serve(unsigned queue) noexcept override;
    void stopped() noexcept override { has_room_ = false; }
    void send() noexcept;
    bool get_room() noexcept;

    bool ready() const noexcept override { return has_room_; }
    void receive(std::span<const std::byte> frame) noexcept override;

    std::unique_ptr<net::Link> link_;
    NetConfiguration configuration_;
    Chain room_; // a buffer for the next frame
    bool has_room_ = false;
    std::array<std::byte, header_bytes + net::largest_frame> frame_;
};

} // namespace machine::virtio
