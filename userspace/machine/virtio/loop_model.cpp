// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/loop_model.hpp"

#include <sys/epoll.h>

namespace machine::virtio {

bool LoopModel::start(Queues &queues, std::uint64_t features, Signals &signals) noexcept {
    try {
        for (unsigned i = 0; i < queues.size(); ++i)
            watches_.push_back(loop_.watch(queues[i]->doorbell(), EPOLLIN,
                                           [this, i](std::uint32_t) { on_doorbell(i); }));
    } catch (const std::exception &) {
        forget();
        return false;
    }
    queues_ = &queues;
    signals_ = &signals;
    accepted_ = features;
    started();
    // What was offered before anybody listened.
    for (const auto &queue : queues)
        queue->ring();
    return true;
}

void LoopModel::forget() noexcept {
    for (const EventLoop::Watch watch : watches_)
        loop_.unwatch(watch);
    watches_.clear();
}

void LoopModel::stop() noexcept {
    forget();
    if (queues_ == nullptr) return;
    stopped();
    queues_ = nullptr;
    signals_ = nullptr;
}

Queue *LoopModel::queue(unsigned number) noexcept {
    if (queues_ == nullptr || number >= queues_->size()) return nullptr;
    Queue &found = *(*queues_)[number];
    return found.running() ? &found : nullptr;
}

void LoopModel::on_doorbell(unsigned number) noexcept {
    (*queues_)[number]->quiet();
    if (queue(number) != nullptr) serve(number);
}

} // namespace machine::virtio
