// SPDX-License-Identifier: GPL-2.0-only
// Sinks that remember what a device sent to them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "machine/interrupts.hpp"

namespace machine {

struct RecordingMessages final : MsiSink {
    struct Message {
        std::uint64_t address;
        std::uint32_t data;
        bool operator==(const Message &) const = default;
    };
    std::vector<Message> sent;
    void deliver(std::uint64_t address, std::uint32_t data) noexcept override {
        sent.push_back({address, data});
    }
};

struct RecordingEois final : EoiSink {
    VectorBitmap vectors{};
    unsigned changes = 0;
    void level_vectors(const VectorBitmap &now) noexcept override {
        vectors = now;
        ++changes;
    }
};

struct RecordingIntr final : ExtIntSink {
    bool level = false;
    unsigned changes = 0;
    void raise(bool now) noexcept override {
        level = now;
        ++changes;
    }
};

struct RecordingIrqs final : IrqSink {
    std::vector<std::pair<unsigned, bool>> events;
    void set_irq(unsigned irq, bool level) noexcept override { events.emplace_back(irq, level); }
    unsigned rises() const {
        unsigned count = 0;
        for (const auto &[irq, level] : events)
            count += level ? 1 : 0;
        return count;
    }
    bool level() const { return !events.empty() && events.back().second; }
};

} // namespace machine
