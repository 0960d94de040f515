// SPDX-License-Identifier: GPL-2.0-only
// Packets as no driver would send them, and now and then as one would, to a vsock with programs of
// the host's behind it that come and go. For the random test here and for the fuzzer in
// tests/fuzz/.
#pragma once

#include <algorithm>
#include <array>

#include "vsock_guest.hpp"

namespace machine::virtio {

class AnyPackets {
  public:
    void run(std::span<const std::uint8_t> bytes) {
        bytes_ = bytes;
        guest_.give_buffers();
        while (!bytes_.empty())
            step();
    }
    std::uint64_t heard() const { return heard_; }

  private:
    std::uint32_t take() {
        if (bytes_.empty()) return 0;
        const std::uint8_t first = bytes_[0];
        bytes_ = bytes_.subspan(1);
        return first;
    }
    // Of the streams that there are, mostly.
    vsock::Ports ports() {
        const std::uint32_t which = take();
        if (which < 32) return {take() % 2, which};
        return known_[which % known_.size()];
    }
    void packet(std::uint32_t what) {
        const auto operation = static_cast<vsock::Operation>(what >> 3 & 7);
        vsock::Header header;
        const vsock::Ports of = ports();
        header.from_cid = (what & 0xc0) == 0xc0 ? take() : VsockGuest::cid;
        header.to_cid = vsock::host_cid;
        header.from_port = of.guest;
        header.to_port = of.host;
        header.operation = operation;
        header.flags = take() & 7;
        header.space = take() << (take() % 16);
        header.taken = take() << (take() % 24);
        const std::string data(take() * (take() % 8), 'd');
        header.length = static_cast<std::uint32_t>(data.size()) + (take() < 8 ? take() : 0);
        guest_.send(header, data);
    }
    void program(std::uint32_t what) {
        Fd &fd = programs_[what >> 3 & 7];
        switch (take() % 6) {
        case 0:
            fd = host_.connect();
            if (take() < 200) HostSide::say(fd, "CONNECT 3\n");
            break;
        case 1: HostSide::say(fd, "CONNECT " + std::to_string(take() % 4) + "\n"); break;
        case 2: HostSide::say(fd, std::string(take() * take(), 'p')); break;
        case 3: shutdown(fd.get(), static_cast<int>(take() % 3)); break;
        case 4: fd = Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK)); break;
        default:
            if (fd) heard_ += HostSide::hear(fd).value_or("").size();
        }
    }
    void step() {
        const std::uint32_t what = take();
        if ((what & 7) < 4)
            packet(what);
        else if ((what & 7) < 7)
            program(what);
        else
            guest_.turn();
        while (const auto came = guest_.next()) {
            const vsock::Ports of{came->header.from_port, came->header.to_port};
            known_[take() % known_.size()] = of;
            // As a driver does, often enough for streams to come about.
            if (came->header.operation == vsock::Operation::request && take() < 200)
                guest_.send(vsock::Operation::response, of);
        }
        if (take() < 200) guest_.give_buffers();
    }

    HostSide host_;
    Fd listener_ = host_.listen(1);
    VsockGuest guest_{host_.path()};
    std::array<vsock::Ports, 4> known_{};
    std::array<Fd, 8> programs_;
    std::span<const std::uint8_t> bytes_;
    std::uint64_t heard_ = 0;
};

} // namespace machine::virtio
