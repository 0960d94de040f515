// SPDX-License-Identifier: GPL-2.0-only
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include "machine/serial_backend.hpp"

namespace machine {

namespace {

[[noreturn]] void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

Fd checked(int fd, const std::string &what) {
    if (fd < 0) fail(what);
    return Fd(fd);
}

class NullBackend final : public SerialBackend {
  public:
    std::size_t transmit(std::span<const std::uint8_t> bytes) noexcept override {
        return bytes.size();
    }
    void receive_ready() noexcept override {}
    void connect(SerialPort *) noexcept override {}
};

class StdioBackend final : public StreamBackend {
  public:
    explicit StdioBackend(SerialHost host)
        : StreamBackend(host.loop, Blocked::hold_back),
          terminal_(STDIN_FILENO),
          escapes_({.quit = [power = host.power] { power({.kind = PowerEvent::Kind::quit}); },
                    .help = [notice = host.notice] { explain(notice); }}) {
        // Piped input is data: only a terminal has keys.
        if (terminal_.active())
            set_filter([this](std::span<std::uint8_t> bytes) { return escapes_.filter(bytes); });
        open(STDIN_FILENO, STDOUT_FILENO, nullptr);
    }

  private:
    static void explain(const std::function<void(const std::string &)> &notice) {
        if (notice) notice("Ctrl-A x: quit   Ctrl-A h: this help   Ctrl-A Ctrl-A: send Ctrl-A");
    }
    RawTerminal terminal_;
    EscapeFilter escapes_;
};

class FileBackend final : public StreamBackend {
  public:
    FileBackend(const SerialHost &host, const std::string &path)
        : StreamBackend(host.loop, Blocked::hold_back),
          file_(
              checked(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), path)) {
        open(-1, file_.get(), nullptr);
    }
    ~FileBackend() override { close(); } // while the file is still open

  private:
    Fd file_;
};

class PtyBackend final : public StreamBackend {
  public:
    explicit PtyBackend(const SerialHost &host)
        : StreamBackend(host.loop, Blocked::lose),
          master_(checked(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), "pty")) {
        std::array<char, 128> name{};
        if (grantpt(master_.get()) != 0 || unlockpt(master_.get()) != 0 ||
            ptsname_r(master_.get(), name.data(), name.size()) != 0)
            fail("pty");
        // Held open by us as well: a master whose last reader left reports a hang-up without end.
        slave_ = checked(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC), name.data());
        termios raw{};
        if (tcgetattr(slave_.get(), &raw) == 0) {
            cfmakeraw(&raw);
            tcsetattr(slave_.get(), TCSANOW, &raw);
        }
        open(master_.get(), master_.get(), nullptr);
        if (host.notice) host.notice(std::string("serial port on ") + name.data());
    }
    ~PtyBackend() override { close(); }

  private:
    Fd master_;
    Fd slave_;
};

// Listens; serves one client at a time, and the next when that one leaves. Output without a client
// is lost.
class SocketBackend final : public StreamBackend {
  public:
    SocketBackend(const SerialHost &host, std::string path)
        : StreamBackend(host.loop, Blocked::hold_back), loop_(host.loop), path_(std::move(path)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path_.empty() || path_.size() >= sizeof address.sun_path) {
            errno = ENAMETOOLONG;
            fail("unix:" + path_);
        }
        std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
        listener_ = checked(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), path_);
        if (::bind(listener_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) !=
                0 ||
            ::listen(listener_.get(), 1) != 0)
            fail(path_);
        watch_ = loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_client(); });
    }
    ~SocketBackend() override {
        close();
        loop_.unwatch(watch_);
        unlink(path_.c_str());
    }

  private:
    void accept_client() {
        Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!client || client_) return; // a second one finds itself hung up
        client_ = std::move(client);
        open(client_.get(), client_.get(), [this] {
            close();
            client_ = Fd();
        });
    }

    EventLoop &loop_;
    std::string path_;
    Fd listener_;
    Fd client_;
    EventLoop::Watch watch_ = 0;
};

bool take_prefix(std::string &text, const std::string &prefix) {
    if (text.rfind(prefix, 0) != 0) return false;
    text.erase(0, prefix.size());
    return true;
}

} // namespace

SerialFactory serial_factory(const std::string &spec) {
    std::string path = spec;
    if (spec.empty() || spec == "unix:" || spec == "file:") return nullptr;
    if (spec == "stdio")
        return [](SerialHost host) { return std::make_unique<StdioBackend>(std::move(host)); };
    if (spec == "pty") return [](SerialHost host) { return std::make_unique<PtyBackend>(host); };
    if (spec == "null") return [](SerialHost) { return std::make_unique<NullBackend>(); };
    if (take_prefix(path, "unix:"))
        return [path](SerialHost host) { return std::make_unique<SocketBackend>(host, path); };
    take_prefix(path, "file:");
    return [path](SerialHost host) { return std::make_unique<FileBackend>(host, path); };
}

} // namespace machine
