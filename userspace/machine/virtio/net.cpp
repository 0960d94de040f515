// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/net.hpp"

#include <algorithm>

namespace machine::virtio {

NetConfiguration net_configuration(const net::Mac &mac) {
    constexpr std::uint8_t link_up = 1;
    NetConfiguration bytes{};
    std::copy(mac.begin(), mac.end(), bytes.begin());
    bytes[6] = link_up;
    return bytes;
}

Net::Net(EventLoop &loop, std::unique_ptr<net::Link> link, const net::Mac &mac)
    : LoopModel(loop), link_(std::move(link)), configuration_(net_configuration(mac)) {
    link_->connect(this);
}

void Net::serve(unsigned number) noexcept {
    if (number == output) return send();
    if (!has_room_ && get_room()) link_->room();
}

bool Net::get_room() noexcept {
    Queue *buffers = queue(input);
    if (buffers == nullptr) return false;
    has_room_ = buffers->pop(room_);
    if (!has_room_ && buffers->wait_for_more()) buffers->ring();
    return has_room_;
}

void Net::send() noexcept {
    Queue &frames = *queue(output);
    Chain chain;
    for (unsigned i = 0; i < turn && frames.pop(chain); ++i) {
        const std::size_t count = gather(frame_, chain.readable());
        if (count > header_bytes) link_->send(std::span{frame_}.first(count).subspan(header_bytes));
        frames.push(chain.head, 0);
    }
    frames.publish();
    if (frames.wait_for_more()) frames.ring();
}

void Net::receive(std::span<const std::byte> frame) noexcept {
    Queue *buffers = queue(input);
    if (buffers == nullptr || (!has_room_ && !get_room())) return;
    std::array<std::byte, header_bytes> header{};
    header[10] = std::byte{1}; // buffers that the frame is spread over
    std::uint32_t written = 0;
    // A frame that the buffer does not hold is lost, and the buffer is for the next.
    if (Chain::bytes(room_.writable()) >= header_bytes + frame.size()) {
        scatter(room_.writable(), header);
        scatter(room_.writable(), frame, header_bytes);
        written = static_cast<std::uint32_t>(header_bytes + frame.size());
    }
    if (written == 0) return;
    buffers->push(room_.head, written);
    buffers->publish();
    get_room();
}

} // namespace machine::virtio
