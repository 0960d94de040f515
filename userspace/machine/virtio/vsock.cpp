// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/vsock.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>

namespace machine::virtio {

using vsock::Header;
using vsock::Operation;
using vsock::Ports;
using vsock::Stream;

namespace {

// Ports of the host's for streams that begin there, out of the way of those with a meaning.
constexpr std::uint32_t first_port = 1u << 30;

sockaddr_un address_of(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        throw std::system_error(ENAMETOOLONG, std::generic_category(), "vsock " + path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

Fd unix_socket() { return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

bool connect_to(const Fd &socket, const sockaddr_un &address) {
    return connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0;
}

Fd listen_at(const std::string &path) {
    const sockaddr_un address = address_of(path);
    // A socket is removed where its owner is gone, and only then; to files too nobody answers.
    struct stat about {};
    if (!connect_to(unix_socket(), address) && errno == ECONNREFUSED &&
        lstat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode))
        unlink(path.c_str());
    Fd listener = unix_socket();
    if (bind(listener.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0 ||
        listen(listener.get(), SOMAXCONN) != 0)
        throw std::system_error(errno, std::generic_category(), "vsock " + path);
    return listener;
}

} // namespace

VsockOptions parse_vsock(const std::string &text) {
    VsockOptions options;
    std::istringstream words{text};
    for (std::string word; std::getline(words, word, ',');) {
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
        const char *end = value.data() + value.size();
        if (name == "path" && !value.empty()) {
            options.path = value;
            continue;
        }
        const auto [rest, error] = std::from_chars(value.data(), end, options.cid);
        if (name != "cid" || error != std::errc{} || rest != end)
            throw std::invalid_argument("'" + word + "': wants path=PATH and, if need be, cid=N");
    }
    // "Addressing": 0 to 2 mean something, and so does the last.
    if (options.cid < 3 || options.cid == 0xffffffff)
        throw std::invalid_argument("cid= is from 3 to 4294967294");
    if (options.path.empty()) throw std::invalid_argument("path=PATH is missing");
    return options;
}

Vsock::Vsock(EventLoop &loop, VsockOptions options)
    : LoopModel(loop), options_(std::move(options)), configuration_{options_.cid} {
    streams_.reserve(most_streams);
    static_cast<void>(address_of(options_.path + "_4294967295")); // all ports must be reachable
    listener_ = listen_at(options_.path);
    listening_ = loop.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
}

Vsock::~Vsock() {
    stopped();
    loop().unwatch(listening_);
    unlink(options_.path.c_str());
}

void Vsock::stopped() noexcept {
    while (!streams_.empty())
        drop(streams_.size() - 1, false);
    reset_count_ = 0;
    has_room_ = false;
}

void Vsock::serve(unsigned number) noexcept {
    if (number == output) take_packets();
    deliver();
}

void Vsock::take_packets() noexcept {
    Queue *packets = queue(output);
    if (packets == nullptr) return;
    for (unsigned i = 0; i < turn && reset_count_ < resets_.size() && packets->pop(chain_); ++i) {
        take_packet(chain_);
        packets->push(chain_.head, 0);
    }
    packets->publish();
    settle();
    // With no place for resets, deliver() goes on.
    if (reset_count_ < resets_.size() && packets->wait_for_more()) packets->ring();
}

void Vsock::take_packet(Chain &chain) noexcept {
    Header header;
    if (!chain.take(std::as_writable_bytes(std::span{&header, 1}))) return;
    if (header.from_cid != options_.cid) return;
    const Ports ports{header.to_port, header.from_port};
    Stream *stream = find(ports);
    if (header.to_cid != vsock::host_cid || header.type != vsock::stream) return refuse(header);
    if (stream == nullptr && header.operation == Operation::request)
        return connect_for_guest(header);
    if (stream == nullptr) return refuse(header);
    if (stream->receive(header, chain)) return;
    const auto at = std::find_if(streams_.begin(), streams_.end(),
                                 [&](const Entry &entry) { return entry.stream.get() == stream; });
    drop(static_cast<std::size_t>(at - streams_.begin()), header.operation != Operation::reset);
}

void Vsock::connect_for_guest(const Header &request) noexcept {
    try {
        Fd peer = unix_socket();
        const auto address = address_of(options_.path + "_" + std::to_string(request.to_port));
        if (streams_.size() < most_streams && connect_to(peer, address) &&
            adopt(std::make_unique<Stream>(std::move(peer),
                                           Ports{request.to_port, request.from_port}, request)))
            return;
    } catch (const std::exception &) { // no memory: as if nobody listened
    }
    refuse(request);
}

void Vsock::accept_one() noexcept {
    Fd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer || signals() == nullptr || streams_.size() >= most_streams) return;
    try {
        adopt(std::make_unique<Stream>(std::move(peer)));
    } catch (const std::exception &) { // no memory: it finds itself hung up
    }
}

bool Vsock::adopt(std::unique_ptr<Stream> stream) noexcept {
    const Stream *key = stream.get();
    const std::uint32_t events = stream->events();
    EventLoop::Watch watch = 0;
    try {
        watch =
            loop().watch(stream->fd(), events, [this, key](std::uint32_t now) { ready(key, now); });
    } catch (const std::exception &) {}
    if (watch == 0) return false;
    streams_.push_back({std::move(stream), watch, events});
    return true;
}

void Vsock::ready(const Stream *key, std::uint32_t events) noexcept {
    for (Entry &entry : streams_) {
        if (entry.stream.get() != key) continue;
        entry.watched = 0;
        entry.stream->ready(events);
        if (entry.stream->greeting()) greeted(*entry.stream);
        break;
    }
    settle();
    deliver();
}

void Vsock::greeted(Stream &stream) noexcept {
    Ports ports;
    if (!stream.wants(ports.guest)) return;
    do
        ports.host = first_port | (next_port_++ & (first_port - 1));
    while (find(ports) != nullptr);
    stream.ask(ports);
}

Stream *Vsock::find(const Ports &ports) noexcept {
    for (const Entry &entry : streams_)
        if (!entry.stream->greeting() && entry.stream->ports() == ports) return entry.stream.get();
    return nullptr;
}

void Vsock::refuse(const Header &header) noexcept {
    if (header.operation == Operation::reset || reset_count_ == resets_.size()) return;
    resets_[reset_count_++] = {header.to_port, header.from_port};
}

void Vsock::drop(std::size_t index, bool tell) noexcept {
    Entry &entry = streams_[index];
    loop().unwatch(entry.watch);
    if (tell && !entry.stream->greeting() && reset_count_ < resets_.size())
        resets_[reset_count_++] = entry.stream->ports();
    std::swap(entry, streams_.back());
    streams_.pop_back();
}

// Ends what is over and watches the rest for what they wait for.
void Vsock::settle() noexcept {
    for (std::size_t i = streams_.size(); i-- > 0;) {
        Entry &entry = streams_[i];
        // With no place for its reset it stays until there is one.
        if (entry.stream->over() && (entry.stream->greeting() || reset_count_ < resets_.size())) {
            drop(i, true);
            continue;
        }
        const std::uint32_t events = entry.stream->events();
        if (events == entry.watched || events == 0) continue;
        loop().change(entry.watch, events);
        entry.watched = events;
    }
}

bool Vsock::has_packet() const {
    return reset_count_ > 0 ||
           std::any_of(streams_.begin(), streams_.end(),
                       [](const Entry &entry) { return entry.stream->has_packet(); });
}

// The next packet into the buffer for it. False: there was none.
bool Vsock::fill_room() noexcept {
    Header header;
    header.from_cid = vsock::host_cid;
    header.to_cid = options_.cid;
    std::array<iovec, 16> rest;
    std::size_t count = 0;
    std::size_t skip = sizeof header;
    for (const iovec &segment : room_.writable()) {
        const std::size_t skipped = std::min(skip, segment.iov_len);
        skip -= skipped;
        if (segment.iov_len > skipped && count < rest.size())
            rest[count++] = {static_cast<std::byte *>(segment.iov_base) + skipped,
                             segment.iov_len - skipped};
    }
    bool filled = false;
    if (reset_count_ > 0) {
        const Ports ports = resets_[--reset_count_];
        header.from_port = ports.host;
        header.to_port = ports.guest;
        header.operation = Operation::reset;
        filled = true;
    }
    for (std::size_t i = 0; i < streams_.size() && !filled; ++i) {
        Stream &stream = *streams_[(next_ + i) % streams_.size()].stream;
        if (!stream.has_packet() || !stream.next(header, std::span{rest}.first(count))) continue;
        next_ = (next_ + i + 1) % streams_.size();
        filled = true;
    }
    if (!filled) return false;
    scatter(room_.writable(), std::as_bytes(std::span{&header, 1}));
    queue(input)->push(room_.head, static_cast<std::uint32_t>(sizeof header + header.length));
    has_room_ = false;
    return true;
}

void Vsock::deliver() noexcept {
    Queue *packets = queue(input);
    if (packets == nullptr) return;
    const bool full = reset_count_ == resets_.size();
    bool starved = false;
    unsigned left = turn;
    while (left > 0 && has_packet()) {
        if (!has_room_) {
            has_room_ = packets->pop(room_);
            starved = !has_room_ && !(packets->wait_for_more() && packets->running());
            if (starved) break;
            if (!has_room_) continue;
        }
        --left;
        // A byte of data at least; a driver's are pages.
        if (Chain::bytes(room_.writable()) <= sizeof(Header)) {
            packets->push(room_.head, 0);
            has_room_ = false;
        } else {
            fill_room();
        }
    }
    packets->publish();
    settle();
    if (!starved && has_packet()) packets->ring();
    Queue *from_guest = queue(output);
    if (full && reset_count_ < resets_.size() && from_guest != nullptr) from_guest->ring();
}

} // namespace machine::virtio
