// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pci/msix.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace machine::pci {

namespace {

constexpr unsigned control_word = 3;
constexpr std::uint32_t vector_masked = 1;

} // namespace

Msix::Msix(unsigned vectors, EventLoop &loop, MsiSink &messages, EventFds *kernel)
    : loop_(loop),
      messages_(messages),
      kernel_(kernel),
      vectors_(vectors),
      bar_bytes_(std::bit_ceil(std::max<std::uint64_t>(4096, 2 * entry_bytes * vectors))) {
    for (Vector &vector : vectors_) {
        vector.event = Fd{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        if (!vector.event) throw std::system_error(errno, std::generic_category(), "eventfd");
        vector.watch =
            loop_.watch(vector.event.get(), 0, [this, &vector](std::uint32_t) { deliver(vector); });
    }
}

Msix::~Msix() {
    for (Vector &vector : vectors_) {
        close(vector);
        loop_.unwatch(vector.watch);
    }
}

void Msix::deliver(Vector &vector) noexcept {
    eventfd_t count = 0;
    if (vector.open && eventfd_read(vector.event.get(), &count) == 0)
        messages_.deliver(vector.address(), vector.entry[2]);
}

void Msix::signal(unsigned vector) noexcept {
    if (vector < vectors()) eventfd_write(vectors_[vector].event.get(), 1);
}

void Msix::close(Vector &vector) noexcept {
    if (!vector.open) return;
    if (vector.by_kernel)
        kernel_->disconnect_message(vector.event.get());
    else
        loop_.change(vector.watch, 0);
    vector.open = vector.by_kernel = false;
}

void Msix::update(Vector &vector) noexcept {
    const bool open = enabled_ && !masked_ && (vector.entry[control_word] & vector_masked) == 0;
    if (open == vector.open) return;
    if (!open) return close(vector);
    vector.open = true;
    deliver(vector); // what was pending
    vector.by_kernel =
        kernel_ != nullptr &&
        kernel_->connect_message(vector.event.get(), vector.address(), vector.entry[2]);
    if (!vector.by_kernel) loop_.change(vector.watch, EPOLLIN);
}

void Msix::control(bool enabled, bool masked) noexcept {
    if (enabled == enabled_ && masked == masked_) return;
    enabled_ = enabled;
    masked_ = masked;
    for (Vector &vector : vectors_)
        update(vector);
}

std::uint32_t Msix::pending_word(unsigned first) const noexcept {
    std::uint32_t bits = 0;
    for (unsigned i = 0; i < 32 && first + i < vectors(); ++i) {
        if (vectors_[first + i].open) continue;
        pollfd ready{vectors_[first + i].event.get(), POLLIN, 0};
        if (poll(&ready, 1, 0) == 1) bits |= 1u << i;
    }
    return bits;
}

std::uint32_t Msix::read_word(std::uint64_t offset) noexcept {
    if (offset / entry_bytes < vectors())
        return vectors_[offset / entry_bytes].entry[offset % entry_bytes / 4];
    if (offset < pending_offset() || offset - pending_offset() >= (vectors() + 31) / 32 * 4)
        return 0;
    return pending_word(static_cast<unsigned>(offset - pending_offset()) * 8);
}

void Msix::write_word(std::uint64_t offset, std::uint32_t value) noexcept {
    if (offset / entry_bytes >= vectors()) return;
    Vector &vector = vectors_[offset / entry_bytes];
    const auto word = static_cast<unsigned>(offset % entry_bytes / 4);
    if (word == control_word) value &= vector_masked;
    if (word == 0) value &= ~3u;
    if (vector.entry[word] == value) return;
    if (word != control_word) close(vector); // the old message is of no use any more
    vector.entry[word] = value;
    update(vector);
}

std::uint64_t Msix::read(std::uint64_t offset, unsigned size) noexcept {
    const std::uint64_t low = read_word(offset & ~3u) >> (8 * (offset & 3));
    return size == 8 ? low | std::uint64_t{read_word((offset & ~3u) + 4)} << 32 : low;
}

// Narrower accesses than whole words are not for a table ("MSI-X Table Structure"): not taken.
void Msix::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if ((offset & 3) != 0 || size < 4) return;
    write_word(offset, static_cast<std::uint32_t>(value));
    if (size == 8) write_word(offset + 4, static_cast<std::uint32_t>(value >> 32));
}

} // namespace machine::pci
