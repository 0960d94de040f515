// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <vector>

#include "machine/event_loop.hpp"
#include "machine/virtio/model.hpp"

namespace machine::virtio {

// A model that works on the event loop's thread, with the machine's lock.
class LoopModel : public Model {
  public:
    explicit LoopModel(EventLoop &loop) : loop_(loop) {}
    ~LoopModel() override { forget(); }
    bool start(Queues &queues, std::uint64_t features, Signals &signals) noexcept final;
    void stop() noexcept final;

  protected:
    // The driver put something into this queue, or there is more in it than one turn takes.
    virtual void serve(unsigned queue) noexcept = 0;
    virtual void started() noexcept {}
    virtual void stopped() noexcept {}

    // Null while the driver has not started the device, or not this queue.
    Queue *queue(unsigned number) noexcept;
    std::uint64_t accepted() const { return accepted_; }
    Signals *signals() { return signals_; }
    EventLoop &loop() { return loop_; }
    // Requests for one turn, so that others get theirs.
    static constexpr unsigned turn = 64;

  private:
    void forget() noexcept;
    void on_doorbell(unsigned queue) noexcept;

    EventLoop &loop_;
    Queues *queues_ = nullptr;
    Signals *signals_ = nullptr;
    std::uint64_t accepted_ = 0;
    std::vector<EventLoop::Watch> watches_;
};

} // namespace machine::virtio
