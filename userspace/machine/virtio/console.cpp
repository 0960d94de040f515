// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/console.hpp"

namespace machine::virtio {

Console::Console(EventLoop &loop, std::unique_ptr<SerialBackend> backend)
    : LoopModel(loop), backend_(std::move(backend)) {
    if (backend_) backend_->connect(this);
}

Console::~Console() {
    if (!backend_) return;
    backend_->settle();
    backend_->connect(nullptr);
}

void Console::stopped() noexcept { holding_ = has_room_ = false; }

// Input goes into one buffer of the driver's at a time: what it holds is what there is room for.
void Console::serve(unsigned number) noexcept {
    if (number == output) return send();
    if (has_room_) return;
    Queue &queue_ = *queue(input);
    has_room_ = queue_.pop(room_);
    if (!has_room_ && queue_.wait_for_more()) queue_.ring();
    if (has_room_ && backend_) backend_->receive_ready();
}

std::size_t Console::receive_space() const noexcept {
    return has_room_ ? Chain::bytes(room_.writable()) : 0;
}

void Console::receive(std::span<const std::uint8_t> bytes) noexcept {
    Queue *queue_ = queue(input);
    if (!has_room_ || queue_ == nullptr) return;
    has_room_ = false;
    const std::size_t taken = scatter(room_.writable(), std::as_bytes(bytes));
    queue_->push(room_.head, static_cast<std::uint32_t>(taken));
    queue_->publish();
    queue_->ring(); // for the next buffer
}

bool Console::send_held(Queue &queue_) noexcept {
    std::array<std::byte, 4096> bytes;
    for (;;) {
        const std::size_t count = gather(bytes, held_.readable());
        if (count == 0) break;
        const auto *text = reinterpret_cast<const std::uint8_t *>(bytes.data());
        const std::size_t taken = backend_ ? backend_->transmit({text, count}) : count;
        held_.take(std::span{bytes}.first(taken));
        if (taken < count) return false;
    }
    holding_ = false;
    queue_.push(held_.head, 0);
    return true;
}

void Console::send() noexcept {
    Queue *queue_ = queue(output);
    if (queue_ == nullptr) return;
    for (unsigned i = 0; i < turn; ++i) {
        if (!holding_) holding_ = queue_->pop(held_);
        if (!holding_ || !send_held(*queue_)) break;
    }
    queue_->publish();
    // While the backend takes no more, transmit_ready() goes on.
    if (!holding_ && queue_->wait_for_more()) queue_->ring();
}

} // namespace machine::virtio
