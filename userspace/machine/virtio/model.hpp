// SPDX-License-Identifier: GPL-2.0-only
// What kinds of virtio devices have in common, whatever carries them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "machine/virtio/queue.hpp"

namespace machine::virtio {

namespace feature {
constexpr std::uint64_t indirect = std::uint64_t{1} << 28;
constexpr std::uint64_t event_index = std::uint64_t{1} << 29;
constexpr std::uint64_t version_1 = std::uint64_t{1} << 32;
} // namespace feature

using Queues = std::vector<std::unique_ptr<Queue>>;

class Model {
  public:
    struct Kind {
        std::uint16_t id = 0;         // "Device Types"
        std::uint32_t class_code = 0; // PCI's
        std::vector<std::uint16_t> queue_sizes;
    };
    virtual ~Model() = default;
    virtual Kind kind() const = 0;
    virtual std::uint64_t features() const = 0; // less those of all devices
    // The device's configuration as it is now. What the guest reads past its end is 0.
    virtual std::span<const std::byte> configuration() noexcept { return {}; }
    virtual void write_configuration(unsigned, std::span<const std::byte>) noexcept {}

    // Both with the machine's lock. From start() on the model works on the queues that run, in its
    // own thread or the event loop's; after stop() it touches them no more. False: it cannot.
    virtual bool start(Queues &queues, std::uint64_t features, Signals &signals) noexcept = 0;
    virtual void stop() noexcept = 0;
    // In between, with the lock: Signals::event() may say something else now.
    virtual void events_moved() noexcept {}
};

} // namespace machine::virtio
