// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace machine {

// A place whose write by the guest is a signal and carries nothing else.
struct Doorbell {
    bool port = false; // an I/O port, else a guest-physical address
    std::uint64_t address = 0;
};

// What the kernel does for devices with eventfds, without an exit to user. All but signalling needs
// the machine's lock.
struct EventFds {
    virtual ~EventFds() = default;
    // Every signal of `fd`, and one that is pending, delivers the message. False: not possible.
    virtual bool connect_message(int fd, std::uint64_t address, std::uint32_t data) noexcept = 0;
    virtual void disconnect_message(int fd) noexcept = 0;
    // A write of any width to `where` signals `fd` and is not seen by the device. False: not
    // possible.
    virtual bool connect_doorbell(int fd, const Doorbell &where) noexcept = 0;
    virtual void disconnect_doorbell(int fd, const Doorbell &where) noexcept = 0;
};

} // namespace machine
