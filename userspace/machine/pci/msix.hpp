// SPDX-License-Identifier: GPL-2.0-only
// MSI-X: a table of messages in a BAR (PCI Local Bus Specification, "MSI-X Capability and Table
// Structures"). A vector is an eventfd: whoever signals it, from any thread and without the
// machine's lock, sends the message, through the kernel where it can. One that is masked stays
// signalled, and that is its pending bit.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "machine/event_fds.hpp"
#include "machine/event_loop.hpp"
#include "machine/interrupts.hpp"

namespace machine::pci {

class Msix {
  public:
    static constexpr unsigned entry_bytes = 16;

    // `kernel` may be null: then the event loop delivers. Throws std::system_error.
    Msix(unsigned vectors, EventLoop &loop, MsiSink &messages, EventFds *kernel);
    ~Msix();
    Msix(const Msix &) = delete;
    Msix &operator=(const Msix &) = delete;

    unsigned vectors() const { return static_cast<unsigned>(vectors_.size()); }
    // The BAR: the table, then the bits of what is pending. A power of two, at least a page.
    std::uint64_t bar_bytes() const { return bar_bytes_; }
    std::uint32_t pending_offset() const { return static_cast<std::uint32_t>(bar_bytes_ / 2); }
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept;

    // Message control's bits, as the guest left them.
    void control(bool enabled, bool masked) noexcept;
    bool enabled() const { return enabled_; }

    // What to signal; -1 for a vector that does not exist.
    int event(unsigned vector) const {
        return vector < vectors() ? vectors_[vector].event.get() : -1;
    }
    void signal(unsigned vector) noexcept;

  private:
    struct Vector {
        Fd event;
        EventLoop::Watch watch = 0;
        std::array<std::uint32_t, 4> entry{0, 0, 0, 1}; // address, its upper half, data, control
        bool open = false;
        bool by_kernel = false;
        std::uint64_t address() const { return entry[0] | std::uint64_t{entry[1]} << 32; }
    };
    void update(Vector &vector) noexcept;
    void close(Vector &vector) noexcept;
    void deliver(Vector &vector) noexcept;
    std::uint32_t read_word(std::uint64_t offset) noexcept;
    void write_word(std::uint64_t offset, std::uint32_t value) noexcept;
    std::uint32_t pending_word(unsigned first) const noexcept;

    EventLoop &loop_;
    MsiSink &messages_;
    EventFds *kernel_;
    std::vector<Vector> vectors_;
    std::uint64_t bar_bytes_;
    std::atomic<bool> enabled_ = false; // devices' threads ask
    bool masked_ = false;
};

} // namespace machine::pci
