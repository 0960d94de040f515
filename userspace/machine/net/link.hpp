// SPDX-License-Identifier: GPL-2.0-only
// Where a network card's frames go to and come from. All of it under the machine's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "machine/event_loop.hpp"

namespace machine::net {

constexpr std::size_t largest_frame = 65536;

class Receiver {
  public:
    virtual ~Receiver() = default;
    virtual bool ready() const noexcept = 0;
    // A frame that comes while it is not ready is lost.
    virtual void receive(std::span<const std::byte> frame) noexcept = 0;
};

class Link {
  public:
    virtual ~Link() = default;
    // What the other side cannot take now is lost, as on a wire.
    virtual void send(std::span<const std::byte> frame) noexcept = 0;
    // The receiver is ready and was not.
    virtual void room() noexcept {}
    void connect(Receiver *receiver) { receiver_ = receiver; }

  protected:
    Receiver *receiver_ = nullptr;
};

using Mac = std::array<std::uint8_t, 6>;

struct Forward {
    bool udp = false;
    std::uint32_t host_address = 0; // host byte order; 0: all
    std::uint16_t host_port = 0;
    std::uint32_t guest_address = 0; // 0: the guest's
    std::uint16_t guest_port = 0;
};

struct NetOptions {
    enum class Kind : std::uint8_t { user, tap, unix_socket };
    Kind kind = Kind::user;
    std::string name; // the tap's interface, or the socket's path
    bool restrict = false;
    std::optional<bool> vhost; // nothing said: where the host has it
    std::vector<Forward> forwards;
    std::optional<Mac> mac;
};

// "user[,hostfwd=tcp|udp:[ADDR]:PORT-[ADDR]:PORT][,restrict=on|off]", "tap,ifname=NAME
// [,vhost=on|off]" or "unix:PATH", each with [,mac=XX:XX:XX:XX:XX:XX]. Throws
// std::invalid_argument.
NetOptions parse_net(const std::string &text);

// Throws std::runtime_error that says what is wrong. `lock` is the machine's.
std::unique_ptr<Link> open_link(const NetOptions &options, EventLoop &loop, std::mutex &lock);
std::unique_ptr<Link> open_user(const NetOptions &options, std::mutex &lock);
// A tap's own descriptor, that does not block. `headers`: before each frame there is a
// virtio_net_hdr.
Fd open_tap_file(const std::string &name, bool headers);
std::unique_ptr<Link> open_tap(const std::string &name, EventLoop &loop);
std::unique_ptr<Link> open_socket(const std::string &path, EventLoop &loop);

} // namespace machine::net
