// SPDX-License-Identifier: GPL-2.0-only
// A virtio device as a PCI function ("Virtio Over PCI Bus"), modern only. Notifications are writes
// to ports, which cost an exit less than memory does, and mostly end in the kernel as a signal.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "machine/guest_memory.hpp"
#include "machine/pci/function.hpp"
#include "machine/virtio/model.hpp"

namespace machine::virtio {

class Transport final : public pci::Function, public Signals {
  public:
    Transport(std::unique_ptr<Model> model, const GuestMemory &memory);
    ~Transport() override;

    Model &model() { return *model_; }

  private:
    struct QueueState {
        Rings rings;
        std::atomic<std::uint16_t> vector{0xffff};
        bool enabled = false;
    };
    void attached() override;
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) noexcept override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                   std::uint64_t value) noexcept override;
    void bar_mapped(unsigned bar, std::uint64_t base) noexcept override;
    void bar_unmapped(unsigned bar, std::uint64_t base) noexcept override;
    void config_reading(unsigned offset, unsigned size) noexcept override;
    void config_written(unsigned offset, unsigned size) noexcept override;

    void queue_used(unsigned queue) noexcept override;
    void configuration_changed() noexcept override;
    void needs_reset() noexcept override;
    int event(unsigned queue) const noexcept override;

    void add_capability(std::uint8_t type, std::uint8_t bar, std::uint32_t offset,
                        std::uint32_t length, std::uint32_t last_word);
    void interrupt(std::uint16_t vector, std::uint8_t reason) noexcept;
    std::uint64_t read_isr() noexcept;
    std::uint32_t read_common(unsigned offset) noexcept;
    void write_common(unsigned offset, std::uint32_t value) noexcept;
    void write_queue(unsigned offset, std::uint32_t value) noexcept;
    std::uint64_t read_device(std::uint64_t offset, unsigned size) noexcept;
    void write_device(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept;
    void set_status(std::uint8_t status) noexcept;
    void reset() noexcept;
    std::uint64_t offered() const;
    QueueState *selected() noexcept;
    std::uint16_t checked_vector(std::uint32_t vector) const noexcept;

    const GuestMemory &memory_;
    std::unique_ptr<Model> model_;
    const Model::Kind kind_;
    std::unique_ptr<QueueState[]> states_;
    Queues queues_;
    unsigned window_ = 0; // the capability for accesses through configuration space
    std::uint32_t feature_select_ = 0;
    std::uint32_t driver_select_ = 0;
    std::uint64_t accepted_ = 0;
    std::uint16_t queue_select_ = 0;
    bool started_ = false;
    std::atomic<std::uint16_t> config_vector_{0xffff};
    std::atomic<std::uint8_t> status_{0};
    std::atomic<std::uint8_t> generation_{0};
    std::atomic<std::uint8_t> isr_{0};
    Fd intx_event_; // another thread set bits in isr_
    EventLoop::Watch intx_watch_ = 0;
};

} // namespace machine::virtio
