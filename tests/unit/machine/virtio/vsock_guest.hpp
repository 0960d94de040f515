// SPDX-License-Identifier: GPL-2.0-only
// A guest's half of a vsock: packets it sends, and those that came. For the tests and the fuzzer.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include "driver.hpp"
#include "machine/manual_loop.hpp"
#include "machine/virtio/vsock.hpp"

namespace machine::virtio {

// Programs of the host's and where they meet the guest.
class HostSide {
  public:
    HostSide() {
        char name[] = "/tmp/hwv-vsock-XXXXXX";
        if (mkdtemp(name) == nullptr) throw std::runtime_error("no directory");
        directory_ = name;
    }
    ~HostSide() {
        for (const std::string &file : files_)
            unlink(file.c_str());
        rmdir(directory_.c_str());
    }
    HostSide(const HostSide &) = delete;
    HostSide &operator=(const HostSide &) = delete;
    std::string path() const { return directory_ + "/v"; }
    Fd listen(unsigned port) {
        const std::string where = path() + "_" + std::to_string(port);
        Fd out = make();
        const sockaddr_un address = address_of(where);
        if (bind(out.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0 ||
            ::listen(out.get(), 64) != 0)
            throw std::runtime_error("cannot listen");
        files_.push_back(where);
        return out;
    }
    Fd connect() const {
        Fd out = make();
        const sockaddr_un address = address_of(path());
        if (::connect(out.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
            throw std::runtime_error("cannot connect");
        return out;
    }
    static void say(const Fd &to, const std::string &text) {
        send(to.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    // What has arrived; nullopt: the stream is at its end.
    static std::optional<std::string> hear(const Fd &from) {
        std::string text(1 << 20, ' ');
        const ssize_t got = recv(from.get(), text.data(), text.size(), MSG_DONTWAIT);
        if (got == 0) return std::nullopt;
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }

  private:
    static Fd make() { return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }
    static sockaddr_un address_of(const std::string &path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        return address;
    }
    std::string directory_;
    std::vector<std::string> files_;
};

class VsockGuest : private ManualLoop {
  public:
    static constexpr std::uint64_t cid = 7;
    static constexpr std::uint32_t space = 1 << 16;
    struct Packet {
        vsock::Header header;
        std::string data;
    };

    explicit VsockGuest(const std::string &path) {
        for (unsigned i = 0; i < 3; ++i)
            queues_.push_back(std::make_unique<Queue>(i, 16, signals_));
        device_.emplace(loop_, VsockOptions{static_cast<std::uint32_t>(cid), path});
        start();
    }
    ~VsockGuest() { device_->stop(); }
    VsockGuest(const VsockGuest &) = delete;
    VsockGuest &operator=(const VsockGuest &) = delete;
    void start() {
        queues_[0]->start(driver_.ram(), {buffers, table_at, available_at, used_at}, false);
        queues_[1]->start(driver_.ram(), driver_.rings(), false);
        device_->start(queues_, 1, signals_);
    }
    Vsock &device() { return *device_; }
    void turn() {
        for (unsigned i = 0; i < 12; ++i)
            loop_.run_ready();
    }
    // As many buffers for packets as there can be.
    void give_buffers() {
        while (static_cast<std::uint16_t>(given_ - seen_) < buffers) {
            const std::uint16_t slot = given_ % buffers;
            driver_.descriptor(table_at, slot, room_at + slot * 0x1000u, 0x1000, 2, 0);
            driver_.ram().put<std::uint16_t>(available_at + 4 + 2 * slot, slot);
            driver_.ram().put<std::uint16_t>(available_at + 2, ++given_);
        }
        queues_[0]->ring();
        turn();
    }
    void send(const vsock::Header &header, const std::string &data = {}) {
        std::string bytes(reinterpret_cast<const char *>(&header), sizeof header);
        driver_.put(Driver::data_at, bytes + data);
        driver_.offer(
            0, {{Driver::data_at, static_cast<std::uint32_t>(bytes.size() + data.size()), false}});
        queues_[1]->ring();
        turn();
    }
    void send(vsock::Operation operation, const vsock::Ports &ports, const std::string &data = {},
              std::uint32_t flags = 0) {
        vsock::Header header;
        header.from_cid = cid;
        header.to_cid = vsock::host_cid;
        header.from_port = ports.guest;
        header.to_port = ports.host;
        header.length = static_cast<std::uint32_t>(data.size());
        header.operation = operation;
        header.flags = flags;
        header.space = space;
        header.taken = taken;
        send(header, data);
    }
    // The next one that came.
    std::optional<Packet> next() {
        if (driver_.ram().get<std::uint16_t>(used_at + 2) == seen_) return std::nullopt;
        const std::uint64_t entry = used_at + 4 + 8 * (seen_++ % buffers);
        const std::uint64_t at = room_at + driver_.ram().get<std::uint32_t>(entry) * 0x1000u;
        const auto bytes = driver_.ram().get<std::uint32_t>(entry + 4);
        if (bytes < sizeof(vsock::Header)) return Packet{};
        Packet packet{driver_.ram().get<vsock::Header>(at), {}};
        packet.data = driver_.text(at + sizeof packet.header, bytes - sizeof packet.header);
        return packet;
    }
    std::uint32_t taken = 0; // what it says of itself

  private:
    static constexpr std::uint16_t buffers = 8;
    static constexpr std::uint64_t table_at = Driver::base + 0x10000,
                                   available_at = Driver::base + 0x11000,
                                   used_at = Driver::base + 0x12000,
                                   room_at = Driver::base + 0x14000;
    Driver driver_{16};
    RecordingSignals signals_;
    Queues queues_;
    std::optional<Vsock> device_;
    std::uint16_t given_ = 0;
    std::uint16_t seen_ = 0;
};

} // namespace machine::virtio
