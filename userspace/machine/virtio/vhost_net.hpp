// SPDX-License-Identifier: GPL-2.0-only
// A network card ("Network Device") whose queues the host's kernel serves: a doorbell wakes its
// thread, and its signals are the card's messages, with nothing of this process in between.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "machine/net/vhost.hpp"
#include "machine/virtio/model.hpp"
#include "machine/virtio/net.hpp"

namespace machine::virtio {

class VhostNet final : public Model {
  public:
    using Tell = std::function<void(const std::string &)>;

    // `tell`: what goes wrong, for the user; once. Throws std::system_error.
    VhostNet(EventLoop &loop, std::unique_ptr<net::Vhost> vhost, const net::Mac &mac, Tell tell);
    ~VhostNet() override;
    Kind kind() const override { return net_kind(); }
    std::uint64_t features() const override;
    std::span<const std::byte> configuration() noexcept override {
        return std::as_bytes(std::span{configuration_});
    }
    bool start(Queues &queues, std::uint64_t features, Signals &signals) noexcept override;
    void stop() noexcept override;
    void events_moved() noexcept override;

  private:
    struct Line {
        Fd event; // for a driver without MSI-X: the event loop interrupts it
        EventLoop::Watch watch = 0;
        bool given = false;
        int call = -1;
    };
    int call_of(unsigned queue) const noexcept;
    bool give(unsigned queue, Queue &of) noexcept;
    void take_back() noexcept;
    void failed(const std::string &what) noexcept;
    void queues_broken() noexcept;

    EventLoop &loop_;
    std::unique_ptr<net::Vhost> vhost_;
    NetConfiguration configuration_;
    Tell tell_;
    bool told_ = false;
    Signals *signals_ = nullptr;
    std::array<Line, 2> lines_;
    Fd error_;
    EventLoop::Watch error_watch_ = 0;
};

} // namespace machine::virtio
