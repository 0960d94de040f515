// SPDX-License-Identifier: GPL-2.0-only
// sockets.cpp - links by a descriptor that has whole frames: a tap interface of the host's, or a
// socket between two guests.
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdexcept>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>

#include "machine/net/link.hpp"

namespace machine::net {

namespace {

[[noreturn]] void refuse(const std::string &what) {
    throw std::runtime_error("network " + what + ": " + std::system_category().message(errno));
}

class FrameLink : public Link {
  public:
    explicit FrameLink(EventLoop &loop) : loop_(loop) {}
    ~FrameLink() override { loop_.unwatch(watch_); }
    void send(std::span<const std::byte> frame) noexcept override {
        if (peer_ && write(peer_.get(), frame.data(), frame.size()) < 0 && errno == EPIPE)
            hung_up();
    }
    void room() noexcept override { loop_.change(watch_, EPOLLIN); }

  protected:
    void open(Fd peer) {
        watch_ = loop_.watch(peer.get(), EPOLLIN, [this](std::uint32_t) { take(); });
        peer_ = std::move(peer);
    }
    virtual void hung_up() noexcept { close(); }
    void close() noexcept {
        loop_.unwatch(watch_);
        watch_ = 0;
        peer_ = Fd();
    }
    EventLoop &loop_;

  private:
    void take() noexcept {
        constexpr unsigned turn = 64;
        for (unsigned i = 0; i < turn; ++i) {
            // Unread frames wait in the socket until there is room for them.
            if (receiver_ == nullptr || !receiver_->ready()) return loop_.change(watch_, 0);
            const ssize_t count = read(peer_.get(), frame_.data(), frame_.size());
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
            if (count <= 0) return hung_up();
            receiver_->receive(std::span{frame_}.first(static_cast<std::size_t>(count)));
        }
    }
    Fd peer_;
    EventLoop::Watch watch_ = 0;
    std::array<std::byte, largest_frame> frame_;
};

class Tap final : public FrameLink {
  public:
    Tap(const std::string &name, EventLoop &loop) : FrameLink(loop) {
        open(open_tap_file(name, false));
    }
};

// The one that comes first listens, the other connects; when the peer leaves the listener waits for
// another.
class SocketLink final : public FrameLink {
  public:
    SocketLink(const std::string &path, EventLoop &loop) : FrameLink(loop), path_(path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path)
            throw std::runtime_error("network unix:" + path + ": the path is too long");
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        const auto *where = reinterpret_cast<const sockaddr *>(&address);
        Fd end(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!end) refuse("unix:" + path);
        if (::connect(end.get(), where, sizeof address) == 0) {
            open(std::move(end));
            return;
        }
        // Its owner is gone; or it is no socket at all, and stays.
        struct stat about {};
        if (errno == ECONNREFUSED && lstat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode))
            unlink(path.c_str());
        if (bind(end.get(), where, sizeof address) != 0 || listen(end.get(), 1) != 0)
            refuse("unix:" + path);
        listener_ = std::move(end);
        listening_ = loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
    }
    ~SocketLink() override {
        loop_.unwatch(listening_);
        if (listener_) unlink(path_.c_str());
    }

  private:
    void accept_one() noexcept {
        Fd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!peer) return;
        try {
            open(std::move(peer));
        } catch (const std::exception &) { // no memory for it: it is hung up on, and may call again
            return;
        }
        loop_.change(listening_, 0);
    }
    void hung_up() noexcept override {
        close();
        if (listener_) loop_.change(listening_, EPOLLIN);
    }
    std::string path_;
    Fd listener_;
    EventLoop::Watch listening_ = 0;
};

} // namespace

Fd open_tap_file(const std::string &name, bool headers) {
    Fd tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!tap) refuse("/dev/net/tun");
    ifreq request{};
    if (name.size() >= sizeof request.ifr_name) throw std::runtime_error("ifname= is too long");
    std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (headers ? IFF_VNET_HDR : 0));
    if (ioctl(tap.get(), TUNSETIFF, &request) != 0) refuse("tap " + name);
    return tap;
}

std::unique_ptr<Link> open_tap(const std::string &name, EventLoop &loop) {
    return std::make_unique<Tap>(name, loop);
}

std::unique_ptr<Link> open_socket(const std::string &path, EventLoop &loop) {
    return std::make_unique<SocketLink>(path, loop);
}

} // namespace machine::net
