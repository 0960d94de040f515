// SPDX-License-Identifier: GPL-2.0-only
// A tap whose frames the host's kernel itself moves between it and the guest's queues (vhost-net).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "machine/event_loop.hpp"
#include "machine/guest_memory.hpp"
#include "machine/net/link.hpp"

namespace machine::net {

class Vhost {
  public:
    using Ioctl = std::function<int(int fd, unsigned long request, void *argument)>;
    // A split virtqueue in this process's memory, and eventfds.
    struct Ring {
        unsigned size = 0;
        const std::byte *descriptors = nullptr;
        const std::byte *driver = nullptr;
        const std::byte *device = nullptr;
        int kick = -1; // the driver has put something into the ring
        int call = -1; // the kernel has
        int error = -1;
    };
    // What the guest takes in frames that come.
    struct Offloads {
        bool checksum = false; // not computed; those below need it
        bool tso4 = false;
        bool tso6 = false;
        bool ecn = false;
    };

    // Takes both descriptors: /dev/vhost-net's, and that of a tap with headers. Throws
    // std::runtime_error when the kernel's vhost-net does not do.
    Vhost(Fd kernel, Fd tap, const GuestMemory &ram, Ioctl ioctl = host());

    // Virtio's, that concern it.
    std::uint64_t features() const { return features_; }
    // For a driver that comes, or {} after one that went. False here and below: see failure().
    bool configure(std::uint64_t features, const Offloads &offloads) noexcept;
    // The queue is the kernel's, until it is taken back: after that nobody touches the ring.
    bool give(unsigned queue, const Ring &ring) noexcept;
    void take_back(unsigned queue) noexcept;
    bool call(unsigned queue, int event) noexcept;
    // The last call that failed, and why.
    std::string failure() const;

    static Ioctl host();

  private:
    bool ask(const char *name, unsigned long request, void *argument) noexcept;
    bool event(const char *name, unsigned long request, unsigned queue, int fd) noexcept;
    void check(bool done) const;
    void show_memory(const GuestMemory &ram);

    Fd kernel_;
    Fd tap_;
    Ioctl ioctl_;
    std::uint64_t features_ = 0;
    const char *failed_ = "";
    int error_ = 0;
};

// Null: not asked for, or not there and not insisted on. Throws std::runtime_error that says what
// is wrong.
std::unique_ptr<Vhost> open_vhost(const NetOptions &options, const GuestMemory &ram);

} // namespace machine::net
