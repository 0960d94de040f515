// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/vnc.hpp"
#include <algorithm>
#include <cstring>
#include <fstream>
#include <arpa/inet.h>
#include <rfb/rfb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "hwv/error.hpp"
#include "machine/display/keysyms.hpp"
#include "machine/library.hpp"

namespace hwvctl {

// What is used of libvncserver.
struct VncLibrary {
    machine::Library library{"libvncserver.so.1", "--display vnc", "libvncserver1"};
    decltype(&::rfbLogEnable) rfbLogEnable = library["rfbLogEnable"];
    decltype(&::rfbGetScreen) rfbGetScreen = library["rfbGetScreen"];
    decltype(&::rfbScreenCleanup) rfbScreenCleanup = library["rfbScreenCleanup"];
    decltype(&::rfbInitServerWithPthreadsAndZRLE) rfbInitServer =
        library["rfbInitServerWithPthreadsAndZRLE"];
    decltype(&::rfbShutdownServer) rfbShutdownServer = library["rfbShutdownServer"];
    decltype(&::rfbNewClient) rfbNewClient = library["rfbNewClient"];
    decltype(&::rfbProcessEvents) rfbProcessEvents = library["rfbProcessEvents"];
    decltype(&::rfbNewFramebuffer) rfbNewFramebuffer = library["rfbNewFramebuffer"];
    decltype(&::rfbMarkRectAsModified) rfbMarkRectAsModified = library["rfbMarkRectAsModified"];
    decltype(&::rfbDefaultPtrAddEvent) rfbDefaultPtrAddEvent = library["rfbDefaultPtrAddEvent"];
    decltype(&::rfbCheckPasswordByList) rfbCheckPasswordByList = library["rfbCheckPasswordByList"];
};

namespace {

constexpr long frame_us = 40'000;
constexpr int first_port = 5900, bits = 8, components = 3, bytes = 4;
constexpr std::size_t longest_password = 8; // RFC 6143, "VNC Authentication"

void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr client) {
    static_cast<VncServer *>(client->screen->screenData)->key(down, keysym);
}

void on_pointer(int buttons, int x, int y, rfbClientPtr client) {
    auto *server = static_cast<VncServer *>(client->screen->screenData);
    server->pointer(static_cast<unsigned>(buttons), x, y);
    server->library().rfbDefaultPtrAddEvent(buttons, x, y, client);
}

std::string read_password(const std::string &path) {
    std::ifstream file{path};
    std::string line;
    if (!std::getline(file, line) || line.empty())
        throw hwv::Error{ENOENT, "--display: no password in the first line of '" + path + "'"};
    if (line.size() > longest_password)
        throw hwv::Error{EINVAL, "--display: VNC takes 8 characters of a password, '" + path +
                                     "' has more"};
    return line;
}

// Which lines of the new picture differ: first and one past the last, or nothing.
std::pair<unsigned, unsigned> changed(const machine::Picture &before, const machine::Picture &now) {
    const auto same = [&](unsigned y) {
        const auto at = static_cast<std::ptrdiff_t>(std::size_t{y} * now.width);
        return std::equal(now.pixels.begin() + at, now.pixels.begin() + at + now.width,
                          before.pixels.begin() + at);
    };
    unsigned first = 0, end = now.height;
    while (first < end && same(first))
        ++first;
    while (end > first && same(end - 1))
        --end;
    return {first, end};
}

} // namespace

VncServer::VncServer(const VncOptions &options, machine::Machine &machine)
    : library_{std::make_unique<VncLibrary>()}, machine_{machine} {
    library_->rfbLogEnable(0);
    shown_ = {640, 480, std::vector<std::uint32_t>(640 * 480)};
    server_ = library_->rfbGetScreen(nullptr, nullptr, 640, 480, bits, components, bytes);
    if (!server_) throw hwv::Error{ENOMEM, "--display: no memory for a VNC server"};
    try {
        set_up(options);
    } catch (const hwv::Error &) {
        library_->rfbScreenCleanup(server_);
        throw;
    }
    thread_ = std::thread{[this] { serve(); }};
}

void VncServer::set_up(const VncOptions &options) {
    server_->screenData = this;
    server_->frameBuffer = reinterpret_cast<char *>(shown_.pixels.data());
    server_->serverFormat.redShift = 16;
    server_->serverFormat.greenShift = 8;
    server_->serverFormat.blueShift = 0;
    server_->desktopName = "hwv";
    server_->alwaysShared = TRUE;
    server_->kbdAddEvent = on_key;
    server_->ptrAddEvent = on_pointer;
    server_->cursor = nullptr; // the guest draws its own
    server_->autoPort = FALSE;
    server_->port = server_->ipv6port = 0;
    if (!options.password_file.empty()) {
        password_ = read_password(options.password_file);
        passwords_ = {password_.data(), nullptr};
        server_->authPasswdData = passwords_.data();
        server_->passwordCheck = library_->rfbCheckPasswordByList;
    }
    if (!options.path.empty()) {
        listen_at(options.path);
        library_->rfbInitServer(server_);
        return;
    }
    in_addr address{};
    if (::inet_pton(AF_INET, options.address.c_str(), &address) != 1)
        throw hwv::Error{EINVAL, "--display: '" + options.address + "' is no IPv4 address"};
    server_->listenInterface = address.s_addr;
    server_->port = first_port + static_cast<int>(options.number);
    library_->rfbInitServer(server_);
    if (server_->listenSock < 0)
        throw hwv::Error{EADDRINUSE, "--display: cannot listen on " + options.address + ", port " +
                                         std::to_string(server_->port)};
}

// Only whoever may write to the socket's file gets in: its owner.
void VncServer::listen_at(const std::string &path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    if (path.size() >= sizeof address.sun_path)
        throw hwv::Error{ENAMETOOLONG, "--display: '" + path + "' is too long for a socket"};
    std::memcpy(address.sun_path, path.data(), path.size());
    listener_ = hwv::Fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!listener_) hwv::fail("--display: make a socket");
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
        hwv::fail("--display: make the socket '" + path + "'");
    path_ = path;
    if (::chmod(path.c_str(), 0600) != 0 || ::listen(listener_.get(), 4) != 0)
        hwv::fail("--display: listen at '" + path + "'");
}

VncServer::~VncServer() {
    stop_ = true;
    thread_.join();
    library_->rfbShutdownServer(server_, TRUE);
    library_->rfbScreenCleanup(server_);
    if (!path_.empty()) ::unlink(path_.c_str());
}

void VncServer::serve() {
    while (!stop_) {
        if (listener_) accept_local();
        if (server_->clientHead) refresh();
        library_->rfbProcessEvents(server_, frame_us);
    }
}

void VncServer::accept_local() {
    const int client = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) library_->rfbNewClient(server_, client); // which owns it from now on
}

void VncServer::refresh() {
    std::optional<machine::Screen> screen;
    {
        const std::lock_guard guard{machine_.lock()};
        screen = machine_.vga()->screen();
    }
    show(machine::render(*screen));
}

void VncServer::show(machine::Picture picture) {
    const bool resized = picture.width != shown_.width || picture.height != shown_.height;
    if (resized) {
        shown_ = std::move(picture);
        library_->rfbNewFramebuffer(server_, reinterpret_cast<char *>(shown_.pixels.data()),
                                    static_cast<int>(shown_.width), static_cast<int>(shown_.height),
                                    bits, components, bytes);
        server_->serverFormat.redShift = 16;
        server_->serverFormat.greenShift = 8;
        server_->serverFormat.blueShift = 0;
        return;
    }
    const auto [first, end] = changed(shown_, picture);
    if (first == end) return;
    // The library keeps the address.
    std::copy(picture.pixels.begin(), picture.pixels.end(), shown_.pixels.begin());
    library_->rfbMarkRectAsModified(server_, 0, static_cast<int>(first),
                                    static_cast<int>(shown_.width), static_cast<int>(end));
}

void VncServer::key(bool down, std::uint32_t keysym) {
    const auto key = machine::key_of_keysym(keysym);
    if (!key) return;
    const std::lock_guard guard{machine_.lock()};
    machine_.input()->key(*key, down);
}

// RFC 6143, "PointerEvent": where it is, and the buttons left, middle, right, wheel up, wheel down.
void VncServer::pointer(unsigned buttons, int x, int y) {
    using machine::Ps2Mouse;
    const unsigned pressed = buttons & ~buttons_;
    const int wheel = ((pressed >> 4) & 1) - static_cast<int>((pressed >> 3) & 1);
    const auto held = static_cast<std::uint8_t>((buttons & 1 ? Ps2Mouse::left : 0) |
                                                (buttons & 2 ? Ps2Mouse::middle : 0) |
                                                (buttons & 4 ? Ps2Mouse::right : 0));
    const std::lock_guard guard{machine_.lock()};
    machine_.input()->move_mouse(x - x_, y - y_, wheel, held);
    x_ = x;
    y_ = y;
    buttons_ = buttons;
}

} // namespace hwvctl
