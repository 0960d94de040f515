// SPDX-License-Identifier: GPL-2.0-only
#include "machine/net/vhost.hpp"

#define VIRTIO_RING_NO_LEGACY // what it guards is C, not C++
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <stdexcept>
#include <sys/ioctl.h>
#include <system_error>
#include <vector>

namespace machine::net {

namespace {

constexpr const char *device = "/dev/vhost-net";
// "Network Device": the header of virtio 1.x, with or without buffers that are merged.
constexpr int header_bytes = 12;
constexpr std::uint64_t merged_buffers = 1u << 15;
// What every device of ours offers, and the card on top.
constexpr std::uint64_t needed = 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                                 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_VERSION_1 |
                                 merged_buffers;

std::string reason(int error) { return std::system_category().message(error); }

} // namespace

Vhost::Ioctl Vhost::host() {
    return [](int fd, unsigned long request, void *argument) {
        return ::ioctl(fd, request, argument);
    };
}

// `argument` is a pointer to what the request reads or writes, or the number itself.
bool Vhost::ask(const char *name, unsigned long request, void *argument) noexcept {
    const bool of_tap = _IOC_TYPE(request) == 'T';
    if (ioctl_((of_tap ? tap_ : kernel_).get(), request, argument) >= 0) return true;
    failed_ = name;
    error_ = errno;
    return false;
}

Vhost::Vhost(Fd kernel, Fd tap, const GuestMemory &ram, Ioctl ioctl)
    : kernel_(std::move(kernel)), tap_(std::move(tap)), ioctl_(std::move(ioctl)) {
    int header = header_bytes;
    check(ask("TUNSETVNETHDRSZ", TUNSETVNETHDRSZ, &header) &&
          ask("VHOST_SET_OWNER", VHOST_SET_OWNER, nullptr) &&
          ask("VHOST_GET_FEATURES", VHOST_GET_FEATURES, &features_));
    if ((features_ & needed) != needed)
        throw std::runtime_error(std::string{device} + ": the kernel's is too old");
    show_memory(ram);
}

// By the host's addresses, which stay: whatever the guest sees where.
void Vhost::show_memory(const GuestMemory &ram) {
    const auto &regions = ram.regions();
    std::vector<std::byte> bytes(sizeof(vhost_memory) +
                                 regions.size() * sizeof(vhost_memory_region));
    auto *table = reinterpret_cast<vhost_memory *>(bytes.data());
    table->nregions = static_cast<std::uint32_t>(regions.size());
    for (std::size_t i = 0; i < regions.size(); ++i) {
        vhost_memory_region &region = table->regions[i];
        region.guest_phys_addr = regions[i].gpa;
        region.memory_size = regions[i].bytes.size();
        region.userspace_addr = reinterpret_cast<std::uintptr_t>(regions[i].bytes.data());
    }
    check(ask("VHOST_SET_MEM_TABLE", VHOST_SET_MEM_TABLE, table));
}

void Vhost::check(bool done) const {
    if (!done) throw std::runtime_error(failure());
}

std::string Vhost::failure() const {
    return std::string{device} + ": " + failed_ + ": " + reason(error_);
}

bool Vhost::configure(std::uint64_t features, const Offloads &offloads) noexcept {
    std::uint64_t known = features & features_;
    std::uintptr_t tap = 0;
    if (offloads.checksum)
        tap = TUN_F_CSUM | (offloads.tso4 ? TUN_F_TSO4 : 0u) | (offloads.tso6 ? TUN_F_TSO6 : 0u);
    if ((tap & (TUN_F_TSO4 | TUN_F_TSO6)) != 0 && offloads.ecn) tap |= TUN_F_TSO_ECN;
    return ask("TUNSETOFFLOAD", TUNSETOFFLOAD, reinterpret_cast<void *>(tap)) &&
           ask("VHOST_SET_FEATURES", VHOST_SET_FEATURES, &known);
}

bool Vhost::event(const char *name, unsigned long request, unsigned queue, int fd) noexcept {
    vhost_vring_file file{queue, fd};
    return ask(name, request, &file);
}

bool Vhost::give(unsigned queue, const Ring &ring) noexcept {
    const auto address = [](const std::byte *at) { return reinterpret_cast<std::uintptr_t>(at); };
    vhost_vring_state size{queue, ring.size}, base{queue, 0};
    vhost_vring_addr rings{};
    rings.index = queue;
    rings.desc_user_addr = address(ring.descriptors);
    rings.avail_user_addr = address(ring.driver);
    rings.used_user_addr = address(ring.device);
    return ask("VHOST_SET_VRING_NUM", VHOST_SET_VRING_NUM, &size) &&
           ask("VHOST_SET_VRING_BASE", VHOST_SET_VRING_BASE, &base) &&
           ask("VHOST_SET_VRING_ADDR", VHOST_SET_VRING_ADDR, &rings) &&
           event("VHOST_SET_VRING_KICK", VHOST_SET_VRING_KICK, queue, ring.kick) &&
           event("VHOST_SET_VRING_ERR", VHOST_SET_VRING_ERR, queue, ring.error) &&
           call(queue, ring.call) &&
           event("VHOST_NET_SET_BACKEND", VHOST_NET_SET_BACKEND, queue, tap_.get());
}

// It waits for what the kernel's thread does with the ring. Where the queue was is nothing to ask
// for: the next driver starts it anew.
void Vhost::take_back(unsigned queue) noexcept {
    event("VHOST_NET_SET_BACKEND", VHOST_NET_SET_BACKEND, queue, -1);
}

bool Vhost::call(unsigned queue, int fd) noexcept {
    return event("VHOST_SET_VRING_CALL", VHOST_SET_VRING_CALL, queue, fd);
}

std::unique_ptr<Vhost> open_vhost(const NetOptions &options, const GuestMemory &ram) {
    if (options.kind != NetOptions::Kind::tap || !options.vhost.value_or(true)) return nullptr;
    Fd kernel(::open(device, O_RDWR | O_CLOEXEC));
    const int error = errno;
    const bool insisted = options.vhost.has_value();
    if (!kernel && insisted)
        throw std::runtime_error(std::string{"network vhost=on: "} + device + ": " + reason(error) +
                                 (error == EACCES || error == EPERM
                                      ? ": be root, or of the group that the file is of"
                                      : ": load the host's module for it: modprobe vhost_net"));
    if (!kernel) return nullptr;
    Fd tap = open_tap_file(options.name, true);
    try {
        return std::make_unique<Vhost>(std::move(kernel), std::move(tap), ram);
    } catch (const std::runtime_error &) {
        if (insisted) throw;
        return nullptr;
    }
}

} // namespace machine::net
